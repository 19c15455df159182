/**
 * What a simulation tells, as plain data: for JSON, and for those who draw it. Pure.
 *
 * @module
 */

import { shedRatio } from "../erlang.ts";
import { CPU_TARGET_RATIO } from "../replica-turns.ts";
import { type Estimate, estimateMean, estimateRatio } from "./confidence.ts";
import type { Histogram } from "./histogram.ts";
import { SIMULATED_SHED_REASONS, type SimulatedShed } from "./replica.ts";
import type { Setup } from "./scenario.ts";
import type { Simulated } from "./simulation.ts";
import type { Counts, SamplePoint } from "./tally.ts";

/** Raised when a program that reads results would misread them. */
const RESULT_VERSION = 1;
/** Fewer say nothing of the others. */
const LEAST_RUNS = 5;

/** Null where nothing was seen. */
export interface Quantiles {
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly mean: number | null;
}

export interface SimulationResult {
  readonly plimsollSimulation: number;
  readonly seed: number;
  readonly agent: string;
  readonly durationMs: number;
  /** Counted are attempts from then on. */
  readonly warmUpMs: number;
  readonly replica: {
    readonly memoryBytes: number;
    readonly loadLineBytes: number;
    readonly cpus: number;
    readonly turns: number;
    readonly binds: "memory" | "maxTurns";
    /** Turns for which its CPU is enough; null where they need none. */
    readonly cpuTurns: number | null;
  };
  readonly balancing: string;
  readonly clients: string;
  readonly arrivals: string;
  readonly meanTurnMs: number;
  /** Turns in flight if none were shed. */
  readonly offeredErlang: number;
  /** Within the counted time; and in all. */
  readonly counted: Counts;
  readonly all: Counts;
  /**
   * The part of attempts that is shed. The interval is of batches of time, so it means something
   * where `isSteady`.
   */
  readonly shedRatio: Estimate;
  /** What all runs came to, if there are 5 or more; everything else is of the first. */
  readonly runs: {
    readonly count: number;
    readonly shedRatio: Estimate;
    readonly leastShedRatio: number;
    readonly mostShedRatio: number;
  } | null;
  /** Whether the load and the fleet are the same at all times, but for chance. */
  readonly isSteady: boolean;
  readonly shedByReason: Readonly<Record<SimulatedShed, number>>;
  /** The part of turns that were never admitted, and that of those lost with their replica. */
  readonly givenUpRatio: number;
  readonly lostRatio: number;
  readonly attemptsPerTurn: number;
  /** From the attempt that was served; and from the first attempt of the turn. */
  readonly firstTokenMs: Quantiles;
  readonly firstTokenFromFirstMs: Quantiles;
  readonly startWaitMs: Quantiles;
  readonly memory: {
    /** In use as part of the load line, at regular times. */
    readonly usedRatio: Quantiles;
    readonly mostUsedRatio: number;
    /** Right after an admission; never above 1. */
    readonly mostCommittedRatio: number;
    readonly timesOverLine: number;
    readonly timesOverLimit: number;
  };
  readonly replicas: {
    readonly fewestUp: number;
    readonly mostUp: number;
    readonly meanUp: number;
    readonly hours: number;
    readonly failures: number;
    /** Null where there was none, or it did not end. */
    readonly deployEndedAtMs: number | null;
  };
  readonly meanInflight: number;
  /** Shed ratio of all replicas as one pool, and of each for itself, by Erlang B; null without sense. */
  readonly theory: { readonly pooled: number; readonly apart: number } | null;
  readonly points: readonly SamplePoint[];
  readonly events: number;
  /** What was assumed because it was not said. */
  readonly notes: readonly string[];
}

/** @param others Shed ratios of further runs. */
export function resultOf(
  setup: Setup,
  simulated: Simulated,
  notes: readonly string[],
  others: readonly number[] = [],
): SimulationResult {
  const { terms, scenario } = setup;
  const { tally } = simulated;
  const { measured } = tally;
  const counted = tally.points.filter(({ atMs }) => atMs > terms.warmUpMs);
  const ups = counted.map(({ replicasUp }) => replicasUp);
  const countedMs = terms.durationMs - terms.warmUpMs;
  return {
    plimsollSimulation: RESULT_VERSION,
    seed: terms.seed,
    agent: setup.profile.agent.name,
    durationMs: terms.durationMs,
    warmUpMs: terms.warmUpMs,
    replica: replicaOf(setup),
    balancing: scenario.balancer.policy,
    clients: scenario.clients.policy,
    arrivals: scenario.arrivals.process,
    meanTurnMs: setup.meanTurnMs,
    offeredErlang: setup.offered,
    counted: measured,
    all: tally.all,
    shedRatio: estimateRatio(tally.batchShed, tally.batchAttempts),
    runs: runsOf([shedRatioOf(simulated), ...others]),
    isSteady: isSteady(setup),
    shedByReason: measured.shed,
    givenUpRatio: measured.givenUp / Math.max(1, measured.turns),
    lostRatio: measured.lost / Math.max(1, measured.turns),
    attemptsPerTurn: measured.attempts / Math.max(1, measured.turns),
    firstTokenMs: quantilesOf(tally.firstToken),
    firstTokenFromFirstMs: quantilesOf(tally.firstTokenFromFirst),
    startWaitMs: quantilesOf(tally.startWait),
    memory: {
      usedRatio: quantilesOf(tally.usedRatios),
      mostUsedRatio: tally.mostUsedRatio,
      mostCommittedRatio: tally.mostCommittedRatio,
      timesOverLine: tally.overLine,
      timesOverLimit: tally.overLimit,
    },
    replicas: {
      fewestUp: Math.min(...ups),
      mostUp: Math.max(...ups),
      meanUp: ups.reduce((sum, up) => sum + up, 0) / Math.max(1, ups.length),
      hours: tally.replicaMs / 3_600_000,
      failures: simulated.failures,
      deployEndedAtMs: numberOrNull(simulated.deployEndedAtMs),
    },
    meanInflight: tally.inflightMs / countedMs,
    theory: theoryOf(setup),
    points: tally.points,
    events: simulated.events,
    notes: [...notes, ...cpuNotes(setup, tally.inflightMs / countedMs, ups)],
  };
}

function replicaOf(setup: Setup): SimulationResult["replica"] {
  const { replica } = setup.terms;
  return {
    memoryBytes: replica.limitBytes,
    loadLineBytes: replica.limitBytes - replica.safetyReserveBytes,
    cpus: replica.cpus,
    turns: setup.turnsPerReplica,
    binds: setup.binds,
    cpuTurns: Number.isFinite(setup.cpuTurns) ? setup.cpuTurns : null,
  };
}

/** Where more are in flight than keep it busy as planned, starts are late before answers are slow. */
function cpuNotes(
  { cpuTurns, turnsPerReplica }: Setup,
  meanInflight: number,
  ups: readonly number[],
): string[] {
  const meanUp = ups.reduce((sum, up) => sum + up, 0) / Math.max(1, ups.length);
  if (cpuTurns >= turnsPerReplica || meanInflight / Math.max(1, meanUp) <= cpuTurns) return [];
  return [
    `${100 * CPU_TARGET_RATIO} % of the CPU of a replica is enough for ${cpuTurns} turns at once, and ` +
      "more are in flight on average: bursts of starts come late, and beyond all of it answers are slow",
  ];
}

/** All attempts that were shed, for whatever reason. */
export function shedOf({ shed }: Counts): number {
  return SIMULATED_SHED_REASONS.reduce((sum, reason) => sum + shed[reason], 0);
}

export function shedRatioOf({ tally }: Simulated): number {
  return shedOf(tally.measured) / Math.max(1, tally.measured.attempts);
}

function runsOf(shedRatios: readonly number[]): SimulationResult["runs"] {
  if (shedRatios.length < LEAST_RUNS) return null;
  return {
    count: shedRatios.length,
    shedRatio: estimateMean(shedRatios),
    leastShedRatio: Math.min(...shedRatios),
    mostShedRatio: Math.max(...shedRatios),
  };
}

function isSteady({ scenario }: Setup): boolean {
  const { arrivals, deploys, autoscaler } = scenario;
  if (arrivals.process === "diurnal" || arrivals.process === "trace") return false;
  return arrivals.bursts.length === 0 && deploys.length === 0 && autoscaler === undefined;
}

/**
 * What Erlang B says of it, where it has something to say: the number of replicas stays the same, and
 * so does the rate.
 */
function theoryOf({
  terms,
  scenario,
  offered,
  turnsPerReplica,
}: Setup): SimulationResult["theory"] {
  const { arrivals, autoscaler, failures, deploys } = scenario;
  if (arrivals.process !== "poisson" || arrivals.bursts.length > 0) return null;
  if (autoscaler !== undefined || failures !== undefined || deploys.length > 0) return null;
  const { count } = terms.fleet;
  return {
    pooled: shedRatio(count * turnsPerReplica, offered),
    apart: shedRatio(turnsPerReplica, offered / count),
  };
}

function quantilesOf(histogram: Histogram): Quantiles {
  return {
    p50: numberOrNull(histogram.quantile(0.5)),
    p95: numberOrNull(histogram.quantile(0.95)),
    p99: numberOrNull(histogram.quantile(0.99)),
    mean: numberOrNull(histogram.mean),
  };
}

function numberOrNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}
