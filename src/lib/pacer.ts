/**
 * Keeps a long job to a share of the time, so that others hardly feel it.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";

/** Worked at a stretch before a pause: many timers would cost more than they spare. */
const STRETCH_MS = 5;
/** After a step that took long by itself: a job that rests for minutes never ends. */
const LONGEST_REST_MS = 2_000;

/** How a long job goes on, and until when. */
export interface Pace {
  readonly pacer: Pacer;
  /** Ends it between two of its steps. */
  readonly signal: AbortSignal;
}

export class Pacer {
  #loadRatio: number;
  #beganAtMs = performance.now();

  /** @param loadRatio The most of the time that is worked, above 0; 1 for no pauses. */
  constructor(loadRatio: number) {
    this.#loadRatio = loadRatio;
  }

  /** Works no less of the time from now on. */
  atLeast(loadRatio: number): void {
    this.#loadRatio = Math.max(this.#loadRatio, loadRatio);
  }

  /**
   * To be awaited between two steps of the job: rests as long as the work since the last rest asks
   * for. Work that took long because others had the cores rests the longer. Returns at once when the
   * signal aborts; never rejects.
   */
  async pause(signal?: AbortSignal): Promise<void> {
    const workedMs = performance.now() - this.#beganAtMs;
    if (workedMs < STRETCH_MS) return;
    const restMs = Math.min(workedMs * (1 / this.#loadRatio - 1), LONGEST_REST_MS);
    if (restMs > 0) await delay(restMs, undefined, { ...(signal && { signal }) }).catch(() => {});
    this.#beganAtMs = performance.now();
  }
}
