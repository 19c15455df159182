/**
 * One turn at a time for a session: two at once would both succeed, and one would be lost.
 * Holds for this replica only.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import type { SessionRef } from "./session-id.ts";

export class SessionLocks {
  readonly #held = new Set<string>();

  /** Sessions locked now. */
  get size(): number {
    return this.#held.size;
  }

  isLocked(ref: SessionRef): boolean {
    return this.#held.has(keyOf(ref));
  }

  /**
   * Takes the session until the lock is disposed; disposing twice is harmless.
   *
   * @throws {AppError} `session_busy`
   */
  lock(ref: SessionRef): Disposable {
    const key = keyOf(ref);
    if (this.#held.has(key)) {
      throw new AppError("session_busy", BUSY);
    }
    this.#held.add(key);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        // A second dispose must not open a lock that somebody else has taken since.
        if (isHeld) this.#held.delete(key);
        isHeld = false;
      },
    };
  }
}

const BUSY = "Cannot use the session: another turn of it is running, or not yet gone";

/** With the tenant, so that nobody can hold, or learn of, a lock on another tenant's session. */
function keyOf({ tenant, sessionId }: SessionRef): string {
  return JSON.stringify([tenant, sessionId]);
}
