/**
 * One turn at a time for a session: two at once would both succeed, and one would be lost.
 * Holds for this replica only.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import { type SessionRef, textOf } from "./session-id.ts";
import type { SingleSession } from "./single-session.ts";

export class SessionLocks {
  readonly #held = new Set<string>();
  readonly #single: SingleSession | null;

  /** @param single The one session that may be locked, where it is only one. */
  constructor(single: SingleSession | null = null) {
    this.#single = single;
  }

  /** Sessions locked now. */
  get size(): number {
    return this.#held.size;
  }

  isLocked(ref: SessionRef): boolean {
    return this.#held.has(textOf(ref));
  }

  /**
   * Whether it could be locked now.
   *
   * @throws {AppError} `session_busy`, `other_session`
   */
  check(ref: SessionRef): void {
    this.#single?.check(ref);
    if (this.isLocked(ref)) throw new AppError("session_busy", BUSY);
  }

  /**
   * Takes the session until the lock is disposed; disposing twice is harmless.
   *
   * @throws {AppError} `session_busy`, `other_session`
   */
  lock(ref: SessionRef): Disposable {
    this.check(ref);
    const key = textOf(ref);
    this.#held.add(key);
    this.#single?.take(ref);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        // A second dispose must not open a lock that somebody else has taken since.
        if (!isHeld) return;
        isHeld = false;
        this.#held.delete(key);
        this.#single?.release();
      },
    };
  }
}

const BUSY = "Cannot use the session: another turn of it is running, or not yet gone";
