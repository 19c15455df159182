/**
 * Whether artefacts fit the plan, as they were made or after somebody edited them: what a schema
 * cannot know, because each value is right by itself. Pure.
 *
 * @module
 */

import { parseAllDocuments } from "yaml";
import { MIB } from "../../lib/byte-units.ts";
import { formatDuration } from "../../lib/duration.ts";
import { type Diagnostic, placeless } from "../../lib/diagnostics.ts";
import { leastFleet } from "../plan.ts";
import { cloudRunDrain } from "./cloud-run.ts";
import { containerAppsDrain } from "./container-apps.ts";
import { diskOf, TURNS_DISK_BYTES } from "./disk.ts";
import { type Drain, drainOf } from "./drain.ts";
import type { ArtefactFacts } from "./facts.ts";
import type { Premises } from "./premises.ts";
import { factsOfDockerfile, factsOfUnit } from "./read-line-facts.ts";
import { factsOfDocument } from "./read-yaml-facts.ts";
import { type ReplicaRoom, sizeText } from "./room.ts";
import { scalingOf } from "./scaling.ts";
import type { Target } from "./targets.ts";

export interface ArtefactText {
  readonly path: string;
  readonly text: string;
}

/** @param rooms Of the deployment: what a replica has on each platform. */
export function checkArtefacts(
  premises: Premises,
  rooms: ReadonlyMap<Target, ReplicaRoom>,
  files: readonly ArtefactText[],
): readonly Diagnostic[] {
  return files.flatMap((file) => {
    const read = factsOf(file);
    if (!Array.isArray(read)) return [read as Diagnostic];
    return (read as readonly ArtefactFacts[]).flatMap((facts) => {
      const room = rooms.get(facts.target);
      return room === undefined ? [] : RULES.flatMap((rule) => rule(facts, { premises, room }));
    });
  });
}

function factsOf({ path, text }: ArtefactText): readonly ArtefactFacts[] | Diagnostic {
  if (path.endsWith(".service")) return [factsOfUnit(path, text)];
  if (/(^|\/)Dockerfile[^/]*(?<!\.dockerignore)$/u.test(path))
    return [factsOfDockerfile(path, text)];
  if (!/\.ya?ml$/u.test(path)) return [];
  const documents = parseAllDocuments(text);
  if (!Array.isArray(documents)) return [];
  const [problem] = documents.flatMap(({ errors }) => errors);
  if (problem !== undefined) {
    return placeless(path, `is no YAML: ${problem.message.split("\n")[0] ?? ""}`, "Correct it");
  }
  return documents.flatMap((document) => factsOfDocument(path, document.toJS()));
}

interface Against {
  readonly premises: Premises;
  readonly room: ReplicaRoom;
}

type Rule = (facts: ArtefactFacts, against: Against) => readonly Diagnostic[];

const RULES: readonly Rule[] = [
  imagesArePinned,
  imagesHaveOneLibc,
  nobodyIsRoot,
  memoryIsThatOfThePlan,
  memoryIsSetAside,
  filesLeaveRoom,
  copiesFitTheDisk,
  turnsAreThoseThatFit,
  turnsMayEnd,
  replicasAreThoseOfThePlan,
  scaledBeforeItSheds,
  livenessIsLife,
  containmentIsThere,
];

function imagesArePinned({ file, images }: ArtefactFacts): readonly Diagnostic[] {
  return images.flatMap(({ place, value }) => {
    const tag = /:([^/:]+)$/u.exec(value)?.[1];
    if (value.includes("@sha256:") || (tag !== undefined && tag !== "latest")) return [];
    const message = `is ${JSON.stringify(value)}: what that is changes under you`;
    return [placeless(file, message, "Name a version, or better a digest (@sha256:…)", place)];
  });
}

function imagesHaveOneLibc({ file, images }: ArtefactFacts): readonly Diagnostic[] {
  const isMusl = ({ value }: { value: string }) => /alpine|musl/iu.test(value);
  const odd = images.find((image) => isMusl(image) !== isMusl(images[0] ?? image));
  if (odd === undefined) return [];
  const message = `is ${odd.value}, of another libc than ${images[0]?.value ?? ""}: no turn would start`;
  const remedy =
    "Install packages in a stage of the same base as the image: all Debian, or all Alpine";
  return [placeless(file, message, remedy, odd.place)];
}

function nobodyIsRoot({ file, user, isRootReadOnly }: ArtefactFacts): readonly Diagnostic[] {
  const isRoot = user !== undefined && (user.value === null || /^(root|0)(:|$)/u.test(user.value));
  const found: Diagnostic[] = [];
  if (isRoot) {
    const message = user.value === null ? "is missing: it would run as root" : "is root";
    found.push(placeless(file, message, "Name another user: a turn needs no right", user.place));
  }
  if (isRootReadOnly?.value === false) {
    const message = "is off: tools could change the program";
    found.push(placeless(file, message, "Make the root read-only", isRootReadOnly.place));
  }
  return found;
}

function memoryIsThatOfThePlan({ file, memoryBytes }: ArtefactFacts, { room }: Against) {
  if (memoryBytes === undefined) return [];
  // As artefacts are written, in whole MiB.
  const planned = Math.floor(room.size.memoryBytes / MIB) * MIB;
  const { turns } = room.fleet.replica;
  const { value, place } = memoryBytes;
  if (value !== null && value >= planned) return [];
  const said =
    value === null ? "is missing, or has no unit that is known" : `is ${bytesText(value)}`;
  const message = `${said}: ${turns} turns need ${sizeText(planned)}`;
  return [placeless(file, message, `Write ${sizeText(planned)}, or plan with that size`, place)];
}

function memoryIsSetAside({
  file,
  memoryBytes,
  requestBytes,
}: ArtefactFacts): readonly Diagnostic[] {
  if (requestBytes === undefined || requestBytes.value === memoryBytes?.value) return [];
  const message =
    "is not the limit: the node may give the memory to others, and the ladder has no room";
  return [placeless(file, message, "Request as much as the limit", requestBytes.place)];
}

function filesLeaveRoom({ file, filesBytes }: ArtefactFacts, { premises, room }: Against) {
  const { size, fleet } = room;
  return filesBytes.flatMap(({ place, value }) => {
    if (value === null) {
      const message = "is missing: files could fill the memory of the turns";
      return [placeless(file, message, `Write ${sizeText(room.filesBytes)}`, place)];
    }
    const left = { ...size, memoryBytes: size.memoryBytes - value };
    const turns = left.memoryBytes <= 0 ? 0 : turnsOf(premises, left);
    if (turns >= fleet.replica.turns) return [];
    const message = `is ${bytesText(value)} of ${sizeText(size.memoryBytes)}: beside it ${turns} turns fit, not ${fleet.replica.turns}`;
    return [placeless(file, message, `Write ${sizeText(room.filesBytes)} at most`, place)];
  });
}

/** Above what its disk has the platform ends the replica, whatever runs there. */
function copiesFitTheDisk(
  { file, target, copiesBytes, volumeBytes }: ArtefactFacts,
  against: Against,
) {
  const disk = diskOf(target, against.premises, against.room);
  if (disk === null || copiesBytes === undefined || volumeBytes?.value === null) return [];
  const mostBytes =
    volumeBytes === undefined
      ? disk.copiesBytes
      : volumeBytes.value - disk.outboxBytes - TURNS_DISK_BYTES;
  const { value, place } = copiesBytes;
  if (value !== null && value <= mostBytes) return [];
  const said = value === null ? "says no sessions.copiesSize" : `is ${bytesText(value)}`;
  const of = sizeText(volumeBytes?.value ?? disk.bytes);
  const message = `${said}: copies of sessions could fill the ${of} of the replica, which ends it`;
  const remedy = `Write ${sizeText(disk.copiesBytes)}, or make the volume larger by as much`;
  return [placeless(file, message, remedy, place)];
}

function turnsOf({ profile, workload }: Premises, size: ReplicaRoom["size"]): number {
  return leastFleet(profile, workload, size)?.replica.turns ?? 0;
}

function turnsAreThoseThatFit({ file, concurrency, maxTurns }: ArtefactFacts, { room }: Against) {
  const { turns } = room.fleet.replica;
  const found: Diagnostic[] = [];
  if (concurrency !== undefined && (concurrency.value === null || concurrency.value > turns)) {
    const said = concurrency.value === null ? "sets no limit" : `is ${concurrency.value}`;
    const message = `${said}: ${turns} turns fit, and the platform sends more to a full replica`;
    found.push(placeless(file, message, `Write ${turns}`, concurrency.place));
  }
  if (maxTurns !== undefined && maxTurns.value !== turns) {
    const message = `is ${maxTurns.value ?? "no number"}: the plan counts with ${turns} turns`;
    found.push(placeless(file, message, `Write ${turns}, or plan anew`, maxTurns.place));
  }
  return found;
}

function turnsMayEnd({ file, target, stopMs, drainMs }: ArtefactFacts, { premises }: Against) {
  const { longestTurn } = premises;
  const planned = drainFor(target, premises);
  const found: Diagnostic[] = [];
  if (drainMs !== undefined && (drainMs.value === null || drainMs.value < planned.graceMs)) {
    const said = drainMs.value === null ? "is missing" : `is ${formatDuration(drainMs.value)}`;
    const message = `${said}: turns of ${longestTurn.agent} may take ${formatDuration(longestTurn.durationMs)}`;
    found.push(placeless(file, message, `Write ${formatDuration(planned.graceMs)}`, drainMs.place));
  }
  const needed = Math.max(planned.graceMs, drainMs?.value ?? 0);
  if (stopMs !== undefined && (stopMs.value === null || stopMs.value <= needed)) {
    const said = stopMs.value === null ? "is missing" : `leaves ${formatDuration(stopMs.value)}`;
    const message = `${said}: a drain takes ${formatDuration(needed)}, and then some seconds`;
    const remedy = "Give the longest turn and 15 s more, or lower limits.turnTime";
    found.push(placeless(file, message, remedy, stopMs.place));
  }
  return found;
}

function drainFor(target: Target, premises: Premises): Drain {
  if (target === "cloud-run") return cloudRunDrain(premises);
  return target === "container-apps" ? containerAppsDrain(premises) : drainOf(premises);
}

function replicasAreThoseOfThePlan({ file, min, max }: ArtefactFacts, { premises, room }: Against) {
  if (min === undefined || max === undefined) return [];
  const { replicas } = room.fleet;
  const found: Diagnostic[] = [];
  if (min.value === null || min.value < 1) {
    const message = `is ${min.value ?? "missing"}: the first caller would wait for a start`;
    found.push(placeless(file, message, `Write ${premises.workload.minReplicas}`, min.place));
  }
  if (max.value === null || max.value < (min.value ?? 0)) {
    const message = `is ${max.value ?? "missing"}, less than the least, ${min.value ?? "which is missing"}`;
    found.push(placeless(file, message, `Write ${replicas} or more`, max.place));
  } else if (max.value < replicas) {
    const message = `is ${max.value}: the busiest hour needs ${replicas}`;
    found.push(placeless(file, message, `Write ${replicas} or more`, max.place));
  }
  return found;
}

function scaledBeforeItSheds({ file, targetRatio, secondScaler }: ArtefactFacts, against: Against) {
  const scaling = scalingOf(against.premises, against.room, "");
  const found: Diagnostic[] = [];
  if (targetRatio !== undefined && scaling !== null) {
    const { value, place } = targetRatio;
    if (value === null || value > scaling.targetRatio) {
      const message = `is ${value ?? "missing"}: ${scaling.targetWhy}`;
      found.push(placeless(file, message, `Write ${scaling.targetRatio}`, place));
    }
  }
  if (secondScaler !== undefined) {
    const message = "names a second scaler: HPA and KEDA work against each other";
    found.push(placeless(file, message, "Keep one of hpa.yaml and keda.yaml", secondScaler.place));
  }
  return found;
}

function livenessIsLife({ file, livenessPath }: ArtefactFacts): readonly Diagnostic[] {
  if (livenessPath === undefined || livenessPath.value === "/livez") return [];
  const message = `is ${livenessPath.value ?? "missing"}: a draining replica would be killed with its turns`;
  return [placeless(file, message, "Write /livez", livenessPath.place)];
}

function containmentIsThere({
  file,
  isDelegated,
  sharedVolume,
}: ArtefactFacts): readonly Diagnostic[] {
  const found: Diagnostic[] = [];
  if (isDelegated?.value === false) {
    const message = "is off: there is no control group for each turn";
    found.push(placeless(file, message, "Write Delegate=yes", isDelegated.place));
  }
  if (sharedVolume !== undefined) {
    const message = `is ${sharedVolume.value}, for all replicas: one server at a time may use it`;
    const remedy = "Leave `source` out, so that each replica has its own";
    found.push(placeless(file, message, remedy, sharedVolume.place));
  }
  return found;
}

function bytesText(bytes: number): string {
  return bytes < MIB ? `${bytes} bytes` : sizeText(bytes);
}
