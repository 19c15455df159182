/**
 * Takes sessions in a store for turns of this replica, and begins those that there are not yet.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import type { LeaseClock } from "./lease-clock.ts";
import type { SessionCounts } from "./session-counts.ts";
import type { SessionTally } from "./session-tally.ts";
import { type SessionInput, sessionNotFound, type SessionRef, sessionRefOf } from "./session-id.ts";
import { logKeyOf, recordOf, recordToBegin } from "./stored-record.ts";
import type { LogKey } from "./stores/names.ts";
import { begun, hasSession, type SessionHead, taken } from "./stores/session-head.ts";
import type { KnownHead, SessionLog } from "./stores/session-log.ts";

export interface TakingSessionsOptions {
  readonly log: SessionLog;
  readonly clock: LeaseClock;
  readonly counts: SessionCounts;
  readonly tally: SessionTally;
  /** Gives the session a place in the list. */
  readonly enlist: (key: LogKey, atMs: number) => Promise<void>;
  /** Takes it away; never rejects. */
  readonly unlist: (key: LogKey, atMs: number) => Promise<void>;
}

export class TakingSessions {
  readonly #options: TakingSessionsOptions;

  constructor(options: TakingSessionsOptions) {
    this.#options = options;
  }

  /**
   * Takes the lease, and makes the session if there is none.
   *
   * @param nowMs Of the turn, for the record of a new session.
   * @param clockMs The time at which the lease begins, asked for as it is written.
   * @returns The head with the lease, and whether an earlier one was never given back.
   * @throws {AppError} As `Sessions.claim`.
   */
  async take(input: SessionInput, nowMs: number, clockMs: () => number) {
    const { log, clock } = this.#options;
    const ref = sessionRefOf(input);
    const key = logKeyOf(ref);
    const leaseId = randomUUID();
    let wasLeft = false;
    const lease = (head: SessionHead) => taken(head, clock.terms(clockMs()), leaseId);
    const take = (now: SessionHead): SessionHead => {
      const next = lease(now);
      if (recordOf(now, ref, nowMs).agentName !== input.agentName) throw sessionNotFound();
      if (now.lease !== null) wasLeft = true;
      return next;
    };
    const before = await clock.asked(() => log.know(key));
    const begin = (now: SessionHead): SessionHead => {
      // Another replica was quicker.
      if (hasSession(now)) return take(now);
      const record = recordToBegin(now, before.head, input, nowMs);
      return { ...begun(lease(now), record), listedAtMs: nowMs };
    };
    const known = hasSession(before.head)
      ? await clock.asked(() => log.update(key, take, before))
      : await this.#begin(ref, before, begin, nowMs);
    return { known, wasLeft };
  }

  async #begin(
    ref: SessionRef,
    before: KnownHead,
    begin: (now: SessionHead) => SessionHead,
    nowMs: number,
  ): Promise<KnownHead> {
    const { log, clock, counts, enlist, tally } = this.#options;
    const key = logKeyOf(ref);
    // Refused before anything is written for it.
    begin(before.head);
    await clock.asked(() => counts.take(ref.tenant));
    let isOurs = false;
    try {
      // First: what is in no list would never be swept.
      await clock.asked(() => enlist(key, nowMs));
      // A deletion that was cut short, or is under way, leaves what it finds begun anew as it is.
      if (before.head.deletedAtMs !== undefined) await clock.asked(() => log.clear(key));
      const now = await clock.asked(() => log.update(key, begin, before));
      isOurs = now.head.listedAtMs === nowMs;
      if (isOurs) tally.begun(ref);
      return now;
    } finally {
      if (!isOurs) await this.#didNotBegin(ref, nowMs);
    }
  }

  /** Takes back what was done for a session that another replica has begun, or none has. */
  async #didNotBegin(ref: SessionRef, nowMs: number): Promise<void> {
    const { log, counts, unlist } = this.#options;
    await counts.giveBack(ref.tenant);
    const head = await log.read(logKeyOf(ref)).catch(() => null);
    // The other one may have begun it in the very same millisecond.
    if (head !== null && head.listedAtMs !== nowMs) await unlist(logKeyOf(ref), nowMs);
  }
}
