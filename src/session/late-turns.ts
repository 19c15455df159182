/**
 * Turns that have ended while the store did not answer, as they are uploaded later: unless others
 * went on without them, or nothing of them is left here.
 *
 * @module
 */

import { hasCode } from "../lib/errors.ts";
import type { LeaseClock } from "./lease-clock.ts";
import type { SessionCopies } from "./session-copies.ts";
import type { SessionRef } from "./session-id.ts";
import type { SessionLease } from "./session-lease.ts";
import type { SessionRecord } from "./session-record.ts";
import { storing } from "./storage-errors.ts";
import { logKeyOf, recordOf } from "./stored-record.ts";
import {
  isHeldBy,
  hasSession,
  type LeaseToken,
  renewed,
  type SessionHead,
} from "./stores/session-head.ts";
import type { KnownHead, SessionLog } from "./stores/session-log.ts";

export interface LateTurnsOptions {
  readonly log: SessionLog;
  readonly clock: LeaseClock;
  readonly copies: SessionCopies;
  readonly leaseTimeMs: number;
  readonly leaseFor: (ref: SessionRef, known: KnownHead) => SessionLease;
  /** Writes all that the copy has, and lets the session go. */
  readonly upload: (ref: SessionRef, lease: SessionLease, record: SessionRecord) => Promise<void>;
  readonly onNotice: (notice: {
    readonly what: "delivered" | "superseded";
    readonly sessionId: string;
  }) => void;
}

export class LateTurns {
  readonly #options: LateTurnsOptions;

  constructor(options: LateTurnsOptions) {
    this.#options = options;
  }

  /** Keeps the session for a turn that waits, if nobody has taken it. @throws {AppError} */
  async renew(ref: SessionRef, token: LeaseToken): Promise<void> {
    const { log, clock, leaseTimeMs } = this.#options;
    const renew = (head: SessionHead): SessionHead =>
      isHeldBy(head, token) ? renewed(head, token, Date.now() + leaseTimeMs) : head;
    await clock.asked(() => log.update(logKeyOf(ref), renew));
  }

  /**
   * Uploads the turn, or finds that it is too late.
   *
   * @throws {AppError} `store_unavailable`; what else it throws is of this session alone, and stays
   *   until somebody mends it.
   */
  async deliver(ref: SessionRef, token: LeaseToken): Promise<void> {
    const { log, clock, copies, leaseFor, upload } = this.#options;
    const known = await this.#know(ref);
    const { head } = known;
    if (!isHeldBy(head, token) || !hasSession(head)) return this.#tellLate(ref, head);
    const copy = copies.of(ref);
    const record = await storing("read the session", () => copy.intactRecord());
    const load = (path: string) => log.load(logKeyOf(ref), head, path);
    const isBehind = (of: SessionRecord) =>
      storing("read the session", () => clock.asked(() => copy.isBehind(of, head, load)));
    // A power cut may have taken its end, and more: the store keeps what it has.
    if (record === undefined || (await isBehind(record))) {
      await storing("keep the superseded turn", async () => {
        await copy.moveToSuperseded();
        // What lies there is to be known as this session's.
        if (record === undefined) await copy.writeRecord(recordOf(head, ref, Date.now()));
      });
      await leaseFor(ref, known)[Symbol.asyncDispose]();
      this.#tell(ref, "superseded");
      return;
    }
    // Fences start again after a session was forgotten, and an old outbox entry may have nothing but
    // its fence: compare when the sessions began.
    const { createdAtMs } = recordOf(head, ref, Date.now());
    if (record.createdAtMs !== createdAtMs) return this.#tellLate(ref, head);
    const lease = leaseFor(ref, known);
    lease.stop();
    try {
      await upload(ref, lease, record);
    } catch (thrown) {
      if (!hasCode(thrown, "session_taken_over")) throw thrown;
      return this.#tellLate(ref, (await this.#know(ref)).head);
    }
    this.#tell(ref, "delivered");
  }

  async #know(ref: SessionRef): Promise<KnownHead> {
    const { log, clock } = this.#options;
    return clock.asked(() => log.know(logKeyOf(ref)));
  }

  /** The store may have heard of it after all, where what it answered was lost. */
  async #tellLate(ref: SessionRef, head: SessionHead): Promise<void> {
    const { copies } = this.#options;
    const isKnown = await copies.isKnown(ref, head);
    // Else the next turn here would find it, and tell it once more.
    if (!isKnown) {
      await storing("keep the superseded turn", () => copies.of(ref).moveToSuperseded());
    }
    this.#tell(ref, isKnown ? "delivered" : "superseded");
  }

  #tell({ sessionId }: SessionRef, what: "delivered" | "superseded"): void {
    this.#options.onNotice({ what, sessionId });
  }
}
