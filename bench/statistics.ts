/**
 * What is said about a list of measurements: medians, spread, and how sure a ratio is. Pure.
 *
 * @module
 */

import { median, quantile } from "../src/sizing/statistics.ts";

export { median, quantile };

export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly p25: number;
  readonly median: number;
  readonly p75: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

export function summaryOf(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    count: sorted.length,
    min: quantile(sorted, 0),
    p25: quantile(sorted, 0.25),
    median: quantile(sorted, 0.5),
    p75: quantile(sorted, 0.75),
    p95: quantile(sorted, 0.95),
    p99: quantile(sorted, 0.99),
    max: quantile(sorted, 1),
  };
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 4_000;

/**
 * 95 % interval of `median(of) / median(against)`: the rounds, in which both were measured side by
 * side, are drawn anew with replacement and the ratio taken each time.
 *
 * @param of One list for each round.
 */
export function ratioInterval(
  of: readonly (readonly number[])[],
  against: readonly (readonly number[])[],
): Interval {
  const random = randomFrom(20_250_101);
  const ratios = Array.from({ length: RESAMPLES }, () => {
    const drawn = of.map(() => Math.floor(random() * of.length));
    const medianOf = (lists: readonly (readonly number[])[]) =>
      median(drawn.flatMap((at) => lists[at] ?? []));
    return medianOf(of) / medianOf(against);
  }).sort((a, b) => a - b);
  return { low: quantile(ratios, 0.025), high: quantile(ratios, 0.975) };
}

/** The same numbers in every run (mulberry32), so that a result can be computed again. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
