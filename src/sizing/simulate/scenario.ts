/**
 * A scenario and a profile to the terms of a simulation, with all that does not fit together. Pure.
 *
 * @module
 */

import { MIB } from "../../lib/byte-units.ts";
import type { Profile } from "../profile.ts";
import {
  modelOf,
  type ReplicaTurns,
  leastMemoryBytes,
  replicaTurns,
  streamCoresOf,
  type TurnMix,
} from "../replica-turns.ts";
import { type Arrivals, RateArrivals, TraceArrivals, turnsBySession } from "./arrivals.ts";
import { type Law, lawOf, lognormalWith } from "./laws.ts";
import type { Random } from "./random.ts";
import type { ReplicaTerms } from "./replica.ts";
import { scenarioProblemsOf, type ScenarioProblem } from "./scenario-problems.ts";
import type { ScenarioFile } from "./scenario-schema.ts";
import type { SimulationTerms, TurnTerms } from "./simulation-terms.ts";
import type { TraceTurns } from "../trace.ts";

/** All that a report says beside what happened. */
export interface Setup {
  readonly terms: SimulationTerms;
  readonly scenario: ScenarioFile;
  readonly profile: Profile;
  /** Turns at once that the gate of a replica has room for, and what binds. */
  readonly turnsPerReplica: number;
  readonly binds: "memory" | "maxTurns";
  /** Turns at once for which its CPU is enough, as `plan` has it. */
  readonly cpuTurns: number;
  readonly meanTurnMs: number;
  /** Turns in flight if none were shed, in Erlang. */
  readonly offered: number;
}

export type SetupResult =
  | { readonly ok: true; readonly setup: Setup }
  | { readonly ok: false; readonly problems: readonly ScenarioProblem[] };

/** Points over time in a result: more than a plot can show apart, and few enough for JSON. */
const POINTS = 240;
export function setUp(
  scenario: ScenarioFile,
  profile: Profile,
  trace: TraceTurns | null,
): SetupResult {
  const durationMs = trace === null ? scenario.duration : traceMs(trace);
  const meanTurnMs = meanOf(scenario, profile, trace);
  const turns = turnsExpected(scenario, trace);
  const mix = mixOf(scenario, profile, meanTurnMs, trace);
  const { memory: memoryBytes, maxTurns, ...place } = scenario.replicas;
  const carried = replicaTurns(profile, { ...place, memoryBytes }, mix);
  const leastBytes = leastMemoryBytes(profile, mix, 1, MIB, place);
  const problems = scenarioProblemsOf(scenario, { turns, durationMs, carried, leastBytes });
  if (problems.length > 0) return { ok: false, problems };
  const isCapped = maxTurns !== undefined && maxTurns < carried.memoryTurns;
  const turnsPerReplica = isCapped ? maxTurns : carried.memoryTurns;
  const terms = termsOf(scenario, profile, {
    trace,
    durationMs,
    turnsPerReplica,
    mix,
    carried,
  });
  return {
    ok: true,
    setup: {
      terms,
      scenario,
      profile,
      turnsPerReplica,
      binds: isCapped ? "maxTurns" : "memory",
      cpuTurns: carried.cpuTurns,
      meanTurnMs,
      offered: (turns / durationMs) * meanTurnMs,
    },
  };
}

interface Resolved {
  readonly trace: TraceTurns | null;
  readonly durationMs: number;
  readonly turnsPerReplica: number;
  readonly mix: TurnMix;
  readonly carried: ReplicaTurns;
}

function termsOf(scenario: ScenarioFile, profile: Profile, resolved: Resolved): SimulationTerms {
  const { seed, sessions, balancer, clients, limits } = scenario;
  const { durationMs } = resolved;
  return {
    seed,
    durationMs,
    warmUpMs: Math.min(scenario.warmUp ?? durationMs / 10, durationMs / 2),
    arrivals: arrivalsOf(scenario, resolved),
    session: { turns: sessions.turns, pauseMs: sessions.pause },
    turn: turnOf(scenario, profile),
    replica: replicaOf(scenario, profile, resolved),
    fleet: fleetOf(scenario, resolved.turnsPerReplica),
    balancer,
    clients: {
      policy: clients.policy,
      maxAttempts: clients.maxAttempts,
      patienceMs: clients.patience ?? Infinity,
      retryRatio: clients.retryShare,
      pauseMs: clients.pause,
      longestPauseMs: clients.longestPause,
      spread: clients.spread,
    },
    limits,
    points: POINTS,
  };
}

function arrivalsOf(
  { arrivals, sessions }: ScenarioFile,
  { trace, durationMs }: Resolved,
): (random: Random) => Arrivals {
  if (trace !== null) return () => new TraceArrivals(trace, durationMs);
  const { process, rate = 0, bursty, diurnal, bursts } = arrivals;
  const terms = {
    process: process === "trace" ? ("poisson" as const) : process,
    // What arrives are sessions.
    ratePerMs: rate / sessions.turns,
    spells: { factor: bursty.factor, burstMs: bursty.length, calmMs: bursty.calm },
    day: { swingRatio: diurnal.swing, periodMs: diurnal.period },
    bursts: bursts.map(({ at, length, factor }) => ({ atMs: at, lengthMs: length, factor })),
    endMs: durationMs,
  };
  return (random) => new RateArrivals(terms, random);
}

function turnOf(scenario: ScenarioFile, profile: Profile): TurnTerms {
  const { turns, replicas } = scenario;
  const { peak, bytesPerCarriedByte, transcriptBytesPerTurn } = profile.turn;
  const startCpuMs = turns.startCpu ?? profile.start.cpuMs;
  const drawPeak = lognormalWith(peak.meanBytes, peak.deviationBytes);
  return {
    durationMs: durationOf(scenario, profile),
    firstTokenMs: firstTokenOf(scenario, profile),
    startCpuMs,
    streamCores: streamCoresOf(profile),
    peakBytes: (random) => Math.min(drawPeak(random), peak.mostBytes),
    bytesPerCarriedByte,
    startPeakBytes: Math.round(profile.start.peakBytes),
    transcriptBytes: turns.transcript,
    transcriptBytesPerTurn,
    lingerMs: replicas.linger,
  };
}

function durationOf({ turns }: ScenarioFile, profile: Profile): Law {
  const { meanMs, p95Ms } = profile.turn.duration;
  const mean = turns.mean ?? meanMs;
  // As wide as measured, also where another mean is asked for.
  const p95 = turns.p95 ?? (p95Ms / Math.max(1, meanMs)) * mean;
  return lawOf({ law: turns.law, mean, p95, variationRatio: turns.variation });
}

function firstTokenOf({ turns }: ScenarioFile, profile: Profile): Law {
  const { meanMs, p95Ms } = profile.start.firstToken;
  const mean = turns.firstToken ?? meanMs;
  const p95 = (p95Ms / Math.max(1, meanMs)) * mean;
  return lawOf({ law: "lognormal", mean, p95, variationRatio: 1 });
}

function replicaOf(
  { replicas }: ScenarioFile,
  profile: Profile,
  { mix, carried }: Resolved,
): ReplicaTerms {
  return {
    limitBytes: replicas.memory,
    safetyReserveBytes: replicas.memory - carried.loadLineBytes,
    cpus: replicas.cpus,
    // Whole bytes, so that sums that go up and down for millions of turns stay exact.
    serverBytes: Math.round(carried.serverBytes),
    inflightTurnBytes: Math.round(profile.server.inflightTurnBytes),
    // As of a replica that has seen many such turns, however long their transcripts are.
    model: {
      ...modelOf(profile, { ...mix, carriedDeviationBytes: 0 }),
      carriedToBytes: Number.MAX_SAFE_INTEGER,
    },
    maxTurns: replicas.maxTurns ?? null,
    maxStartWaitMs: replicas.startWait,
    maxRetryAfterMs: replicas.maxRetryAfter,
  };
}

function fleetOf(scenario: ScenarioFile, turnsPerReplica: number): SimulationTerms["fleet"] {
  const { replicas, autoscaler, failures, deploys } = scenario;
  return {
    count: replicas.count,
    coldStartMs: replicas.coldStart,
    drainGraceMs: replicas.drainGrace,
    autoscaler:
      autoscaler === undefined
        ? null
        : {
            min: autoscaler.min,
            max: autoscaler.max,
            targetRatio: autoscaler.target,
            turnsPerReplica,
            intervalMs: autoscaler.interval,
            lagMs: autoscaler.lag,
            scaleDownAfterMs: autoscaler.scaleDownAfter,
          },
    failures:
      failures === undefined ? null : { everyMs: failures.every, restartMs: failures.restart },
    deploys: deploys.map(({ at, surge, unavailable }) => ({ atMs: at, surge, unavailable })),
  };
}

function mixOf(
  { turns, sessions }: ScenarioFile,
  profile: Profile,
  turnMs: number,
  trace: TraceTurns | null,
): TurnMix {
  const begunBytes = meanKnown(trace?.transcriptBytes ?? new Float64Array(), turns.transcript);
  // A session's turns carry more and more; the mean of a geometric number of them has `turns` before.
  const grownBytes = profile.turn.transcriptBytesPerTurn * turnsBefore(sessions.turns, trace);
  return {
    turnMs,
    carriedBytes: begunBytes + grownBytes,
    carriedDeviationBytes: grownBytes,
    idleSessions: 0,
  };
}

/** Turns of its session before a turn, on average. */
function turnsBefore(turns: number, trace: TraceTurns | null): number {
  // Where a trace says how long transcripts are, they grow by what it says.
  const isKnown = trace?.transcriptBytes.some((bytes) => !Number.isNaN(bytes)) === true;
  if (trace === null || isKnown) return turns - 1;
  let before = 0;
  for (const count of turnsBySession(trace).values()) before += (count * (count - 1)) / 2;
  return before / Math.max(1, trace.atMs.length);
}

/** Mean duration of turns; of a trace that of those it knows. */
function meanOf({ turns }: ScenarioFile, profile: Profile, trace: TraceTurns | null): number {
  const drawnMs = turns.mean ?? profile.turn.duration.meanMs;
  if (trace === null) return drawnMs;
  return meanKnown(trace.durationMs, drawnMs);
}

/** The mean of values some of which are not known, and are taken to be another. */
function meanKnown(values: Float64Array, otherwise: number): number {
  if (values.length === 0) return otherwise;
  const sum = values.reduce((all, each) => all + (Number.isNaN(each) ? otherwise : each), 0);
  return sum / values.length;
}

/** The last turn of a trace is within it. */
function traceMs({ atMs }: TraceTurns): number {
  return Math.max(1000, (atMs.at(-1) ?? 0) + 1);
}

function turnsExpected({ arrivals, duration }: ScenarioFile, trace: TraceTurns | null): number {
  if (trace !== null) return trace.atMs.length;
  const { rate = 0, bursts } = arrivals;
  const more = bursts.reduce((sum, { at, length, factor }) => {
    const overlapMs = Math.max(0, Math.min(duration, at + length) - at);
    return sum + overlapMs * (factor - 1);
  }, 0);
  return rate * (duration + more);
}
