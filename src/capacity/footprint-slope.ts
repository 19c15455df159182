/**
 * How much more a turn holds for each byte it carries: the middle of the slopes between all pairs of
 * turns (Theil and Sen), so that a few odd ones do not turn it. Pure.
 *
 * Turns that carry about the same say nothing about it, only noise divided by little. Therefore
 * pairs weigh as the square of their distance, as in a least-squares fit, and the slope that is
 * presumed is one more vote, of such weight that it decides until the turns have told more than
 * their own scatter.
 *
 * @module
 */

/** A turn as a point: what it carried, what it held. */
export interface SlopePoint {
  readonly carriedBytes: number;
  readonly heldBytes: number;
}

/** Measured on Claude Code 2.1: 8 (long transcripts) to 14 (short ones). Without unit. */
export const PRESUMED_SLOPE = 12;
/** Beyond it is no transcript but a leak. */
const STEEPEST_SLOPE = 20;
/** How far, as a standard deviation, agents may differ from the presumed slope. */
const SLOPE_DEVIATION = 4;

interface Vote {
  readonly slope: number;
  readonly weight: number;
}

/**
 * In [0, 20]. Does not depend on the order of the points. Takes time with the square of their
 * number: about 0.5 ms for 64.
 */
export function robustSlope(points: readonly SlopePoint[]): number {
  const votes = votesOf(points);
  const weight = weightOfPresumption(points, weightedMedian(votes));
  const slope = weightedMedian([...votes, { slope: PRESUMED_SLOPE, weight }]);
  return Math.min(STEEPEST_SLOPE, Math.max(0, slope));
}

function votesOf(points: readonly SlopePoint[]): Vote[] {
  const votes: Vote[] = [];
  for (const [index, a] of points.entries()) {
    for (const b of points.slice(0, index)) {
      const distance = a.carriedBytes - b.carriedBytes;
      if (distance === 0) continue;
      votes.push({ slope: (a.heldBytes - b.heldBytes) / distance, weight: distance ** 2 });
    }
  }
  return votes;
}

/**
 * Pairs weigh n times the spread of what was carried, in sum; the slope of a fit is known to
 * scatter / √spread. That is as much as is presumed when the spread is (scatter / deviation)².
 */
function weightOfPresumption(points: readonly SlopePoint[], slope: number): number {
  // Counted from the middle: two turns that carry almost the same have so steep a slope that, from
  // zero on, the rests are larger than a double can tell apart, and their scatter is mere rounding.
  const middleBytes = meanOf(points.map(({ carriedBytes }) => carriedBytes));
  const rests = points.map(
    ({ carriedBytes, heldBytes }) => heldBytes - slope * (carriedBytes - middleBytes),
  );
  return points.length * (deviationOf(rests) / SLOPE_DEVIATION) ** 2;
}

/** Where half of the weight is on either side; {@link PRESUMED_SLOPE} if nothing weighs anything. */
function weightedMedian(votes: readonly Vote[]): number {
  const sorted = votes.toSorted((a, b) => a.slope - b.slope);
  const half = sorted.reduce((sum, { weight }) => sum + weight, 0) / 2;
  let passed = 0;
  for (const { slope, weight } of sorted) {
    passed += weight;
    if (weight > 0 && passed >= half) return slope;
  }
  return PRESUMED_SLOPE;
}

/** 0 for an empty list. */
export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** Standard deviation of a population from which these are drawn; 0 for fewer than two. */
export function deviationOf(values: readonly number[]): number {
  const mean = meanOf(values);
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / Math.max(1, values.length - 1));
}
