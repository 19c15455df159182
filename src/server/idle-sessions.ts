/**
 * What is told of the sessions at rest: files, or names in a store, that take neither a process nor
 * memory until their next turn. Told from what is known: no status line looks at a disk or a store.
 *
 * Sweeps count them, as they look at all sessions anyway. Before the first of them the sessions of a
 * data directory are counted when somebody begins to watch; those of a store are not, as that may be
 * large, and is asked over a network.
 *
 * @module
 */

import { Pacer } from "../lib/pacer.ts";
import type { FeedSessions } from "../protocol/feed.ts";
import type { Sessions } from "../session/sessions.ts";
import type { Telemetry } from "../telemetry/start.ts";

/** Somebody waits for the number, though not urgently. */
const COUNT_LOAD_RATIO = 0.2;

export interface IdleSessionsOptions {
  readonly sessions: Pick<Sessions, "scan" | "tallied">;
  /** Whether other replicas begin and delete some, too. */
  readonly isShared: boolean;
  /** Sessions in use on this replica: in a turn, or with a process that stays. */
  readonly inUse: () => number;
  readonly log: Pick<Telemetry["log"], "warn">;
}

/** Disposing ends a count that is under way. */
export class IdleSessions implements Disposable {
  readonly #options: IdleSessionsOptions;
  readonly #stop = new AbortController();
  #isCounting = false;

  constructor(options: IdleSessionsOptions) {
    this.#options = options;
  }

  /** In constant time. */
  view(): FeedSessions {
    const { sessions, isShared, inUse } = this.#options;
    const { tallied } = sessions;
    if (tallied === null) {
      return { isShared, idle: null, transcriptBytes: null, countedAtMs: null };
    }
    const { transcriptBytes, countedAtMs } = tallied;
    // One that is locked may not have begun yet.
    const idle = Math.max(0, tallied.sessions - inUse());
    return { isShared, idle, transcriptBytes, countedAtMs };
  }

  /** Somebody begins to watch: has them counted if nobody has, at leisure. */
  watched(): void {
    const { sessions, isShared } = this.#options;
    if (isShared || sessions.tallied !== null || this.#isCounting) return;
    this.#isCounting = true;
    void this.#count().finally(() => (this.#isCounting = false));
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  /** Never rejects: whoever watches next has it tried again. */
  async #count(): Promise<void> {
    const { sessions, log } = this.#options;
    const { signal } = this.#stop;
    const pacer = new Pacer(COUNT_LOAD_RATIO);
    try {
      for await (const _some of sessions.scan({ withDiskUsage: false })) {
        if (signal.aborted) return;
        await pacer.pause(signal);
      }
    } catch (err) {
      if (!signal.aborted) log.warn({ err }, "Cannot count the sessions for the console");
    }
  }
}
