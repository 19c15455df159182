/**
 * Sessions that several replicas share: the store has them, and each replica has copies of those
 * that it had turns of, as files that Claude Code can work with (`file-sessions.ts`).
 *
 *     claim: lease taken, fence + 1 ─▶ open: copy made that of the store ─▶ (a turn; its lines
 *     are uploaded) ─▶ finish: the rest and the record, and the lease given back, in one step
 *
 * Where the store does not answer at the end of a turn, the turn has ended all the same: the copy
 * has it, and `outbox.ts` uploads it as soon as that is possible.
 *
 * @module
 */

import { hasCode } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { settlesWithin } from "../lib/settles-within.ts";
import type { FileSessions } from "./file-sessions.ts";
import { LateTurns } from "./late-turns.ts";
import { LeaseClock } from "./lease-clock.ts";
import { Outbox } from "./outbox.ts";
import { SessionCopies } from "./session-copies.ts";
import { RefreshingCopies } from "./refreshing-copies.ts";
import {
  parseSessionRef,
  type SessionInput,
  type SessionRef,
  sessionRefOf,
  textOf,
} from "./session-id.ts";
import { RENEWALS, SessionLease } from "./session-lease.ts";
import type { SessionLocks } from "./session-locks.ts";
import { mustNotBeOnHold, recordFrom, type SessionRecord } from "./session-record.ts";
import type { OpenOptions, OpenSession, SessionClaim, Sessions, TurnEnd } from "./sessions.ts";
import { storing } from "./storage-errors.ts";
import { logKeyOf, withoutTurn, withRecord } from "./stored-record.ts";
import type { StoreNotice } from "./store-notice.ts";
import { StoredSessions } from "./stored-sessions.ts";
import { LAYOUT_NAME } from "./stores/names.ts";
import type { ObjectStore } from "./stores/object-store.ts";
import { lastUseOf, released, type SessionHead } from "./stores/session-head.ts";
import type { KnownHead } from "./stores/session-log.ts";
import { TakingSessions } from "./taking-sessions.ts";
import type { TreeSize } from "./tree-size.ts";
import type { KeptTurn } from "./turn-keys.ts";
import type { TurnKey } from "../turn/turn.ts";

/** Between two attempts to upload a turn that has ended; never longer than others wait for it. */
const MAX_PAUSE_MS = 10_000;

export interface SharedSessionsOptions {
  readonly store: ObjectStore;
  /** The copies of this replica. */
  readonly local: FileSessions;
  readonly dataDirectory: string;
  readonly locks: SessionLocks;
  /** Id of this server, the same after a restart on its data directory. */
  readonly holder: string;
  readonly leaseTimeMs: number;
  /** The grace of `LeaseClock`, for commands. */
  readonly leaseGraceMs?: number;
  readonly maxPerTenant: number;
  /** How long an unused copy stays, as in `SessionCopiesOptions`. */
  readonly maxIdleMs: number | null;
  /** Bytes of turns that may wait to be uploaded; beyond, no new turn is taken. */
  readonly outboxBytes: number;
  /** Ends what is kept in memory for a session that is about to be deleted, whose lock is held. */
  readonly beforeDelete: (ref: SessionRef) => Promise<void>;
  readonly onNotice: (notice: StoreNotice) => void;
}

/** Who cancels a turn waits no longer for the store: with the end of its process, about a second. */
const AWAITED_STORE_TIME_MS = 300;

const NOTHING: TreeSize = { files: 0, bytes: 0, diskBytes: 0 };

export class SharedSessions extends StoredSessions implements Sessions, AsyncDisposable {
  /** What this replica keeps on its disk: each can be made again from the store. */
  readonly copies: SessionCopies;
  readonly #options: SharedSessionsOptions;
  readonly #clock: LeaseClock;
  readonly #outbox: Outbox;
  readonly #taking: TakingSessions;
  readonly #leases = new Map<string, SessionLease>();
  readonly #refreshing: RefreshingCopies;
  #watch: Disposable | undefined;

  constructor(options: SharedSessionsOptions) {
    const { store, dataDirectory, locks, maxPerTenant, outboxBytes: maxBytes, maxIdleMs } = options;
    const clock = new LeaseClock(options.holder, options.leaseTimeMs, options.leaseGraceMs);
    const isBusyHere = (ref: SessionRef) => locks.isLocked(ref);
    super({ store, clock, maxPerTenant, isBusyHere });
    this.#options = options;
    this.#clock = clock;
    const { local, beforeDelete } = options;
    const isNeeded = (ref: SessionRef) => this.#outbox.has(ref);
    const parts = { dataDirectory, local, locks, maxIdleMs, isNeeded, beforeDelete };
    const onMovedToHeld = ({ sessionId }: SessionRef) =>
      options.onNotice({ what: "held", sessionId });
    this.copies = new SessionCopies({ ...parts, clock, log: this.log, onMovedToHeld });
    this.#taking = new TakingSessions({
      log: this.log,
      clock,
      counts: this.counts,
      tally: this.tally,
      enlist: (key, atMs) => this.enlist(key, atMs),
      unlist: (key, atMs) => this.unlist(key, atMs),
    });
    this.#refreshing = new RefreshingCopies({
      log: this.log,
      clock,
      download: (ref, head) => this.#download(ref, head),
    });
    const { leaseTimeMs, onNotice } = options;
    const late = new LateTurns({
      log: this.log,
      clock,
      copies: this.copies,
      leaseTimeMs,
      leaseFor: (ref, known) => this.#leaseFor(ref, known),
      upload: (ref, lease, record) => this.#upload(ref, lease, record),
      onNotice,
    });
    this.#outbox = new Outbox({
      dataDirectory,
      maxBytes,
      maxPauseMs: Math.min(MAX_PAUSE_MS, leaseTimeMs / RENEWALS),
      renewEveryMs: leaseTimeMs / RENEWALS,
      renew: (ref, token) => late.renew(ref, token),
      deliver: (ref, token) => late.deliver(ref, token),
      onStuck: ({ sessionId }, error) => onNotice({ what: "stuck", sessionId, error }),
    });
  }

  /** Takes up what an earlier run on this data directory could not upload; for a server. */
  async resume(): Promise<void> {
    const { store } = this.#options;
    this.#watch = this.#clock.watch(() => store.get(LAYOUT_NAME));
    await this.#outbox.resume();
  }

  /** Uploads the last turn of a session, if the store has not heard of it. */
  async settle(ref: SessionRef): Promise<void> {
    await this.#outbox.settle(ref);
  }

  async claim(input: SessionInput, nowMs: number): Promise<SessionClaim> {
    const ref = sessionRefOf(input);
    const beganAtMs = monotonicMs();
    this.#outbox.check();
    await this.#refreshing.settle(ref);
    // A turn that has ended here, and not there, comes first.
    await this.#outbox.settle(ref);
    // What this replica's own disk may refuse comes before anything is taken.
    const mark = await this.copies.markOf(ref);
    // What came before may have taken longer than a lease lasts.
    const clockMs = () => nowMs + Math.round(monotonicMs() - beganAtMs);
    const { known, wasLeft } = await this.#taking.take(input, nowMs, clockMs);
    const lease = this.#leaseFor(ref, known);
    const judged = this.copies.hasMovedOn(ref, mark, lease.head);
    const hasMovedOn = await judged.catch(async (thrown: unknown) => {
      await lease[Symbol.asyncDispose]();
      throw thrown;
    });
    this.#leases.set(textOf(ref), lease);
    return {
      hasMovedOn,
      wasLeft,
      lost: lease.lost,
      [Symbol.asyncDispose]: async () => {
        if (this.#leases.get(textOf(ref)) !== lease) return;
        this.#leases.delete(textOf(ref));
        await lease[Symbol.asyncDispose]();
      },
    };
  }

  async open(input: SessionInput, nowMs: number, options?: OpenOptions): Promise<OpenSession> {
    const ref = sessionRefOf(input);
    const lease = this.#leaseOf(ref);
    await this.#download(ref, lease.head, options?.processStayed);
    lease.startUpload();
    return this.#options.local.open(input, nowMs, options);
  }

  override async transcriptBytes(input: SessionInput, nowMs: number): Promise<number> {
    this.#outbox.check();
    return super.transcriptBytes(input, nowMs);
  }

  /** A turn that comes meanwhile waits for it. */
  async refresh(ref: SessionRef): Promise<boolean> {
    const own = parseSessionRef(ref);
    // What the store has not heard of is not to be replaced by what it has.
    if (this.#options.locks.isLocked(own) || this.#outbox.has(own)) return true;
    return this.#refreshing.refresh(own);
  }

  async finish(ref: SessionRef, end: TurnEnd): Promise<void> {
    const own = parseSessionRef(ref);
    const { sessionId } = own;
    const { local, onNotice } = this.#options;
    const lease = this.#leaseOf(own);
    await local.finish(own, end);
    const record = await this.copies.of(own).requireRecord();
    const before = recordFrom(lease.head.record)?.transcriptBytes ?? 0;
    this.tally.grew(own, record.transcriptBytes - before);
    lease.stop();
    const delivery = this.#upload(own, lease, record);
    const onFailed = (error: unknown) => {
      this.#troubled(own, error);
      onNotice({ what: "kept", sessionId, error });
    };
    try {
      const isSoon =
        end.isAwaited !== true || (await settlesWithin(delivery, AWAITED_STORE_TIME_MS));
      if (isSoon) await delivery;
      else await this.#outbox.add(own, lease.token, { delivery, onFailed });
    } catch (error) {
      if (hasCode(error, "session_taken_over")) {
        // Where that fails, the next turn here does it, and tells it once more.
        await this.copies
          .of(own)
          .moveToSuperseded()
          .catch(() => {});
        onNotice({ what: "superseded", sessionId });
      }
      if (!hasCode(error, "store_unavailable")) throw error;
      await this.#outbox.add(own, lease.token);
      onFailed(error);
    }
    // Given back, or the outbox's now; else whoever claimed it lets it go.
    this.#leases.delete(textOf(own));
  }

  async keepBegun(ref: SessionRef, turn: Omit<KeptTurn, "end">): Promise<void> {
    const own = parseSessionRef(ref);
    await this.#options.local.keepBegun(own, turn);
    const copy = this.copies.of(own);
    const record = await copy.requireRecord();
    const lease = this.#leaseOf(own);
    try {
      await this.#clock.asked(() => lease.deliver(record, (head) => withRecord(head, record)));
    } catch (thrown) {
      // It may be written all the same. The turn will not run, so its key must be free again: as with
      // the end of a turn, the store hears of that when it can, and until then the session is ours.
      lease.stop();
      await storing("free the key", () => copy.writeRecord(withoutTurn(record, turn)));
      if (!hasCode(thrown, "session_taken_over")) {
        await this.#outbox.add(own, lease.token);
        this.#leases.delete(textOf(own));
      }
      throw thrown;
    }
  }

  override async keptTurn(ref: SessionRef, agentName: string, key: Pick<TurnKey, "hash">) {
    // The store may not have heard how it ended: it would be taken for one that was cut off.
    await this.#outbox.settle(parseSessionRef(ref));
    return super.keptTurn(ref, agentName, key);
  }

  async delete(ref: SessionRef, nowMs: number): Promise<TreeSize> {
    const mayGo = (_head: SessionHead, record: SessionRecord): boolean => {
      mustNotBeOnHold(record);
      return true;
    };
    try {
      return (await this.#delete(ref, nowMs, mayGo)) ?? NOTHING;
    } catch (thrown) {
      if (!hasCode(thrown, "session_unreadable")) throw thrown;
      await this.#deleteUnreadable(parseSessionRef(ref), nowMs);
      return NOTHING;
    }
  }

  async deleteUnused(
    seen: SessionRef & { readonly lastUseAtMs: number },
    nowMs: number,
  ): Promise<boolean> {
    const isUnused = (head: SessionHead, { onHoldSinceMs }: SessionRecord): boolean =>
      onHoldSinceMs === undefined && lastUseOf(head) === seen.lastUseAtMs;
    return (await this.#delete(seen, nowMs, isUnused)) !== null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    await this.#outbox[Symbol.asyncDispose]();
  }

  #leaseFor(ref: SessionRef, known: KnownHead): SessionLease {
    return new SessionLease({
      log: this.log,
      key: logKeyOf(ref),
      copy: this.copies.of(ref),
      known,
      leaseTimeMs: this.#options.leaseTimeMs,
      withRecord,
      onTrouble: (error) => this.#troubled(ref, error),
    });
  }

  async #upload(ref: SessionRef, lease: SessionLease, record: SessionRecord): Promise<void> {
    const key = logKeyOf(ref);
    const listedAtMs = record.lastTurnAtMs;
    const before = lease.head.listedAtMs;
    await this.#clock.asked(async () => {
      await this.enlist(key, listedAtMs);
      const end = (now: SessionHead) => withRecord(released(now, lease.token), record);
      await lease.deliver(record, (now) => ({ ...end(now), listedAtMs }));
    });
    if (before !== listedAtMs) await this.unlist(key, before);
  }

  async #download(ref: SessionRef, head: SessionHead, processStayed = false): Promise<void> {
    const wasAhead = await this.copies.download(ref, head, processStayed);
    if (wasAhead) this.#options.onNotice({ what: "superseded", sessionId: ref.sessionId });
  }

  async #delete(
    ref: SessionRef,
    nowMs: number,
    mayGo: (head: SessionHead, record: SessionRecord) => boolean,
  ): Promise<TreeSize | null> {
    const own = parseSessionRef(ref);
    const { locks, beforeDelete } = this.#options;
    using _lock = locks.lock(own);
    // How long it was idle, and all that goes, is known once its last turn is in it.
    await this.#outbox.settle(own);
    const { known, record } = await this.require(own, nowMs);
    if (!mayGo(known.head, record)) return null;
    await beforeDelete(own);
    const removed = await this.remove(own, known, nowMs, mayGo);
    if (removed !== null) await this.copies.discard(own, record.createdAtMs, nowMs);
    return removed;
  }

  async #deleteUnreadable(own: SessionRef, nowMs: number): Promise<void> {
    const { locks, beforeDelete } = this.#options;
    using _lock = locks.lock(own);
    const record = await this.copies.of(own).record();
    // What has been heard of that here may be all that is left of it.
    mustNotBeOnHold(record ?? {});
    await beforeDelete(own);
    await this.removeUnreadable(own, nowMs);
    await this.copies.discard(own, record?.createdAtMs, nowMs);
  }

  #leaseOf(ref: SessionRef): SessionLease {
    const lease = this.#leases.get(textOf(ref));
    if (lease === undefined) throw new Error("the session was not claimed");
    return lease;
  }

  #troubled({ sessionId }: SessionRef, error: unknown): void {
    this.#clock.saw(error);
    this.#options.onNotice({ what: "unavailable", sessionId, error });
  }
}
