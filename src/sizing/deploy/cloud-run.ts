/**
 * Cloud Run, as a Service of Knative: the platform itself sends no replica more than it carries. Pure.
 *
 * @module
 */

import { GIB } from "../../lib/byte-units.ts";
import { formatDuration } from "../../lib/duration.ts";
import type { PricedSize } from "../plan.ts";
import { type Artefact, said, type Tree } from "./artefact.ts";
import { diskOf, diskVariables } from "./disk.ts";
import { type Drain, drainOf, wholeSeconds } from "./drain.ts";
import { cpuQuantity, quantity } from "./kubernetes-names.ts";
import type { Premises } from "./premises.ts";
import { cpuWhy, filesWhy, type ReplicaRoom, sizeText, sizeWhyOf, turnsWhy } from "./room.ts";
import { scalingOf } from "./scaling.ts";
import {
  containerVariables,
  DATA_DIRECTORY,
  headOf,
  saidOf,
  serveArguments,
  type Variable,
  variableOf,
  variablesOf,
} from "./settings.ts";
import { writeYaml } from "./write-yaml.ts";

/** Most memory for so many CPUs; more CPUs need some at least. */
const SHAPES = [
  { cpus: 1, leastGib: 0.5, mostGib: 4 },
  { cpus: 2, leastGib: 0.5, mostGib: 8 },
  { cpus: 4, leastGib: 2, mostGib: 16 },
  { cpus: 6, leastGib: 4, mostGib: 24 },
  { cpus: 8, leastGib: 4, mostGib: 32 },
] as const;
/** From SIGTERM to SIGKILL. */
const CLOUD_RUN_STOP_MS = 10_000;
const DRAIN_MS = 5_000;
/** Instances, or replicas of Container Apps, at most. */
export const CLOUD_REPLICAS = 1_000;
/** Longest that a request may take. */
export const CLOUD_RUN_REQUEST_MS = 3_600_000;

export interface PlatformSize {
  readonly size: PricedSize;
  /** Why it is another than that of the plan; empty if it is the same. */
  readonly why: string;
}

/** The least that there is with as much memory and CPU; null if there is none. */
export function cloudRunSize(planned: PricedSize): PlatformSize | null {
  const shape = SHAPES.find(
    ({ cpus, mostGib }) => cpus >= planned.cpus && mostGib * GIB >= planned.memoryBytes,
  );
  if (shape === undefined) return null;
  const memoryBytes = Math.max(planned.memoryBytes, shape.leastGib * GIB);
  const { cpus } = shape;
  if (cpus === planned.cpus && memoryBytes === planned.memoryBytes) {
    return { size: planned, why: "" };
  }
  const name = `${sizeText(memoryBytes)} and ${cpus} CPUs`;
  const why = `the plan has ${planned.name}; the least of Cloud Run with as much is ${name}`;
  return { size: { ...planned, name, memoryBytes, cpus }, why };
}

export function cloudRunDrain(premises: Premises): Drain {
  const drain = drainOf(premises, DRAIN_MS);
  const stop = formatDuration(CLOUD_RUN_STOP_MS);
  return { ...drain, why: `there are ${stop} from SIGTERM to SIGKILL, and ending takes some` };
}

export function cloudRunArtefacts(premises: Premises, room: ReplicaRoom): readonly Artefact[] {
  const { name } = premises;
  const tree: Tree = {
    apiVersion: "serving.knative.dev/v1",
    kind: "Service",
    metadata: { name },
    spec: {
      template: {
        metadata: { annotations: annotationsOf(premises, room) },
        spec: revisionOf(premises, room),
      },
    },
  };
  const { variables } = premises;
  const secrets =
    variables.length === 0
      ? []
      : [
          `Secrets in Secret Manager, named in small letters: ${variables.map(secretOf).join(", ")}`,
        ];
  return [
    writeYaml(
      "cloud-run/service.yaml",
      [
        ...headOf(premises, room, "a service of Cloud Run"),
        `gcloud run services replace ${premises.folder}/cloud-run/service.yaml`,
        ...secrets,
      ],
      [tree],
    ),
  ];
}

function annotationsOf(premises: Premises, room: ReplicaRoom): Tree {
  const scaling = scalingOf(premises, room, "", CLOUD_REPLICAS);
  const { turns } = room.fleet.replica;
  return {
    "autoscaling.knative.dev/minScale": said(String(scaling?.min ?? 1), scaling?.minWhy ?? "one"),
    "autoscaling.knative.dev/maxScale": said(String(scaling?.max ?? 1), scaling?.maxWhy ?? "one"),
    "run.googleapis.com/execution-environment": said(
      "gen2",
      "the first generation has no control groups and takes no heed of oom_score_adj",
    ),
    "run.googleapis.com/startup-cpu-boost": said("true", "a start is bound by CPU"),
    "run.googleapis.com/cpu-throttling": said(
      "false",
      "the memory guard looks fifty times a second, also while no request is open",
    ),
    "run.googleapis.com/sessionAffinity": said(
      "true",
      `a caller comes back to the replica that has its turn, while it has room for it among ${turns}`,
    ),
  };
}

function revisionOf(premises: Premises, room: ReplicaRoom): Tree {
  const { port, image } = premises;
  const drain = cloudRunDrain(premises);
  const requestMs = Math.min(premises.longestTurn.durationMs, CLOUD_RUN_REQUEST_MS);
  return {
    containerConcurrency: said(room.fleet.replica.turns, turnsWhy(premises, room)),
    timeoutSeconds: said(wholeSeconds(requestMs), drainOf(premises).why),
    containers: [
      {
        name: "plimsoll",
        image: said(image, "of --image; a digest (@sha256:…) cannot change under you"),
        args: serveArguments(premises),
        ports: [{ name: "http1", containerPort: said(port, "listen.port") }],
        env: [
          ...premises.variables.map((name) => ({
            name,
            valueFrom: { secretKeyRef: { name: secretOf(name), key: "latest" } },
          })),
          ...variablesHere(premises, room, drain).map((one) => ({
            name: one.name,
            value: saidOf(one),
          })),
        ],
        resources: {
          limits: {
            memory: said(quantity(room.size.memoryBytes), sizeWhyOf(room)),
            cpu: said(cpuQuantity(room.size.cpus), cpuWhy(premises, room)),
          },
        },
        startupProbe: {
          httpGet: { path: "/readyz", port: said(port, "listen.port") },
          periodSeconds: said(2, "a start takes a second or two"),
          timeoutSeconds: said(2, "as the period"),
          failureThreshold: said(30, "a minute: the first start of an image is slow"),
        },
        livenessProbe: {
          httpGet: { path: "/livez", port: said(port, "listen.port") },
          periodSeconds: said(10, "not /readyz: a full replica is not a dead one"),
          timeoutSeconds: said(5, "it answers in milliseconds unless the loop is blocked"),
          failureThreshold: said(3, "one pause is no death: a restart ends every turn"),
        },
        volumeMounts: [{ name: "data", mountPath: DATA_DIRECTORY }],
      },
    ],
    volumes: [
      {
        name: "data",
        emptyDir: {
          medium: said("Memory", "all files of Cloud Run are in memory; here they have a limit"),
          sizeLimit: said(quantity(room.filesBytes), filesWhy(room)),
        },
      },
    ],
  };
}

function variablesHere(premises: Premises, room: ReplicaRoom, drain: Drain): readonly Variable[] {
  const common = [...containerVariables(premises), ...variablesOf(room, drain)];
  if (!premises.keepsSessions) return common;
  const keepFree = sizeText(room.filesBytes / 4);
  const why = "a quarter of the files in memory: older copies of sessions go, the store has them";
  return [
    ...common,
    { name: variableOf("retention.keepFree"), value: keepFree, why },
    ...diskVariables(diskOf("cloud-run", premises, room), premises),
  ];
}

/** Names of Secret Manager have no capital letters by custom. */
function secretOf(variable: string): string {
  return variable.toLowerCase().replaceAll("_", "-");
}
