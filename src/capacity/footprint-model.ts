/**
 * What a turn will hold, from what turns have held. Pure; one model for each agent.
 *
 *     predicted = base + slope × carried                                      for one turn
 *     pool      = Σ error + 2.33 √(Σ deviation²) + the largest turn's excess  for all at once
 *
 * A turn is predicted the mean and not some high quantile: turns are many, and what one holds above
 * the mean another holds below. For the chance that they do not cancel out there is one pool for
 * all; a margin for each would be paid as many times as there are turns. Only that the mean itself
 * may be wrong does not cancel out.
 *
 * @module
 */

import {
  deviationOf,
  meanOf,
  PRESUMED_SLOPE,
  robustSlope,
  type SlopePoint,
} from "./footprint-slope.ts";

/** What a turn that has ended tells. */
export interface FootprintSample {
  /** Of the transcript it resumed, and its input. */
  readonly carriedBytes: number;
  /** Most private memory of its process tree; never with a tool that was ended for its memory. */
  readonly peakBytes: number;
  /** Whether it was ended for its memory: what it would have held is not known, but more. */
  readonly endedForMemory: boolean;
  readonly atMs: number;
}

export interface FootprintModel {
  /** How many turns it rests on. */
  readonly samples: number;
  /** What a turn is taken to hold beside what comes of its transcript. */
  readonly baseBytes: number;
  readonly bytesPerCarriedByte: number;
  /** The most that turns have carried so far: beyond it the slope is not known. */
  readonly carriedToBytes: number;
  /** How much turns that carry the same differ: one standard deviation. */
  readonly deviationBytes: number;
  /** How far the base may be off, for all turns alike. */
  readonly errorBytes: number;
  /** By how much the largest turn was above the others; 0 while each is predicted as the largest. */
  readonly excessBytes: number;
  /** The least and the most that a turn was seen to hold. */
  readonly leastBytes: number;
  readonly largestBytes: number;
}

export interface ModelInput {
  /** Oldest first. */
  readonly samples: readonly FootprintSample[];
  /** Peak of a process that was only started; null where none was. */
  readonly startPeakBytes: number | null;
  /** What a turn is taken to hold while nothing is known. */
  readonly priorBytes: number;
}

/** From here on the mean is known well enough to be predicted; before, the largest is. */
export const SETTLED_SAMPLES = 8;
/** The slope is taken from the latest turns only: its time grows with the square of their number. */
const SLOPE_SAMPLES = 64;
/** A turn takes more than a process that only started: what it does on top of it. */
const START_TO_TURN_RATIO = 1.3;
/** One that was ended for memory would have held more. */
const CUT_OFF_RATIO = 1.25;
/** Turns never differ less than this, however few were seen. */
const LEAST_DEVIATION_RATIO = 0.03;
/** Standard errors that the mean of all turns may be above that of the samples. */
const STANDARD_ERRORS = 2;
/** Standard deviations that a sum exceeds once in a hundred times. */
const DEVIATIONS_FOR_99_PERCENT = 2.33;
/** Sized for a transcript of 16 MiB with the usual prior of 500 MiB. */
const PRIOR_BYTES_PER_CARRIED_BYTE = 32;

/**
 * Fits the model. Finite whatever the samples, if they are finite.
 *
 * The largest turn is set aside in full once, so it has no part in the deviation; nor in the slope.
 * Thus a turn that held more never makes others be predicted less, nor the pool smaller.
 */
export function fitFootprint({ samples, startPeakBytes, priorBytes }: ModelInput): FootprintModel {
  const seen = samples.map((sample) => pointOf(sample, startPeakBytes ?? 0));
  const points = [...startPoints(startPeakBytes, seen.length), ...seen];
  if (points.length === 0) return presumedModel(priorBytes);

  const largest = seen.reduce(larger, seen[0]);
  const others = points.filter((point) => point !== largest);
  const slope = robustSlope(others.filter(({ tellsSlope }) => tellsSlope).slice(-SLOPE_SAMPLES));
  const rest = ({ carriedBytes, heldBytes }: Point) => heldBytes - slope * carriedBytes;
  const rests = points.map(rest);
  const largestRest = Math.max(...rests);
  const typical = meanOf(points.map(({ heldBytes }) => heldBytes));
  // A process that was only started is no turn: how turns differ is told by turns alone.
  const scatter = deviationOf(seen.filter((point) => point !== largest).map(rest));
  const deviation = Math.max(scatter, LEAST_DEVIATION_RATIO * typical);
  const count = points.length;
  const isSettled = count >= SETTLED_SAMPLES;
  const careful = Math.min(priorBytes, largestRest + typical / Math.sqrt(count));
  const error = errorOf(typical, deviation, count);
  return {
    samples: samples.length,
    baseBytes: isSettled ? levelOf(rests, scatter) : Math.max(largestRest, careful),
    bytesPerCarriedByte: slope,
    carriedToBytes: Math.max(...points.map(({ carriedBytes }) => carriedBytes)),
    deviationBytes: deviation,
    errorBytes: isSettled ? error : 0,
    excessBytes: isSettled ? Math.max(0, largestRest - meanOf(others.map(rest))) : 0,
    leastBytes: Math.min(...points.map(({ heldBytes }) => heldBytes)),
    largestBytes: Math.max(...points.map(({ heldBytes }) => heldBytes)),
  };
}

/** Turns as they were measured, that carry nothing. */
export interface MeasuredTurns {
  readonly count: number;
  readonly meanBytes: number;
  readonly deviationBytes: number;
  readonly mostBytes: number;
  readonly bytesPerCarriedByte: number;
}

/**
 * What {@link fitFootprint} comes to when it has seen `count` turns of that kind, however long their
 * transcripts: for plans, with the same care as the gate.
 */
export function settledModel(turns: MeasuredTurns): FootprintModel {
  const { count, meanBytes, mostBytes, bytesPerCarriedByte } = turns;
  const deviationBytes = Math.max(turns.deviationBytes, LEAST_DEVIATION_RATIO * meanBytes);
  return {
    samples: count,
    baseBytes: meanBytes,
    bytesPerCarriedByte,
    carriedToBytes: Number.MAX_SAFE_INTEGER,
    deviationBytes,
    errorBytes: errorOf(meanBytes, deviationBytes, count),
    excessBytes: Math.max(0, mostBytes - meanBytes),
    leastBytes: 0,
    largestBytes: mostBytes,
  };
}

/** How far the mean of all turns may be above that of those that were seen. */
function errorOf(meanBytes: number, deviationBytes: number, count: number): number {
  return meanBytes / (2 * count) + (STANDARD_ERRORS * deviationBytes) / Math.sqrt(count);
}

/**
 * That turns hold more than they did is believed of the latest, as far as chance does not explain
 * it; that they hold less, of all.
 */
function levelOf(rests: readonly number[], scatter: number): number {
  const latest = meanOf(rests.slice(-SETTLED_SAMPLES));
  return Math.max(meanOf(rests), latest - scatter / Math.sqrt(SETTLED_SAMPLES));
}

/**
 * What a turn will hold that carries this much. Takes constant time.
 *
 * Beyond what was seen the line bends to the careful side: a longer transcript costs at least what
 * is presumed, and no turn is predicted less than the least that one has held.
 */
export function predictBytes(model: FootprintModel, carriedBytes: number): number {
  const { baseBytes, bytesPerCarriedByte, carriedToBytes, leastBytes } = model;
  const within = Math.min(carriedBytes, carriedToBytes);
  const beyond = carriedBytes - within;
  const steeper = Math.max(bytesPerCarriedByte, PRESUMED_SLOPE);
  return Math.ceil(
    Math.max(leastBytes, baseBytes + bytesPerCarriedByte * within + steeper * beyond),
  );
}

/**
 * What to set aside for turns of these models together, one model for each turn: with what is
 * predicted for each they stay within it 99 times in a hundred, and one may be the largest seen.
 */
export function poolBytes(models: readonly FootprintModel[]): number {
  let errorBytes = 0;
  let variance = 0;
  let excessBytes = 0;
  for (const model of models) {
    errorBytes += model.errorBytes;
    variance += model.deviationBytes ** 2;
    excessBytes = Math.max(excessBytes, model.excessBytes);
  }
  return Math.ceil(errorBytes + DEVIATIONS_FOR_99_PERCENT * Math.sqrt(variance) + excessBytes);
}

interface Point extends SlopePoint {
  readonly tellsSlope: boolean;
}

function pointOf(sample: FootprintSample, startPeakBytes: number): Point {
  const { carriedBytes, peakBytes, endedForMemory } = sample;
  const bytes = endedForMemory ? CUT_OFF_RATIO * peakBytes : peakBytes;
  // A turn that ended before its process was up says nothing of how little a turn holds.
  const heldBytes = Math.max(bytes, startPeakBytes);
  return { carriedBytes, heldBytes, tellsSlope: !endedForMemory };
}

/** A process that was only started stands for one turn, until enough were seen. */
function startPoints(startPeakBytes: number | null, seen: number): readonly Point[] {
  if (startPeakBytes === null || seen >= SETTLED_SAMPLES) return [];
  const heldBytes = START_TO_TURN_RATIO * startPeakBytes;
  return [{ carriedBytes: 0, heldBytes, tellsSlope: false }];
}

function larger(a: Point | undefined, b: Point): Point {
  return a === undefined || b.heldBytes > a.heldBytes ? b : a;
}

/** Nothing is known: the prior stands for any turn, but for one with a very long transcript. */
function presumedModel(priorBytes: number): FootprintModel {
  return {
    samples: 0,
    baseBytes: priorBytes,
    bytesPerCarriedByte: 0,
    carriedToBytes: priorBytes / PRIOR_BYTES_PER_CARRIED_BYTE,
    deviationBytes: 0,
    errorBytes: 0,
    excessBytes: 0,
    leastBytes: 0,
    largestBytes: 0,
  };
}
