/**
 * How sure a ratio is that was counted in a simulation. Pure.
 *
 * @module
 */

export interface Estimate {
  readonly value: number;
  /** Bounds of the 95 % confidence interval. */
  readonly low: number;
  readonly high: number;
}

/** So many deviations that 97.5 % of a normal distribution are below. */
const NORMAL_97_5 = 1.959964;
/** What was not seen in n independent trials has a chance below 3 / n, 95 % certain. */
const RULE_OF_THREE = 3;

/**
 * Part of `wholes` that `parts` are, over batches of equal time (batch means): within a batch one
 * attempt depends on the others, batches hardly do. The interval is of the ratio of two sums, so that
 * batches with more attempts weigh more.
 */
export function estimateRatio(parts: Float64Array, wholes: Float64Array): Estimate {
  const count = wholes.length;
  const whole = wholes.reduce((sum, each) => sum + each, 0);
  if (whole === 0) return { value: 0, low: 0, high: 1 };
  const part = parts.reduce((sum, each) => sum + each, 0);
  const value = part / whole;
  if (part === 0) return { value, low: 0, high: Math.min(1, RULE_OF_THREE / whole) };
  const squares = wholes.reduce(
    (sum, each, index) => sum + ((parts[index] ?? 0) - value * each) ** 2,
    0,
  );
  const deviation = Math.sqrt((squares * count) / (count - 1)) / whole;
  const half = studentT(count - 1) * deviation;
  return { value, low: Math.max(0, value - half), high: Math.min(1, value + half) };
}

/** The mean of values that do not depend on one another, such as those of several seeds; 5 or more. */
export function estimateMean(values: readonly number[]): Estimate {
  const count = values.length;
  const value = values.reduce((sum, each) => sum + each, 0) / count;
  const squares = values.reduce((sum, each) => sum + (each - value) ** 2, 0);
  const half = studentT(count - 1) * Math.sqrt(squares / (count - 1) / count);
  return { value, low: value - half, high: value + half };
}

/**
 * Student's t for 97.5 %, from the normal distribution (Cornish and Fisher): within a hundredth from
 * 4 degrees of freedom on.
 */
export function studentT(degrees: number): number {
  const z = NORMAL_97_5;
  const [z3, z5, z7] = [z ** 3, z ** 5, z ** 7];
  return (
    z +
    (z3 + z) / (4 * degrees) +
    (5 * z5 + 16 * z3 + 3 * z) / (96 * degrees ** 2) +
    (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * degrees ** 3)
  );
}
