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

/** Student's t for 97.5 % and 29 degrees of freedom, so for 30 batches. */
const T_OF_30_BATCHES = 2.0452;
/** Of something that was not seen in n independent trials the chance is below 3 / n, 95 % certain. */
const RULE_OF_THREE = 3;

/**
 * Part of `wholes` that `parts` are, over batches of equal time (batch means): within a batch one
 * attempt depends on the others, batches hardly do. The interval is of the ratio of two sums, so that
 * batches with more attempts weigh more. For 30 batches.
 */
export function ratioOf(parts: Float64Array, wholes: Float64Array): Estimate {
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
  const half = T_OF_30_BATCHES * deviation;
  return { value, low: Math.max(0, value - half), high: Math.min(1, value + half) };
}
