/**
 * What a profile says about replicas: how many turns each size carries and what binds there, the
 * smallest that works, and the one to take. By the arithmetic of the gate (`replica-turns.ts`); the
 * fixed formula stands beside it. Pure.
 *
 * @module
 */

import { GIB, MIB } from "../../lib/byte-units.ts";
import { trafficAt } from "../erlang.ts";
import type { Profile } from "../profile.ts";
import {
  CPU_TARGET_RATIO,
  leastMemoryBytes,
  type ReplicaTurns,
  replicaTurns,
  type TurnMix,
} from "../replica-turns.ts";

export type Binds = "memory" | "cpu" | "model";

export interface Carried {
  readonly cpus: number;
  /** In flight at most; 0 where none fits. */
  readonly turns: number;
  /** What gives way first. */
  readonly binds: Binds;
}

export interface SizeRow {
  readonly memoryBytes: number;
  readonly memoryTurns: number;
  /** For each number of CPUs of {@link CPUS}. */
  readonly byCpus: readonly Carried[];
  /** By (limit - 400 MiB) / 500 MiB, whatever the CPUs. */
  readonly formulaTurns: number;
}

export interface Recommended extends Carried {
  readonly memoryBytes: number;
  readonly memoryTurns: number;
  readonly cpuTurns: number;
  /** Turns in flight on average of which one in a hundred is shed. */
  readonly trafficErlang: number;
}

/** What a profile says about replicas of each size. */
export interface SizingVerdict {
  /** How long turns last that it is for. */
  readonly turnMs: number;
  readonly rows: readonly SizeRow[];
  readonly recommended: Recommended;
  /** The least memory with which one turn fits below the load line. */
  readonly smallestBytes: number;
  /** A replica of 2 GiB with the CPUs of this machine, for the first sentence. */
  readonly example: Carried & { readonly memoryBytes: number };
  /** Turns at once that the model let pass; null if it refused none. */
  readonly modelTurns: number | null;
}

export const SIZES_BYTES = [GIB, 2 * GIB, 4 * GIB, 8 * GIB];
export const CPUS = [1, 2, 4];
const RECOMMENDED_CPUS = [1, 2, 4, 8];
/** With fewer a replica must idle to have room: 8 turns may be 39 % busy and shed 1 %, 3 only 15 %. */
const LEAST_TURNS = 8;
const STEP_BYTES = 256 * MIB;
const SHED_RATIO = 0.01;

/** The fixed formula of `capacity.admission: static` with its defaults. */
export function formulaTurns(memoryBytes: number): number {
  return Math.max(1, Math.floor((memoryBytes - 400 * MIB) / (500 * MIB)));
}

/** @param turnMs How long turns last; without it as long as those that were measured. */
export function verdictOf(profile: Profile, turnMs = profile.turn.duration.meanMs): SizingVerdict {
  const terms = { profile, turnMs, modelTurns: modelTurnsOf(profile) };
  const carried = (memoryBytes: number, cpus: number) => carriedBy(terms, memoryBytes, cpus);
  const example = { memoryBytes: 2 * GIB, ...carried(2 * GIB, profile.machine.cpus) };
  return {
    turnMs,
    rows: SIZES_BYTES.map((memoryBytes) => ({
      memoryBytes,
      memoryTurns: turnsOn(terms, memoryBytes, 1).memoryTurns,
      byCpus: CPUS.map((cpus) => carried(memoryBytes, cpus)),
      formulaTurns: formulaTurns(memoryBytes),
    })),
    recommended: recommend(terms),
    smallestBytes: leastMemoryBytes(profile, mixOf(terms), 1, MIB),
    example,
    modelTurns: terms.modelTurns,
  };
}

/** What all of a verdict goes by. */
interface Terms {
  readonly profile: Profile;
  readonly turnMs: number;
  readonly modelTurns: number | null;
}

/** Fresh turns, and no idle session. */
function mixOf({ turnMs }: Terms): TurnMix {
  return { turnMs, carriedBytes: 0, carriedDeviationBytes: 0, idleSessions: 0 };
}

function turnsOn(terms: Terms, memoryBytes: number, cpus: number): ReplicaTurns {
  return replicaTurns(terms.profile, { memoryBytes, cpus }, mixOf(terms));
}

function carriedBy(terms: Terms, memoryBytes: number, cpus: number): Carried {
  const { modelTurns } = terms;
  const { turns, binds } = turnsOn(terms, memoryBytes, cpus);
  if (modelTurns !== null && modelTurns < turns) return { cpus, turns: modelTurns, binds: "model" };
  return { cpus, turns, binds };
}

/** The most that were in flight before the model refused. */
function modelTurnsOf({ measured }: Profile): number | null {
  if (measured?.burstBound !== "model") return null;
  return Math.max(1, measured.bursts.at(-2)?.starts ?? 1);
}

/** The fewest CPUs that serve a good number of turns, and as much memory as carries those. */
function recommend(terms: Terms): Recommended {
  const cpuTurnsOf = (cpus: number) => turnsOn(terms, GIB, cpus).cpuTurns;
  const most = RECOMMENDED_CPUS.at(-1) ?? 1;
  const cpus = RECOMMENDED_CPUS.find((each) => cpuTurnsOf(each) >= LEAST_TURNS) ?? most;
  const wanted = Math.min(cpuTurnsOf(cpus), WIDEST_TURNS);
  const memoryBytes = leastMemoryBytes(terms.profile, mixOf(terms), wanted, STEP_BYTES);
  const { memoryTurns, cpuTurns } = turnsOn(terms, memoryBytes, cpus);
  const carried = carriedBy(terms, memoryBytes, cpus);
  const trafficErlang = trafficAt(carried.turns, SHED_RATIO);
  return { ...carried, memoryBytes, memoryTurns, cpuTurns, trafficErlang };
}

/** Where turns use hardly any CPU: so many are lost with one replica, and that is enough. */
const WIDEST_TURNS = 32;

/** What the CPUs are to be busy at most, on average, for people. */
export const CPU_TARGET_PERCENT = Math.round(CPU_TARGET_RATIO * 100);
