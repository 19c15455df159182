/**
 * The sweeps of a replica that shares its sessions: of what the store has, of the copies on its own
 * disk, and of what is left of sessions that were deleted.
 *
 * @module
 */

import { type Pace, Pacer } from "../lib/pacer.ts";
import {
  NOTHING_SWEPT,
  type SessionSweeper,
  type Sweep,
  type SweepOptions,
} from "../session/session-sweeper.ts";
import type { Telemetry } from "../telemetry/start.ts";

export interface SharedSweeperOptions {
  /** The sweeper of the sessions in the store. */
  readonly stored: SessionSweeper;
  /** The sweeper of copies; the one that knows of the disk. */
  readonly copies: SessionSweeper;
  /** Takes away what is left here and in the store of sessions that were deleted, wherever. */
  readonly forgetGone: (nowMs: number, pace: Pace) => Promise<void>;
  readonly log: Pick<Telemetry["log"], "error">;
}

interface Forgetting {
  readonly pacer: Pacer;
  readonly done: Promise<void>;
}

/** Disposing ends what is under way, between two of its steps. */
export class SharedSweeper implements AsyncDisposable {
  readonly #options: SharedSweeperOptions;
  readonly #stop = new AbortController();
  /** One at a time: a second would only get in its way. It goes on at the faster pace of the two. */
  #forgetting: Forgetting | null = null;

  constructor(options: SharedSweeperOptions) {
    this.#options = options;
  }

  /**
   * What went of the store is told even where the rest fails: that is said in the log alone. The
   * copies are swept even where the store does not answer: the disk fills up all the same.
   *
   * @throws {AppError} `store_unavailable`
   */
  async sweep(nowMs: number, how: SweepOptions = {}): Promise<Sweep> {
    const { stored, log } = this.#options;
    let swept = NOTHING_SWEPT;
    let copies = NOTHING_SWEPT;
    try {
      swept = await stored.sweep(nowMs, how);
    } finally {
      copies = await this.#sweepCopies(nowMs, how);
    }
    if (how.isDryRun !== true) {
      this.#forgetting?.pacer.atLeast(how.loadRatio ?? 1);
      this.#forgetting ??= this.#startForgetting(nowMs, how);
      await this.#forgetting.done.catch((err: unknown) =>
        log.error({ err }, "Cannot forget sessions that were deleted"),
      );
    }
    // Of the copies that went nobody need be told: each can be made again.
    const { failed, missingBytes } = copies;
    return { ...swept, failed: swept.failed + failed, missingBytes };
  }

  /** Sweeps copies alone: what others have in the store takes nothing of this disk. */
  async makeRoom(nowMs: number, how: SweepOptions = {}): Promise<Sweep | null> {
    return this.#options.copies.makeRoom(nowMs, how);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { stored, copies } = this.#options;
    this.#stop.abort();
    await stored[Symbol.asyncDispose]();
    await copies[Symbol.asyncDispose]();
    await this.#forgetting?.done.catch(() => {});
  }

  async #sweepCopies(nowMs: number, how: SweepOptions): Promise<Sweep> {
    const { copies, log } = this.#options;
    try {
      return await copies.sweep(nowMs, how);
    } catch (err) {
      log.error({ err }, "Cannot look for copies of sessions that have to go");
      return NOTHING_SWEPT;
    }
  }

  #startForgetting(nowMs: number, { loadRatio = 1, signal: asked }: SweepOptions): Forgetting {
    const { signal: stop } = this.#stop;
    const signal = asked === undefined ? stop : AbortSignal.any([asked, stop]);
    const pacer = new Pacer(loadRatio);
    const work = this.#options.forgetGone(nowMs, { pacer, signal });
    return { pacer, done: work.finally(() => (this.#forgetting = null)) };
  }
}
