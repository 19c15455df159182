/**
 * After memory ran short although every admission was within the line: a while without admissions,
 * and then fewer turns at once than there were, one more with each that ends well. What is
 * predicted is corrected elsewhere; this is for the time until that has worked.
 *
 *     memory ran short at n turns ─▶ nothing for 5, 10, 20 … 60 s ─▶ 0.7 n turns, then one more
 *                                                                    for each that ends
 *
 * @module
 */

/** Share of the turns in flight that is let in after memory ran short. */
const BACK_OFF_RATIO = 0.7;
const FIRST_HOLD_MS = 5_000;
const LONGEST_HOLD_MS = 60_000;
/** A shortage within this time after a hold makes the next one twice as long. */
const MEMORY_MS = 60_000;
/** After a shortage, turns that end prove nothing for this long. */
const QUIET_MS = 10_000;

export class Brake {
  #holdUntilMs = -Infinity;
  #lastMs = -Infinity;
  #holdMs = 0;
  /** Turns at once; null for no ceiling. */
  #ceiling: number | null = null;
  #ceilingBefore = 0;

  /**
   * Memory ran short with so many turns in flight. While nothing is admitted it is the same shortage
   * still: one may take the end of several turns, and those are no proof that the hold was too short.
   */
  pull(inflight: number, nowMs: number): void {
    if (this.holdMs(nowMs) === 0) {
      const isRepeated = nowMs - this.#holdUntilMs < MEMORY_MS;
      this.#holdMs = isRepeated ? Math.min(2 * this.#holdMs, LONGEST_HOLD_MS) : FIRST_HOLD_MS;
    }
    this.#lastMs = nowMs;
    this.#holdUntilMs = nowMs + this.#holdMs;
    this.#ceilingBefore = Math.max(inflight, this.#ceilingBefore);
    this.#ceiling = Math.max(1, Math.floor(BACK_OFF_RATIO * inflight));
  }

  /** A turn has ended; so many were in flight with it. */
  completed(inflight: number, nowMs: number): void {
    if (this.#ceiling === null || nowMs - this.#lastMs < QUIET_MS) return;
    // Below the ceiling nothing was tried, so nothing is proved.
    if (inflight < this.#ceiling) return;
    this.#ceiling += 1;
    if (this.#ceiling <= this.#ceilingBefore) return;
    this.#ceiling = null;
    this.#ceilingBefore = 0;
  }

  /** How long no turn is admitted; 0 if turns are. */
  holdMs(nowMs: number): number {
    const left = this.#holdUntilMs - nowMs;
    // A clock that was set back must not hold for longer than was meant.
    return left <= 0 || left > LONGEST_HOLD_MS ? 0 : left;
  }

  /** Turns at once; null for no ceiling. */
  get ceiling(): number | null {
    return this.#ceiling;
  }
}
