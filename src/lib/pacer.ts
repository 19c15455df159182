/**
 * Keeps a long job to a share of the time, so that others hardly feel it.
 *
 * What others feel is the CPU that it takes from them: the time it *works* is that, and not the time
 * that passes while it waits for a core that others have. A job that was charged for its waiting would
 * be the slower the busier the machine is, without anybody being the better for it. Whoever waits for
 * a disk or a database holds them up, too, so a job that mostly waits rests for some of the time.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "./monotonic-clock.ts";

/** At a stretch before a pause: many timers would cost more than they spare. */
const STRETCH_MS = 5;
/** After a step that took long by itself: a job that rests for minutes never ends. */
const LONGEST_REST_MS = 2_000;
/** The most of the time that a job goes on which takes next to no CPU. */
const WAITING_RATIO = 0.5;

/** How a long job goes on, and until when. */
export interface Pace {
  readonly pacer: Pacer;
  /** Ends it between two of its steps. */
  readonly signal: AbortSignal;
}

/** The time since the last rest. */
interface Stretch {
  readonly elapsedMs: number;
  /**
   * CPU time of all threads of this process: what it does for others meanwhile has the job rest the
   * longer.
   */
  readonly cpuMs: number;
}

export class Pacer {
  #loadRatio: number;
  #hurriedRatio = 0;
  #beganAtMs = monotonicMs();
  #cpuBefore = process.cpuUsage();

  /**
   * @param loadRatio The most of one core that the job takes, above 0; from 1 on there are no pauses.
   */
  constructor(loadRatio: number) {
    this.#loadRatio = loadRatio;
  }

  /** Works no less of the time from now on. */
  atLeast(loadRatio: number): void {
    this.#loadRatio = Math.max(this.#loadRatio, loadRatio);
  }

  /** Works no less of the time until this is said anew: 0 for no more than it would. */
  hurry(loadRatio: number): void {
    this.#hurriedRatio = loadRatio;
  }

  /**
   * To be awaited between two steps of the job: rests as long as the work since the last rest asks
   * for. Returns at once when the signal aborts; never rejects.
   */
  async pause(signal?: AbortSignal): Promise<void> {
    const elapsedMs = monotonicMs() - this.#beganAtMs;
    if (elapsedMs < STRETCH_MS) return;
    const { user, system } = process.cpuUsage(this.#cpuBefore);
    const stretch = { elapsedMs, cpuMs: (user + system) / 1_000 };
    const restMs = restAfter(stretch, Math.max(this.#loadRatio, this.#hurriedRatio));
    if (restMs > 0) await delay(restMs, undefined, { ...(signal && { signal }) }).catch(() => {});
    this.#beganAtMs = monotonicMs();
    this.#cpuBefore = process.cpuUsage();
  }
}

/** For the CPU to be no more than its share of both together, in milliseconds. */
export function restAfter({ elapsedMs, cpuMs }: Stretch, loadRatio: number): number {
  if (loadRatio >= 1) return 0;
  const forCpuMs = cpuMs / loadRatio - elapsedMs;
  const forWaitingMs = elapsedMs * (1 / Math.max(loadRatio, WAITING_RATIO) - 1);
  return Math.min(Math.max(0, forCpuMs, forWaitingMs), LONGEST_REST_MS);
}
