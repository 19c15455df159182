/**
 * The one session of a replica that has no other: the first turn binds the replica to it, every
 * other session is refused, and when the session is over so is the replica. The binding outlives
 * the process, because it is the session itself: a start on its data directory finds it there.
 *
 *     free ─▶ taken ─▶ begun ─▶ over: deleted          taken ─▶ free: the session was not begun
 *       └───────────────┴─────▶ over: no turn for `idleMs`
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import type { SessionRef } from "./session-id.ts";

export interface SingleSessionOptions {
  /** What a start on this data directory has found there. */
  readonly begun: SessionRef | null;
  /** How long the replica waits for a turn, the first one too. */
  readonly idleMs: number;
}

export class SingleSession implements Disposable {
  readonly #idleMs: number;
  readonly #over = new AbortController();
  #ref: SessionRef | null;
  #isBegun: boolean;
  #isLocked = false;
  #timer: NodeJS.Timeout | undefined;

  constructor({ begun, idleMs }: SingleSessionOptions) {
    this.#idleMs = idleMs;
    this.#ref = begun;
    this.#isBegun = begun !== null;
  }

  /** Whether a session has the replica, be it that its first turn has just come. */
  get isTaken(): boolean {
    return this.#ref !== null;
  }

  /** Aborts when the session is over; its reason says why, in words. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** From now on turns can come: one must, within the idle time. */
  awaitTurn(): void {
    if (this.#isLocked) return;
    const end = () => this.#end("no turn came within `hosting.idleTime`");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(end, this.#idleMs).unref();
  }

  /** @throws {AppError} `other_session` */
  check(ref: SessionRef): void {
    if (isServed(this.#ref, ref)) return;
    throw new AppError("other_session", "Cannot use the session: this replica serves another one");
  }

  /** A turn, or a deletion, has locked the session, which was checked. */
  take(ref: SessionRef): void {
    this.#ref = ref;
    this.#isLocked = true;
    clearTimeout(this.#timer);
  }

  /** The session that is locked is on disk: from now on it has the replica for good. */
  begun(): void {
    this.#isBegun = true;
  }

  deleted(): void {
    this.#end("its session was deleted");
  }

  /** Nobody has the session any more. */
  release(): void {
    this.#isLocked = false;
    if (!this.#isBegun) this.#ref = null;
    this.awaitTurn();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #end(reason: string): void {
    this.#over.abort(reason);
  }
}

/** Whether a replica that has this session, or none, serves the one that is asked for. */
function isServed(own: SessionRef | null, asked: SessionRef): boolean {
  return own === null || (own.tenant === asked.tenant && own.sessionId === asked.sessionId);
}
