/**
 * Distributions of times and of bytes, by what is known of them: mean and 95th percentile, or mean
 * and deviation. Pure.
 *
 * @module
 */

import type { Random } from "./random.ts";

/** One value by chance. */
export type Law = (random: Random) => number;

export const LAW_NAMES = ["lognormal", "exponential", "constant", "hyperexponential"] as const;
export type LawName = (typeof LAW_NAMES)[number];

export interface LawTerms {
  readonly law: LawName;
  readonly mean: number;
  /** For `lognormal` only. */
  readonly p95: number;
  /** Standard deviation as part of the mean; of `hyperexponential` only, more than 1. */
  readonly variationRatio: number;
}

/** Standard deviations above the mean that a normal value stays below 95 times in a hundred. */
const DEVIATIONS_FOR_95_PERCENT = 1.644854;

export function lawOf({ law, mean, p95, variationRatio }: LawTerms): Law {
  switch (law) {
    case "constant":
      return () => mean;
    case "exponential":
      return (random) => random.exponential(mean);
    case "lognormal":
      return lognormal(mean, logDeviationOf(mean, p95));
    case "hyperexponential":
      return hyperexponential(mean, variationRatio ** 2);
  }
}

/** A lognormal value with that mean and standard deviation. */
export function lognormalWith(mean: number, deviation: number): Law {
  if (deviation === 0 || mean === 0) return () => mean;
  return lognormal(mean, Math.sqrt(Math.log1p((deviation / mean) ** 2)));
}

/**
 * Standard deviation of the logarithm, from mean and 95th percentile. Where the percentile is
 * further above the mean than in any lognormal distribution (3.87 times), the nearest one; where it
 * is not above it, none: all values alike.
 */
function logDeviationOf(mean: number, p95: number): number {
  const logRatio = Math.log(p95 / mean);
  if (!(logRatio > 0)) return 0;
  const rest = DEVIATIONS_FOR_95_PERCENT ** 2 - 2 * logRatio;
  return DEVIATIONS_FOR_95_PERCENT - Math.sqrt(Math.max(0, rest));
}

function lognormal(mean: number, logDeviation: number): Law {
  if (logDeviation === 0 || mean === 0) return () => mean;
  const logMean = Math.log(mean) - logDeviation ** 2 / 2;
  return (random) => Math.exp(logMean + logDeviation * random.normal());
}

/** Mostly short and sometimes long: two exponential laws, each with half of the whole. */
function hyperexponential(mean: number, squaredVariation: number): Law {
  const spread = Math.sqrt(Math.max(0, (squaredVariation - 1) / (squaredVariation + 1)));
  const shortRatio = (1 + spread) / 2;
  const [shortMean, longMean] = [mean / (2 * shortRatio), mean / (2 * (1 - shortRatio))];
  return (random) => random.exponential(random.next() < shortRatio ? shortMean : longMean);
}
