/**
 * The memory limit as it is now: a replica may be resized while it runs (vertical scaling), with
 * turns in flight and nobody asking for another.
 *
 * @module
 */

import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { MemoryLimit } from "./memory-limit.ts";

/** What a reading of the limit is good for. */
export const LIMIT_MAX_AGE_MS = 10_000;

export interface LimitWatchOptions {
  readonly read: () => MemoryLimit;
  /** Told of each reading but the first, changed or not. */
  readonly onRead: (limit: MemoryLimit, before: MemoryLimit) => void;
}

/** Reads the limit every ten seconds. Disposing stops the clock; who asks is still answered. */
export class LimitWatch implements Disposable {
  readonly #options: LimitWatchOptions;
  readonly #timer: NodeJS.Timeout;
  #limit: MemoryLimit;
  #readAtMs = monotonicMs();

  constructor(options: LimitWatchOptions) {
    this.#options = options;
    this.#limit = options.read();
    this.#timer = setInterval(() => this.#readAnew(), LIMIT_MAX_AGE_MS).unref();
  }

  /** No older than ten seconds, also where the main loop was blocked for longer. */
  get current(): MemoryLimit {
    if (monotonicMs() - this.#readAtMs >= LIMIT_MAX_AGE_MS) this.#readAnew();
    return this.#limit;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #readAnew(): void {
    const before = this.#limit;
    this.#readAtMs = monotonicMs();
    this.#limit = this.#options.read();
    this.#options.onRead(this.#limit, before);
  }
}
