/**
 * When those who are shed should come back: remembers how long turns took and what was promised,
 * and asks `retry-after.ts`.
 *
 * @module
 */

import { DurationWindow, PromiseBook, retryAfterSeconds } from "./retry-after.ts";

export class ReturnTimes {
  readonly #durations = new DurationWindow();
  readonly #promises = new PromiseBook();
  readonly #random: () => number;

  /** @param random In [0, 1), for the jitter. */
  constructor(random: () => number) {
    this.#random = random;
  }

  turnEnded(durationMs: number): void {
    this.#durations.add(durationMs);
  }

  /** Somebody was told to come back then, who will take the room of so many turns as they are. */
  promised(nowMs: number, seconds: number, turns: number): void {
    this.#promises.add(nowMs, seconds, turns);
  }

  /** Whole seconds, 1 to 120. */
  seconds(input: {
    /** Of each turn in flight. */
    readonly elapsedMs: readonly number[];
    /** Turns that must end for one more to fit. */
    readonly turnsToEnd: number;
    readonly nowMs: number;
  }): number {
    const { elapsedMs, turnsToEnd, nowMs } = input;
    return retryAfterSeconds({
      // With sessions alone that rest, nothing tells when one gives its memory back: as good a guess
      // as any is the time that a turn takes.
      elapsedMs: elapsedMs.length === 0 ? [0] : elapsedMs,
      turnsToEnd: Math.max(1, turnsToEnd),
      durations: this.#durations,
      promises: this.#promises.outstanding(nowMs),
      jitter: this.#random(),
    });
  }
}
