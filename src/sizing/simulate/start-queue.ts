/**
 * The lane of starts as the server has it (`capacity/start-lane.ts`), in simulated time and without
 * promises. A test holds the two together.
 *
 * @module
 */

import type { Client } from "./client.ts";

/** As in the server: taken for a start until one was seen. */
const PRESUMED_START_MS = 500;
/** As in the server: how much one more start changes what is expected of the next. */
const SMOOTHING_RATIO = 0.2;
/** Places that were served are dropped when there are so many of them. */
const SERVED_KEPT = 64;

/** Holds: no more than `slots` start at once; whoever waits is served in order. */
export class StartQueue {
  readonly slots: number;
  readonly maxWaitMs: number;
  readonly #waiting: Client[] = [];
  #served = 0;
  #starting = 0;
  #meanStartMs = PRESUMED_START_MS;

  constructor(cpus: number, maxWaitMs: number) {
    this.slots = Math.max(1, Math.round(cpus));
    this.maxWaitMs = maxWaitMs;
  }

  get starting(): number {
    return this.#starting;
  }

  get waiting(): number {
    return this.#waiting.length - this.#served;
  }

  /** How long one would wait who comes now, after so many others. */
  expectedWaitMs(others = 0): number {
    const before = this.#starting + this.waiting + others - this.slots;
    return before < 0 ? 0 : (Math.floor(before / this.slots) + 1) * this.#meanStartMs;
  }

  /** Whether it may start at once; if not, it waits. */
  enter(client: Client): boolean {
    if (this.#starting < this.slots) {
      this.#starting += 1;
      return true;
    }
    this.#waiting.push(client);
    return false;
  }

  /** A start is over. @returns Who starts in its place; null if nobody waits. */
  leave(startMs: number): Client | null {
    this.#meanStartMs += SMOOTHING_RATIO * (startMs - this.#meanStartMs);
    const next = this.#waiting[this.#served];
    if (next === undefined) {
      this.#starting -= 1;
      return null;
    }
    this.#served += 1;
    if (this.#served === this.#waiting.length || this.#served > SERVED_KEPT) {
      this.#waiting.splice(0, this.#served);
      this.#served = 0;
    }
    return next;
  }

  /** The replica is gone, and all who waited with it. */
  clear(): void {
    this.#waiting.length = 0;
    this.#served = 0;
    this.#starting = 0;
    this.#meanStartMs = PRESUMED_START_MS;
  }
}
