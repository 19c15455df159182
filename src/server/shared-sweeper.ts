/**
 * The sweeps of a replica that shares its sessions: of what the store has, of the copies on its own
 * disk, and of what is left of sessions that were deleted.
 *
 * @module
 */

import { Pacer } from "../lib/pacer.ts";
import type { Pace } from "../session/gone-sessions.ts";
import {
  NOTHING_SWEPT,
  type SessionSweeper,
  type Sweep,
  type SweepOptions,
} from "../session/session-sweeper.ts";
import type { Telemetry } from "../telemetry/start.ts";

export interface SharedSweeperOptions {
  /** Of the sessions in the store. */
  readonly stored: SessionSweeper;
  /** Of copies; the one that knows of the disk. */
  readonly copies: SessionSweeper;
  /** Takes away what is left here and in the store of sessions that were deleted, wherever. */
  readonly forgetGone: (nowMs: number, pace: Pace) => Promise<void>;
  readonly log: Pick<Telemetry["log"], "error">;
}

/** Disposing ends what is under way, between two of its steps. */
export class SharedSweeper implements AsyncDisposable {
  readonly #options: SharedSweeperOptions;
  readonly #stop = new AbortController();
  /** One at a time: a second would only get in its way. */
  #forgetting: Promise<void> | null = null;

  constructor(options: SharedSweeperOptions) {
    this.#options = options;
  }

  /** What went of the store is told even where the rest fails: that is said in the log alone. */
  async sweep(nowMs: number, how: SweepOptions = {}): Promise<Sweep> {
    const { stored, log } = this.#options;
    const swept = await stored.sweep(nowMs, how);
    const copies = await this.#sweepCopies(nowMs, how);
    if (how.isDryRun !== true) {
      this.#forgetting ??= this.#forget(nowMs, how).finally(() => (this.#forgetting = null));
      await this.#forgetting.catch((err: unknown) =>
        log.error({ err }, "Cannot forget sessions that were deleted"),
      );
    }
    // Of the copies that went nobody need be told: each can be made again.
    const { failed, missingBytes } = copies;
    return { ...swept, failed: swept.failed + failed, missingBytes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { stored, copies } = this.#options;
    this.#stop.abort();
    await stored[Symbol.asyncDispose]();
    await copies[Symbol.asyncDispose]();
    await this.#forgetting?.catch(() => {});
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

  async #forget(nowMs: number, { loadRatio = 1, signal }: SweepOptions): Promise<void> {
    const { signal: stop } = this.#stop;
    await this.#options.forgetGone(nowMs, {
      pacer: new Pacer(loadRatio),
      signal: signal === undefined ? stop : AbortSignal.any([signal, stop]),
    });
  }
}
