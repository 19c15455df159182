/**
 * A replica of a size that a platform has, with files in its memory: the turns that it carries then,
 * and the words in which artefacts say so. Pure.
 *
 * @module
 */

import { MIB } from "../../lib/byte-units.ts";
import { formatBytes, inMebibytes } from "../../lib/bytes.ts";
import { formatDuration } from "../../lib/duration.ts";
import { type PlannedFleet, leastFleet, type PricedSize } from "../plan.ts";
import { CPU_TARGET_RATIO } from "../replica-turns.ts";
import type { Premises } from "./premises.ts";

/** Sizes that a file system in memory can have, the largest first. */
const FILES_BYTES = [256 * MIB, 128 * MIB, 64 * MIB, 32 * MIB, 16 * MIB] as const;

/** What a replica on a platform has, and the fleet of such replicas. */
export interface ReplicaRoom {
  readonly size: PricedSize;
  /** Why it is not the size of the plan; empty if it is. */
  readonly sizeWhy: string;
  readonly fleet: PlannedFleet;
  /** The most that a file system in memory holds; 0 where there is none. */
  readonly filesBytes: number;
}

/** What a file system in memory has at least. */
export const LEAST_FILES_BYTES = 16 * MIB;

/**
 * The most files in memory beside which as many turns fit as without, or the least if none does; and
 * the replicas that are needed then. Null if no number of them keeps to the target.
 *
 * @param leastBytes Room for files in memory; 0 where they are on a disk.
 */
export function roomOf(
  premises: Premises,
  size: PricedSize,
  { sizeWhy, leastBytes }: { readonly sizeWhy: string; readonly leastBytes: number },
): ReplicaRoom | null {
  const whole = fleetBeside(premises, size, 0);
  if (leastBytes === 0) return whole && { size, sizeWhy, fleet: whole, filesBytes: 0 };
  for (const filesBytes of FILES_BYTES) {
    const fleet = fleetBeside(premises, size, filesBytes);
    const isFree = fleet !== null && fleet.replica.turns === whole?.replica.turns;
    if (isFree || filesBytes === leastBytes) {
      return fleet === null ? null : { size, sizeWhy, fleet, filesBytes };
    }
  }
  return null;
}

function fleetBeside(
  premises: Premises,
  size: PricedSize,
  filesBytes: number,
): PlannedFleet | null {
  const { profile, workload } = premises;
  const left = { ...size, memoryBytes: size.memoryBytes - filesBytes };
  const fleet = leastFleet(profile, workload, left);
  return fleet && { ...fleet, size };
}

/** `profile of support, 2026-11-29`. */
function profileText({ profile }: Premises): string {
  return `profile of ${profile.agent.name}, ${profile.measuredAt.slice(0, 10)}`;
}

/** `2GiB`, without what is less than a MiB. */
export function sizeText(bytes: number): string {
  return formatBytes(Math.floor(bytes / MIB) * MIB);
}

/** Why a replica carries so many turns. */
export function turnsWhy(premises: Premises, { fleet, filesBytes, size }: ReplicaRoom): string {
  const { turns, memoryTurns, cpuTurns, loadLineBytes, serverBytes, turnBytes, binds } =
    fleet.replica;
  const other = binds === "memory" ? `${cpuTurns} by CPU` : `${memoryTurns} by memory`;
  const files = filesBytes === 0 ? "" : ` less ${sizeText(filesBytes)} of files in memory`;
  return (
    `${turns} turns fit, by ${binds === "memory" ? "memory" : "CPU"} (${other}): ` +
    `${sizeText(size.memoryBytes)}${files}, load line ${inMebibytes(loadLineBytes)} MiB, ` +
    `${inMebibytes(serverBytes)} MiB for the server, ${inMebibytes(turnBytes)} MiB a turn ` +
    `(${profileText(premises)})`
  );
}

export function memoryWhy(premises: Premises, room: ReplicaRoom): string {
  return `${sizeWhyOf(room)}. ${turnsWhy(premises, room)}`;
}

export function sizeWhyOf({ sizeWhy, size }: ReplicaRoom): string {
  return sizeWhy === "" ? `of the plan: ${size.name}` : sizeWhy;
}

export function cpuWhy({ profile }: Premises, room: ReplicaRoom): string {
  const { cpuMs } = profile.turn;
  const { cpuTurns } = room.fleet.replica;
  const busy = percent(CPU_TARGET_RATIO);
  return (
    `${sizeWhyOf(room)}. ${cpuTurns} turns, of ${(cpuMs / 1000).toFixed(1)} s of CPU each, keep it ` +
    `${busy} busy`
  );
}

export function filesWhy({ fleet, filesBytes }: ReplicaRoom): string {
  const { turns } = fleet.replica;
  return (
    `counts against the memory of the replica: beside ${sizeText(filesBytes)} of files ` +
    `${turns} turns fit`
  );
}

export function replicasWhy(premises: Premises, { fleet }: ReplicaRoom): string {
  const { workload } = premises;
  return (
    `replicas of the plan: ${figure(workload.users)} users × ` +
    `${figure(workload.turnsPerUserHour)} turns an hour of ` +
    `${formatDuration(Math.round(workload.turnMs))}, ${percent(fleet.shedRatio)} shed ` +
    `(target ${percent(workload.shedTargetRatio)})`
  );
}

/** `2,000`, `0.5`: three digits that count behind the point. */
export function figure(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: 3 });
}

/** `0.84 %`; two digits that count. */
export function percent(ratio: number): string {
  const value = ratio * 100;
  if (value > 0 && value < 0.01) return "< 0.01 %";
  return `${value >= 10 ? Math.round(value) : Number(value.toPrecision(2))} %`;
}
