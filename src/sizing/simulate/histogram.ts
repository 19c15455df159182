/**
 * Values in buckets that grow by a hundredth each: quantiles of millions within half a percent, in
 * constant memory.
 *
 * @module
 */

const GROWTH = 1.01;
const LOG_GROWTH = Math.log(GROWTH);
/** From the least up over more than ten powers of ten. */
const BUCKETS = 2_400;

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  readonly #least: number;
  #count = 0;
  #sum = 0;
  #most = 0;

  /** @param least Values up to this are all the same. */
  constructor(least = 0.1) {
    this.#least = least;
  }

  get count(): number {
    return this.#count;
  }

  get mean(): number {
    return this.#count === 0 ? Number.NaN : this.#sum / this.#count;
  }

  get most(): number {
    return this.#count === 0 ? Number.NaN : this.#most;
  }

  add(value: number): void {
    this.#counts[this.#bucketOf(value)]! += 1;
    this.#count += 1;
    this.#sum += value;
    if (value > this.#most) this.#most = value;
  }

  /** NaN if there is no value. @param at In [0, 1]. */
  quantile(at: number): number {
    if (this.#count === 0) return Number.NaN;
    const wanted = Math.max(1, Math.ceil(at * this.#count));
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      seen += this.#counts[bucket]!;
      if (seen >= wanted) return this.#valueOf(bucket);
    }
    return this.#most;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#sum = 0;
    this.#most = 0;
  }

  #bucketOf(value: number): number {
    if (value <= this.#least) return 0;
    return Math.min(BUCKETS - 1, 1 + Math.floor(Math.log(value / this.#least) / LOG_GROWTH));
  }

  #valueOf(bucket: number): number {
    if (bucket === 0) return Math.min(this.#most, 0);
    return Math.min(this.#most, this.#least * GROWTH ** (bucket - 0.5));
  }
}
