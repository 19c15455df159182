/**
 * From what a fleet has to carry to how many replicas of which size. A replica that sheds and does
 * not queue is an Erlang loss system with as many servers as it carries turns. Pure.
 *
 *     users × turns per hour × duration ─▶ offered traffic, in Erlang
 *     profile × size                    ─▶ turns that a replica carries
 *     both, and the target              ─▶ replicas
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import { mebibytes } from "../lib/figures.ts";
import { type Retried, shedWithRetries } from "./erlang.ts";
import type { Profile } from "./profile.ts";
import {
  leastMemoryBytes,
  type ReplicaSize,
  replicaTurns,
  type ReplicaTurns,
  type TurnMix,
} from "./replica-turns.ts";
import { type BALANCING, MOST_REPLICAS } from "./workload.ts";

export interface Workload {
  readonly users: number;
  readonly turnsPerUserHour: number;
  /** Mean. */
  readonly turnMs: number;
  readonly turnsPerSession: number;
  readonly transcriptBytesPerTurn: number;
  readonly sessionsPerUser: number;
  readonly shedTargetRatio: number;
  readonly retryRatio: number;
  readonly balancing: (typeof BALANCING)[number];
  readonly minReplicas: number;
  /** Turns an hour that the model takes, and by what; null where nobody said. */
  readonly model: {
    readonly turnsPerHour: number;
    readonly binds: "requests" | "tokens";
  } | null;
}

export interface PricedSize extends ReplicaSize {
  readonly name: string;
  /** Null where no price is known. */
  readonly hourly: number | null;
}

/** Replicas of one size, and how they do. */
export interface PlannedFleet {
  readonly size: PricedSize;
  readonly replicas: number;
  readonly replica: ReplicaTurns;
  /** The part of all attempts that is shed. */
  readonly shedRatio: number;
  /** The part of all turns that are never served. */
  readonly lostRatio: number;
  /** Turns in flight on average, of those that there is room for. */
  readonly utilizationRatio: number;
  /** For all replicas; null where no price is known. */
  readonly hourly: number | null;
}

/** What can be had of a size. */
export type Option =
  | ({ readonly isPossible: true } & PlannedFleet)
  | { readonly isPossible: false; readonly size: PricedSize; readonly why: string };

/** The fleet that is advised, with one thing changed. */
export interface Variation {
  readonly change: string;
  readonly shedRatio: number;
}

/** How far the load may grow until one thing gives way, the others being enough. */
export interface Breaking {
  readonly what: "memory" | "cpu" | "model";
  /** How many times the users of the workload; below 1 where it does not carry even those. */
  readonly usersRatio: number;
}

export interface Plan {
  readonly workload: Workload;
  /** First attempts, in Erlang: turns that would be in flight if none were shed. */
  readonly offered: number;
  /** By price, or by memory where no price is known. */
  readonly options: readonly Option[];
  /** The first that is possible; null if none is. */
  readonly advised: PlannedFleet | null;
  readonly variations: readonly Variation[];
  /** What gives way of the advised fleet as users grow, the first first. */
  readonly breaking: readonly Breaking[];
  /** Replicas of the advised size if turns found room wherever there is some; null if none is. */
  readonly pooledReplicas: number | null;
}

export function makePlan(profile: Profile, workload: Workload, sizes: readonly PricedSize[]): Plan {
  const options = sizes
    .map((size) => optionOf(profile, workload, size))
    .toSorted((a, b) => costOf(a) - costOf(b) || memoryOf(a) - memoryOf(b));
  const advised = options.find((option) => option.isPossible) ?? null;
  const pooled: Workload = { ...workload, balancing: "pooled" };
  return {
    workload,
    offered: offeredBy(workload),
    options,
    advised,
    variations: advised === null ? [] : variationsOf(profile, workload, advised, sizes),
    breaking: advised === null ? [] : breakingOf(profile, workload, advised),
    pooledReplicas: advised === null ? null : replicasFor(profile, pooled, advised.size),
  };
}

/** In Erlang: the rate of arrivals times the mean duration (Little's law). */
export function offeredBy({ users, turnsPerUserHour, turnMs }: Workload): number {
  return (users * turnsPerUserHour * turnMs) / 3_600_000;
}

/** So many replicas of a size under a load. */
export function fleetOf(
  profile: Profile,
  workload: Workload,
  size: PricedSize,
  replicas: number,
): PlannedFleet {
  const replica = replicaTurns(profile, size, mixOf(workload, replicas));
  const retried = shedBy(workload, replicas, replica.turns);
  const served = offeredBy(workload) * (1 - retried.lostRatio);
  return {
    size,
    replicas,
    replica,
    shedRatio: retried.shedRatio,
    lostRatio: retried.lostRatio,
    utilizationRatio: replica.turns === 0 ? 0 : served / (replica.turns * replicas),
    hourly: size.hourly === null ? null : size.hourly * replicas,
  };
}

/** @param turns That fit in each of them. */
function shedBy(workload: Workload, replicas: number, turns: number): Retried {
  const isPooled = workload.balancing === "pooled";
  const room = isPooled ? turns * replicas : turns;
  return shedWithRetries(
    room,
    offeredBy(workload) / (isPooled ? 1 : replicas),
    workload.retryRatio,
  );
}

/** The fewest replicas of a size that keep to the target; null if none do. */
export function leastFleet(
  profile: Profile,
  workload: Workload,
  size: PricedSize,
): PlannedFleet | null {
  const replicas = replicasFor(profile, workload, size);
  return replicas === null ? null : fleetOf(profile, workload, size, replicas);
}

function optionOf(profile: Profile, workload: Workload, size: PricedSize): Option {
  const fleet = leastFleet(profile, workload, size);
  if (fleet !== null) return { isPossible: true, ...fleet };
  const { turns } = replicaTurns(profile, size, mixOf(workload, MOST_REPLICAS));
  const why =
    turns === 0
      ? `not even one turn fits below its load line: the least is ${leastText(profile, workload, size)}`
      : `more than ${MOST_REPLICAS.toLocaleString("en")} replicas would be needed`;
  return { isPossible: false, size, why };
}

/** With the sessions of a fleet as large as there is. */
function leastText(profile: Profile, workload: Workload, size: PricedSize): string {
  return mebibytes(leastMemoryBytes(profile, mixOf(workload, MOST_REPLICAS), 1, MIB, size));
}

/**
 * The fewest replicas that keep to the target; null if {@link MOST_REPLICAS} do not. With more
 * replicas each has fewer turns and fewer idle sessions, so that it never sheds more.
 */
function replicasFor(profile: Profile, workload: Workload, size: PricedSize): number | null {
  const keepsTo = (replicas: number) =>
    fleetOf(profile, workload, size, replicas).shedRatio <= workload.shedTargetRatio;
  let [few, many] = [workload.minReplicas - 1, workload.minReplicas];
  while (!keepsTo(many)) {
    if (many === MOST_REPLICAS) return null;
    [few, many] = [many, Math.min(MOST_REPLICAS, many * 2)];
  }
  while (many - few > 1) {
    const middle = Math.floor((few + many) / 2);
    if (keepsTo(middle)) many = middle;
    else few = middle;
  }
  return many;
}

/** Turn i of a session resumes what the i before it wrote: evenly from 0 to all but the last. */
function mixOf(workload: Workload, replicas: number): TurnMix {
  const { turnMs, turnsPerSession, transcriptBytesPerTurn, users, sessionsPerUser } = workload;
  return {
    turnMs,
    carriedBytes: (transcriptBytesPerTurn * (turnsPerSession - 1)) / 2,
    carriedDeviationBytes: transcriptBytesPerTurn * Math.sqrt((turnsPerSession ** 2 - 1) / 12),
    idleSessions: (users * sessionsPerUser) / replicas,
  };
}

/** Each thing for itself: memory as if there were CPUs without end, and the other way. */
function breakingOf(
  profile: Profile,
  workload: Workload,
  fleet: PlannedFleet,
): readonly Breaking[] {
  const { size, replicas } = fleet;
  const { users, turnsPerUserHour, model, shedTargetRatio } = workload;
  const growth = (turnsOf: (replica: ReplicaTurns) => number) =>
    mostGrowth((ratio) => {
      const grown = { ...workload, users: users * ratio };
      const turns = turnsOf(replicaTurns(profile, size, mixOf(grown, replicas)));
      return shedBy(grown, replicas, Math.min(turns, MOST_TURNS)).shedRatio <= shedTargetRatio;
    });
  const all: readonly Breaking[] = [
    { what: "memory", usersRatio: growth(({ memoryTurns }) => memoryTurns) },
    { what: "cpu", usersRatio: growth(({ cpuTurns }) => cpuTurns) },
    ...(model === null
      ? []
      : [
          {
            what: "model" as const,
            usersRatio: model.turnsPerHour / (users * turnsPerUserHour),
          },
        ]),
  ];
  return all.toSorted((a, b) => a.usersRatio - b.usersRatio);
}

/** Where turns use no CPU at all, nobody waits for the end of the recurrence. */
const MOST_TURNS = 10_000;
/** Beyond it nobody asks. */
const MOST_GROWTH = 1_000;
const GROWTH_STEPS = 40;

/** The greatest growth that holds, to a part in a million; at most {@link MOST_GROWTH}. */
function mostGrowth(holds: (ratio: number) => boolean): number {
  let [low, high] = [0, 1];
  while (holds(high) && high < MOST_GROWTH) [low, high] = [high, high * 2];
  for (let step = 0; step < GROWTH_STEPS; step += 1) {
    const middle = (low + high) / 2;
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return Math.min(low, MOST_GROWTH);
}

/** Whether the model takes fewer turns than are asked for: no replica helps then. */
export function modelIsShort({ model, users, turnsPerUserHour }: Workload): boolean {
  return model !== null && model.turnsPerHour < users * turnsPerUserHour;
}

function variationsOf(
  profile: Profile,
  workload: Workload,
  fleet: PlannedFleet,
  sizes: readonly PricedSize[],
): readonly Variation[] {
  const { size, replicas } = fleet;
  const under = (change: string, changed: Partial<Workload>): Variation => ({
    change,
    shedRatio: fleetOf(profile, { ...workload, ...changed }, size, replicas).shedRatio,
  });
  const of = (change: string, other: PricedSize, count: number): Variation => ({
    change,
    shedRatio: fleetOf(profile, workload, other, count).shedRatio,
  });
  const smaller = sizes
    .filter((other) => isSmaller(other, size))
    .toSorted(bySize)
    .at(-1);
  const { users, turnMs, turnsPerSession } = workload;
  return [
    ...(replicas > 1 ? [of("one replica lost, or being deployed", size, replicas - 1)] : []),
    of("one replica more", size, replicas + 1),
    ...(smaller === undefined ? [] : [of(`one size smaller (${smaller.name})`, smaller, replicas)]),
    under("half as many users again", { users: users * 1.5 }),
    under("twice the users", { users: users * 2 }),
    under("turns that last twice as long", { turnMs: turnMs * 2 }),
    under("conversations twice as long", { turnsPerSession: turnsPerSession * 2 }),
    ...(workload.retryRatio < BLIND_RETRY_RATIO
      ? [under("four of five refused callers retry at once", { retryRatio: BLIND_RETRY_RATIO })]
      : []),
  ];
}

const BLIND_RETRY_RATIO = 0.8;

/** No larger in either, and smaller in one. */
function isSmaller(a: PricedSize, b: PricedSize): boolean {
  if (a.memoryBytes > b.memoryBytes || a.cpus > b.cpus) return false;
  return a.memoryBytes < b.memoryBytes || a.cpus < b.cpus;
}

function bySize(a: PricedSize, b: PricedSize): number {
  return a.memoryBytes - b.memoryBytes || a.cpus - b.cpus;
}

/** Without prices, memory stands for the cost: it is what agents need most. */
function costOf(option: Option): number {
  if (!option.isPossible) return Infinity;
  return option.hourly ?? option.replicas * option.size.memoryBytes;
}

function memoryOf({ size }: Option): number {
  return size.memoryBytes;
}
