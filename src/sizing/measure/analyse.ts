/**
 * From what the steps of the protocol found to the profile of the agent. Pure.
 *
 * @module
 */

import type { FootprintSample } from "../../capacity/footprint-model.ts";
import {
  deviationOf,
  meanOf,
  PRESUMED_SLOPE,
  robustSlope,
} from "../../capacity/footprint-slope.ts";
import { KIB } from "../../lib/byte-units.ts";
import { type Measured, type Profile, PROFILE_VERSION } from "../profile.ts";
import { median, quantile } from "../statistics.ts";
import { type Burst, largestWhole, type LoneTurn, type StepResults, type Turn } from "./results.ts";

/** What is known beside the steps. */
export interface MeasurementFacts {
  readonly measuredAt: string;
  readonly versions: Profile["versions"];
  readonly agent: Profile["agent"];
  readonly model: string;
  readonly machine: Profile["machine"];
  readonly groupLimitBytes: number | null;
  readonly isQuick: boolean;
  readonly notes: readonly string[];
}

export function analyse(results: StepResults, facts: MeasurementFacts): Profile {
  const { idle, first, steady, bursts, sessions, transcripts } = results;
  const { isQuick: _quick, notes: _notes, ...rest } = facts;
  const fresh = freshTurns(results);
  const short = shortOf(results);
  const beside = bursts.bursts.flatMap(({ inflightTurnBytes }) => inflightTurnBytes ?? []);
  const grownBytes = Math.max(0, sessions.afterBytes - sessions.beforeBytes);
  return {
    plimsollProfile: PROFILE_VERSION,
    ...rest,
    server: {
      idleBytes: Math.round(idle.usedBytes),
      idleSessionBytes: Math.round(grownBytes / Math.max(1, sessions.sessions)),
      // Of many turns at once the parts that are there once weigh least.
      inflightTurnBytes: Math.round(beside.at(-1) ?? 0),
      sharedTextBytes: Math.round(
        Math.max(first.mappedFileBytes, steady.mappedFileBytes, bursts.mappedFileBytes),
      ),
      growthBytes: Math.round(idle.growthBytes),
      turn: serverTurnOf(results),
    },
    start: {
      peakBytes: Math.round(idle.startPeakBytes),
      cpuMs: idle.startCpuMs,
      firstToken: timesOf(steady.turns.flatMap(({ firstTokenMs }) => firstTokenMs ?? [])),
    },
    turn: {
      turns: fresh.length,
      peak: peakOf(fresh.map(({ peakBytes }) => peakBytes)),
      bytesPerCarriedByte: rounded(slopeOf(transcripts.turns), 3),
      transcriptBytesPerTurn: Math.round(growthOf(steady.turns, transcripts.turns)),
      cpuMs: Math.round(meanOf(steady.turns.map(({ cpuMs }) => cpuMs))),
      duration: timesOf(steady.turns.map(({ durationMs }) => durationMs)),
      ...(short !== undefined && { short }),
    },
    measured: measuredOf(results, facts),
  };
}

/** Turns of sessions that were begun with them, and that called no tool. */
function freshTurns({ first, steady, bursts }: StepResults): readonly Turn[] {
  return [first, ...steady.turns, ...bursts.bursts.flatMap(({ turns }) => turns)];
}

/** What a server would have learned of the same turns, oldest first. */
export function footprintSamples(results: StepResults): readonly FootprintSample[] {
  const { transcripts, tools } = results;
  const all: readonly Turn[] = [
    ...freshTurns(results),
    ...transcripts.turns,
    ...tools.tools.flatMap(({ turns }) => turns),
  ];
  const samples = all.map(({ carriedBytes, peakBytes, atMs }) => ({
    carriedBytes,
    peakBytes,
    endedForMemory: false,
    atMs,
  }));
  return samples.toSorted((a, b) => a.atMs - b.atMs);
}

function peakOf(peaks: readonly number[]): Profile["turn"]["peak"] {
  const sorted = peaks.toSorted((a, b) => a - b);
  const at = (ratio: number) => Math.round(quantile(sorted, ratio));
  return {
    medianBytes: at(0.5),
    meanBytes: Math.round(meanOf(sorted)),
    deviationBytes: Math.round(deviationOf(sorted)),
    p95Bytes: at(0.95),
    p99Bytes: at(0.99),
    mostBytes: at(1),
  };
}

/** What any turn uses, however long it lasts: from turns that answer with a word. */
function shortOf({ steady }: StepResults): Profile["turn"]["short"] | undefined {
  const answerMs = answerMsOf(steady);
  if (answerMs === null) return undefined;
  const durationMs = meanOf(steady.turns.map((turn) => turn.durationMs)) - answerMs;
  return {
    cpuMs: Math.round(meanOf(steady.short.map(({ cpuMs }) => cpuMs))),
    durationMs: Math.max(0, Math.round(durationMs)),
  };
}

/**
 * What the server itself uses for a turn, of as many at once as there were: a lone turn has all of what
 * is there once for any number. What is beside the answer is told apart by turns of one word.
 */
function serverTurnOf({ steady, bursts }: StepResults): NonNullable<Profile["server"]["turn"]> {
  const { short } = bursts;
  const most = largestWhole(bursts.bursts);
  const answerMs = answerMsOf(steady);
  if (most === undefined || short === null || answerMs === null) {
    const { serverCpuMs, turns } = most ?? {
      serverCpuMs: steady.turns.reduce((sum, turn) => sum + turn.serverCpuMs, 0),
      turns: steady.turns,
    };
    const inflightMs = turns.reduce((sum, { durationMs }) => sum + durationMs, 0);
    return { cpuMs: 0, cores: rounded(serverCpuMs / Math.max(1, inflightMs), 4) };
  }
  const streamedMs = (most.serverCpuMs - short.serverCpuMs) / most.starts;
  return {
    cpuMs: Math.round(short.serverCpuMs / most.starts),
    cores: rounded(Math.max(0, streamedMs) / answerMs, 4),
  };
}

/**
 * How much longer a steady turn answers than one of a word. From the first token on, since starts
 * differ more than that on a busy machine. Null where it is not told apart: none were short, or a
 * script of the user answers as long to any input.
 */
function answerMsOf({ turns, short }: StepResults["steady"]): number | null {
  if (short.length === 0) return null;
  const answering = (some: readonly LoneTurn[]) =>
    median(some.map(({ durationMs, firstTokenMs }) => durationMs - (firstTokenMs ?? 0)));
  const answerMs = answering(turns) - answering(short);
  return answerMs < LEAST_ANSWER_MS ? null : answerMs;
}

const LEAST_ANSWER_MS = 500;

/** What the gate will learn of them, by the same fit. */
function slopeOf(turns: readonly LoneTurn[]): number {
  if (turns.length === 0) return PRESUMED_SLOPE;
  return robustSlope(
    turns.map(({ carriedBytes, peakBytes }) => ({ carriedBytes, heldBytes: peakBytes })),
  );
}

/**
 * By how much a turn makes its transcript longer: of turns that go on, if there are any, since the first
 * of a session also writes what comes once; of the shortest transcript, since to a very long one Claude
 * Code adds more.
 */
function growthOf(steady: readonly LoneTurn[], resumed: readonly LoneTurn[]): number {
  const least = Math.min(...resumed.map((turn) => turn.carriedBytes)) + SIMILAR_BYTES;
  const growths = resumed
    .filter((turn) => turn.carriedBytes <= least)
    .map((turn) => Math.max(0, turn.transcriptBytes - turn.carriedBytes));
  return median(growths.length > 0 ? growths : steady.map((turn) => turn.transcriptBytes));
}

/** So far apart two turns of one session may be. */
const SIMILAR_BYTES = 256 * KIB;

function timesOf(values: readonly number[]): Profile["turn"]["duration"] {
  if (values.length === 0) return { medianMs: 0, p95Ms: 0, meanMs: 0 };
  const sorted = values.toSorted((a, b) => a - b);
  const [medianMs, p95Ms] = [quantile(sorted, 0.5), quantile(sorted, 0.95)];
  return {
    medianMs: Math.round(medianMs),
    p95Ms: Math.round(p95Ms),
    meanMs: Math.round(meanOf(sorted)),
  };
}

function measuredOf(results: StepResults, { isQuick, notes }: MeasurementFacts): Measured {
  const { idle, first, steady, bursts, sessions, transcripts, tools } = results;
  const { anonymousBytes, fileBytes, sharedBytes, heap } = idle;
  const turnCpuMs = Math.round(meanOf(steady.turns.map(({ serverCpuMs }) => serverCpuMs)));
  return {
    isQuick,
    server: {
      anonymousBytes,
      fileBytes,
      sharedBytes,
      ...(heap !== null && { heap }),
      turnCpuMs,
    },
    firstTurn: {
      peakBytes: first.peakBytes,
      firstTokenMs: Math.round(first.firstTokenMs ?? 0),
      cpuMs: first.cpuMs,
    },
    peaks: freshTurns(results).map(({ peakBytes }) => peakBytes),
    bursts: bursts.bursts.map(burstOf),
    burstBound: bursts.bound,
    idleSessions: sessions.sessions,
    transcripts: transcripts.turns.map(({ carriedBytes, peakBytes }) => ({
      carriedBytes,
      peakBytes,
    })),
    tools: tools.tools.map(({ name, turns }) => ({
      name: name.slice(0, MAX_NAME_LENGTH),
      peakBytes: Math.max(...turns.map(({ peakBytes }) => peakBytes)),
      cpuMs: Math.round(meanOf(turns.map(({ cpuMs }) => cpuMs))),
      durationMs: Math.round(meanOf(turns.map(({ durationMs }) => durationMs))),
    })),
    toolsNotCalled: tools.notCalled.map((name) => name.slice(0, MAX_NAME_LENGTH)),
    notes: [...notes],
  };
}

const MAX_NAME_LENGTH = 200;

function burstOf({ starts, turns, shed, firstTokenMs, ...rest }: Burst): Measured["bursts"][0] {
  const { medianMs, p95Ms } = timesOf(firstTokenMs);
  return {
    starts,
    completed: turns.length,
    shed: Object.values(shed).reduce((sum, each) => sum + each, 0),
    firstTokenMedianMs: medianMs,
    firstTokenP95Ms: p95Ms,
    peakBytes: rest.peakBytes,
    cpuMs: rest.cpuMs,
    lastedMs: Math.round(rest.lastedMs),
  };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
