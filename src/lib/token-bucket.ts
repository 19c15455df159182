/**
 * So many of something at once, and so many a second.
 *
 * @module
 */

export interface BucketSize {
  readonly atOnce: number;
  readonly perSecond: number;
}

export class TokenBucket {
  readonly #size: BucketSize;
  #tokens: number;
  #atMs = Number.NEGATIVE_INFINITY;

  /** Full. */
  constructor(size: BucketSize) {
    this.#size = size;
    this.#tokens = size.atOnce;
  }

  /** Whether there is one more. */
  has(nowMs: number): boolean {
    const { atOnce, perSecond } = this.#size;
    this.#tokens = Math.min(atOnce, this.#tokens + ((nowMs - this.#atMs) * perSecond) / 1_000);
    this.#atMs = nowMs;
    return this.#tokens >= 1;
  }

  /** Takes one, and says whether there was one. */
  take(nowMs: number): boolean {
    const isThere = this.has(nowMs);
    if (isThere) this.#tokens -= 1;
    return isThere;
  }
}
