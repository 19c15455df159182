/**
 * Copies that are made what the store has ahead of a turn, for whoever announces one; of a session one
 * at a time, for which its turn waits.
 *
 * @module
 */

import type { LeaseClock } from "./lease-clock.ts";
import { type SessionRef, textOf } from "./session-id.ts";
import { logKeyOf } from "./stored-record.ts";
import { isLeasedElsewhere, hasSession, type SessionHead } from "./stores/session-head.ts";
import type { SessionLog } from "./stores/session-log.ts";

export interface RefreshingCopiesOptions {
  readonly log: SessionLog;
  readonly clock: LeaseClock;
  readonly download: (ref: SessionRef, head: SessionHead) => Promise<void>;
}

/**
 * Made at a time: each may be as large as a transcript, for a turn that perhaps never comes. Those of
 * turns do not count.
 */
const MOST_AT_ONCE = 4;

export class RefreshingCopies {
  readonly #options: RefreshingCopiesOptions;
  readonly #underWay = new Map<string, Promise<boolean>>();
  #made = 0;

  constructor(options: RefreshingCopiesOptions) {
    this.#options = options;
  }

  /** @throws {AppError} As `Sessions.refresh`. */
  async refresh(ref: SessionRef): Promise<boolean> {
    const name = textOf(ref);
    const refresh = this.#underWay.get(name) ?? this.#refresh(ref);
    this.#underWay.set(name, refresh);
    return refresh.finally(() => this.#underWay.delete(name));
  }

  /** Resolves when none of the session is under way; what became of it is told to who began it. */
  async settle(ref: SessionRef): Promise<void> {
    await this.#underWay.get(textOf(ref))?.catch(() => {});
  }

  async #refresh(ref: SessionRef): Promise<boolean> {
    const { log, clock, download } = this.#options;
    const head = await clock.asked(() => log.read(logKeyOf(ref)));
    if (head === null || !hasSession(head)) return true;
    // One that nobody renews is of a replica that is gone: whoever comes next takes the session, too.
    if (isLeasedElsewhere(head, clock.terms(Date.now()))) return true;
    if (this.#made >= MOST_AT_ONCE) return false;
    this.#made += 1;
    await download(ref, head).finally(() => (this.#made -= 1));
    return true;
  }
}
