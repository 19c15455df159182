/**
 * From the plan to files for platforms that run it: which there are, what each cannot do, and what it
 * is given. Existing engines do the distributing; nothing here runs. Pure.
 *
 * @module
 */

import { MIB } from "../../lib/byte-units.ts";
import { formatDuration } from "../../lib/duration.ts";
import { type Diagnostic, placeless } from "../../lib/diagnostics.ts";
import type { PricedSize } from "../plan.ts";
import { MOST_REPLICAS } from "../workload.ts";
import type { Artefact } from "./artefact.ts";
import {
  CLOUD_REPLICAS,
  CLOUD_RUN_REQUEST_MS,
  cloudRunArtefacts,
  cloudRunDrain,
  cloudRunSize,
  type PlatformSize,
} from "./cloud-run.ts";
import { composeArtefacts } from "./compose.ts";
import { containerAppsArtefacts, containerAppsDrain, containerAppsSize } from "./container-apps.ts";
import { dockerArtefacts } from "./docker.ts";
import { type Drain, drainOf } from "./drain.ts";
import { kubernetesArtefacts } from "./kubernetes.ts";
import type { Premises } from "./premises.ts";
import { LEAST_FILES_BYTES, type ReplicaRoom, roomOf } from "./room.ts";
import { systemdArtefacts } from "./systemd.ts";
import type { Target } from "./targets.ts";

interface Platform {
  readonly artefacts: (premises: Premises, room: ReplicaRoom) => readonly Artefact[];
  /** The size to have there; null if there is none so large. */
  readonly sizeOf: (planned: PricedSize) => PlatformSize | null;
  readonly drainOf: (premises: Premises) => Drain;
  /** Whether sessions survive there without a store. */
  readonly keepsFiles: boolean;
  readonly name: RegExp;
  /** The least room for files in memory; 0 where all are on a disk. */
  readonly leastFilesBytes: number;
  /** Whether a replica is ended as a whole at its memory limit, whatever the plan says. */
  readonly killsAll?: true;
  readonly mostReplicas: number;
}

const ANY_NAME = /^[a-z]([a-z0-9-]*[a-z0-9])?$/u;
const asPlanned = (size: PricedSize): PlatformSize => ({ size, why: "" });
const usual = {
  sizeOf: asPlanned,
  drainOf: (premises: Premises) => drainOf(premises),
  keepsFiles: true,
  name: ANY_NAME,
  leastFilesBytes: LEAST_FILES_BYTES,
  mostReplicas: MOST_REPLICAS,
};

const PLATFORMS: Readonly<Record<Target, Platform>> = {
  docker: { ...usual, artefacts: dockerArtefacts },
  kubernetes: { ...usual, artefacts: kubernetesArtefacts, killsAll: true },
  compose: { ...usual, artefacts: composeArtefacts },
  systemd: { ...usual, artefacts: systemdArtefacts, leastFilesBytes: 0 },
  "cloud-run": {
    artefacts: cloudRunArtefacts,
    sizeOf: cloudRunSize,
    drainOf: cloudRunDrain,
    keepsFiles: false,
    name: /^[a-z]([a-z0-9-]{0,47}[a-z0-9])?$/u,
    leastFilesBytes: 64 * MIB,
    mostReplicas: CLOUD_REPLICAS,
  },
  "container-apps": {
    artefacts: containerAppsArtefacts,
    sizeOf: containerAppsSize,
    drainOf: containerAppsDrain,
    keepsFiles: false,
    name: /^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$/u,
    leastFilesBytes: 0,
    mostReplicas: CLOUD_REPLICAS,
  },
};

export interface Deployment {
  readonly artefacts: readonly Artefact[];
  /** What works less well than one may think; a sentence each. */
  readonly warnings: readonly string[];
  /** What cannot work; nothing is written then. */
  readonly problems: readonly Diagnostic[];
  /** By target, what a replica has there. */
  readonly rooms: ReadonlyMap<Target, ReplicaRoom>;
}

export function makeDeployment(premises: Premises, targets: readonly Target[]): Deployment {
  const parts = targets.map((target) => deploymentOn(target, premises));
  return {
    artefacts: parts.flatMap(({ artefacts }) => artefacts),
    warnings: [...new Set([...warningsOf(premises), ...parts.flatMap(({ warnings }) => warnings)])],
    problems: parts.flatMap(({ problems }) => problems),
    rooms: new Map(parts.flatMap(({ rooms }) => [...rooms])),
  };
}

function deploymentOn(target: Target, premises: Premises): Deployment {
  const platform = PLATFORMS[target];
  const planned = premises.fleet.size;
  const platformSize = platform.sizeOf(planned);
  const room =
    platformSize === null
      ? null
      : roomOf(
          premises,
          { ...platformSize.size, ...(platform.killsAll && { killsAll: true }) },
          { sizeWhy: platformSize.why, leastBytes: platform.leastFilesBytes },
        );
  const problems = problemsOn(target, premises, platformSize, room);
  if (room === null || problems.length > 0) {
    return { artefacts: [], warnings: [], problems, rooms: new Map() };
  }
  return {
    artefacts: platform.artefacts(premises, room),
    warnings: warningsOn(target, premises, room),
    problems,
    rooms: new Map([[target, room]]),
  };
}

function problemsOn(
  target: Target,
  premises: Premises,
  platformSize: PlatformSize | null,
  room: ReplicaRoom | null,
): readonly Diagnostic[] {
  const { name, fleet, isShared } = premises;
  const { name: names, keepsFiles, mostReplicas } = PLATFORMS[target];
  const problems: Diagnostic[] = [];
  const add = (message: string, remedy: string, path = "") =>
    problems.push(placeless(`--target ${target}`, message, remedy, path));
  if (!names.test(name)) {
    add(
      `takes no service of the name ${JSON.stringify(name)}`,
      "Give a short one by --name: small letters, digits and `-`, beginning with a letter",
    );
  }
  if (!keepsFiles && !isShared) {
    add(
      "needs a store: the files of a replica go with it, and the sessions in them",
      "Set a store, such as `store: ${SESSION_STORE}`, or make the agents `ephemeral`",
      "sessions.store",
    );
  }
  if (platformSize === null) {
    add(
      `has no replica of ${fleet.size.name}`,
      "Name smaller `sizes` in the workload file, or one of the plan by --size",
    );
  } else if (room === null || room.fleet.replicas > mostReplicas) {
    add(
      `cannot carry the workload with replicas of ${platformSize.size.name}`,
      "Name larger `sizes` in the workload file, or one of the plan by --size",
    );
  }
  return problems;
}

/** Wherever it runs. */
function warningsOf(premises: Premises): readonly string[] {
  const { isLongRunning, metricsNeedKey, isShared } = premises;
  return [
    ...(isLongRunning
      ? ["Sessions of long-running agents hold memory between turns, which the plan leaves out."]
      : []),
    ...(metricsNeedKey && isShared
      ? ["Prometheus needs the key of an operator to read /metrics, or telemetry.publicMetrics."]
      : []),
  ];
}

function whyFewer({ size: { killsAll = false }, filesBytes }: ReplicaRoom): string {
  const free = killsAll ? ["more kept free, since at the limit the kernel ends all"] : [];
  return [...free, ...(filesBytes > 0 ? ["files in memory"] : [])].join(" and ");
}

function warningsOn(target: Target, premises: Premises, room: ReplicaRoom): readonly string[] {
  const { fleet, longestTurn, shellAgents, prometheus } = premises;
  const drain = PLATFORMS[target].drainOf(premises);
  const longest = `${formatDuration(longestTurn.durationMs)} (limits.turnTime of ${longestTurn.agent})`;
  const { turns } = room.fleet.replica;
  const warnings: string[] = [];
  const add = (text: string) => warnings.push(`${target}: ${text}`);
  if (!drain.isEnough) {
    add(
      `a turn of ${longest} is cut off by a stop, which leaves ${formatDuration(drain.graceMs)}.`,
    );
  }
  if (room.sizeWhy !== "") add(`${room.sizeWhy}.`);
  if (turns !== fleet.replica.turns || room.fleet.replicas !== fleet.replicas) {
    add(
      `${room.fleet.replicas} replicas of ${turns} turns, with ${whyFewer(room)}; ` +
        `the plan has ${fleet.replicas} of ${fleet.replica.turns}.`,
    );
  }
  if (target === "docker" && shellAgents.length > 0) {
    add(`Dockerfile.distroless is not for ${shellAgents.join(", ")}: Bash needs a shell.`);
  }
  if (target === "cloud-run" && longestTurn.durationMs > CLOUD_RUN_REQUEST_MS) {
    add(`a request takes an hour at most, a turn up to ${longest}.`);
  }
  if (target === "container-apps" && prometheus === null) {
    add("say where your Prometheus is by --prometheus, or edit serverAddress.");
  }
  return warnings;
}
