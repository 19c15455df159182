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
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 60_000;
/** A shortage within this time after a pause makes the next one twice as long. */
const MEMORY_MS = 60_000;
/** After a shortage, turns that end prove nothing for this long. */
const QUIET_MS = 10_000;

export class AdmissionBackoff {
  #pausedUntilMs = -Infinity;
  #ranShortAtMs = -Infinity;
  #pauseMs = 0;
  /** Turns at once; null for no ceiling. */
  #ceiling: number | null = null;
  #ceilingBefore = 0;

  /**
   * Memory ran short with so many turns in flight. While nothing is admitted it is the same shortage
   * still: one may take the end of several turns, and those are no proof that the pause was too short.
   */
  ranShort(inflight: number, nowMs: number): void {
    if (this.pauseLeftMs(nowMs) === 0) {
      const isRepeated = nowMs - this.#pausedUntilMs < MEMORY_MS;
      this.#pauseMs = isRepeated ? Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS;
    }
    this.#ranShortAtMs = nowMs;
    this.#pausedUntilMs = nowMs + this.#pauseMs;
    this.#ceilingBefore = Math.max(inflight, this.#ceilingBefore);
    this.#ceiling = Math.max(1, Math.floor(BACK_OFF_RATIO * inflight));
  }

  /** A turn has ended; so many were in flight with it. */
  completed(inflight: number, nowMs: number): void {
    if (this.#ceiling === null || nowMs - this.#ranShortAtMs < QUIET_MS) return;
    // Below the ceiling nothing was tried, so nothing is proved.
    if (inflight < this.#ceiling) return;
    this.#ceiling += 1;
    if (this.#ceiling <= this.#ceilingBefore) return;
    this.#ceiling = null;
    this.#ceilingBefore = 0;
  }

  /** For how long no turn is admitted any more; 0 if turns are. */
  pauseLeftMs(nowMs: number): number {
    const left = this.#pausedUntilMs - nowMs;
    // A clock that was set back must not pause for longer than was meant.
    return left <= 0 || left > LONGEST_PAUSE_MS ? 0 : left;
  }

  /** Turns at once; null for no ceiling. */
  get ceiling(): number | null {
    return this.#ceiling;
  }
}
