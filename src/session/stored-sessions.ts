/**
 * The sessions in a store, for everything but turns: listed, read, held, deleted and looked through.
 * What a replica adds to have turns of them is `shared-sessions.ts`.
 *
 * @module
 */

import { hasCode } from "../lib/errors.ts";
import type { Pace } from "../lib/pacer.ts";
import { deleteUnreadable } from "./delete-unreadable.ts";
import type { LeaseClock } from "./lease-clock.ts";
import type { StoredSession } from "./retention.ts";
import { SessionCounts } from "./session-counts.ts";
import { finishDeletions, forgetOld } from "./gone-sessions.ts";
import { LeftNames } from "./left-names.ts";
import { exportOf } from "./session-export.ts";
import {
  parseSessionRef,
  type SessionInput,
  sessionNotFound,
  type SessionRef,
  sessionRefOf,
} from "./session-id.ts";
import type { SessionPage, SessionQuery } from "./session-list.ts";
import { heldRecord, recordFrom, type SessionRecord } from "./session-record.ts";
import { type SeenSession, SessionTally, type Tallied } from "./session-tally.ts";
import { type SessionSummary, summaryOf } from "./sessions.ts";
import { shownTranscript } from "./shown-transcript.ts";
import { listStored, storedAt, storedNames } from "./stored-list.ts";
import { bytesToResume, logKeyOf, recordOf } from "./stored-record.ts";
import {
  deletingNameOf,
  goneNameOf,
  indexNameOf,
  type LogKey,
  parseIndexName,
} from "./stores/names.ts";
import type { ObjectStore } from "./stores/object-store.ts";
import {
  allBytesOf,
  transcriptBytesOf,
  checkFree,
  deleted,
  isLeasedElsewhere,
  lastUseOf,
  type SessionHead,
} from "./stores/session-head.ts";
import { type KnownHead, SessionLog } from "./stores/session-log.ts";
import { wasFull } from "./stores/store-calls.ts";
import type { Transcript } from "./transcript.ts";
import type { TreeSize } from "./tree-size.ts";
import { keptTurnOf } from "./turn-keys.ts";
import type { TurnKey } from "../turn/turn.ts";

export interface StoredSessionsOptions {
  readonly store: ObjectStore;
  readonly clock: LeaseClock;
  readonly maxPerTenant: number;
  /** Whether a turn of it runs on this replica. */
  readonly isBusyHere: (ref: SessionRef) => boolean;
}

export class StoredSessions {
  protected readonly log: SessionLog;
  protected readonly counts: SessionCounts;
  protected readonly tally = new SessionTally();
  readonly #options: StoredSessionsOptions;
  readonly #leftNames: LeftNames;

  constructor(options: StoredSessionsOptions) {
    this.#options = options;
    const { store, maxPerTenant } = options;
    this.log = new SessionLog(store);
    this.#leftNames = new LeftNames(store, this.log);
    this.counts = new SessionCounts({
      maxPerTenant,
      countSessions: (tenant) => countStored(store, tenant),
      isShared: true,
    });
  }

  /** As `Sessions.list`. */
  async list(query: SessionQuery): Promise<SessionPage<SessionSummary>> {
    const { store } = this.#options;
    const page = await this.#asked(() => listStored({ store, log: this.log }, query));
    const sessions = page.sessions.map(({ head, record }) => this.#summaryOf(head, record));
    return { ...page, sessions };
  }

  /** As `Sessions.read`. */
  async read(ref: SessionRef, nowMs: number): Promise<SessionSummary> {
    const { head, record } = await this.require(parseSessionRef(ref), nowMs);
    return this.#summaryOf(head, record);
  }

  /** @throws {AppError} `session_not_found`, `session_gone`, `session_unreadable`. */
  protected async require(ref: SessionRef, nowMs: number) {
    const known = await this.#asked(() => this.log.know(logKeyOf(ref)));
    if (known.version === null) throw sessionNotFound();
    const { head } = known;
    return { known, head, record: recordOf(head, ref, nowMs) };
  }

  /** As `Sessions.transcriptBytes`. */
  async transcriptBytes(input: SessionInput, nowMs: number): Promise<number> {
    const ref = sessionRefOf(input);
    const { head } = await this.#asked(() => this.log.know(logKeyOf(ref)));
    checkFree(head, this.#options.clock.terms(Date.now()));
    const bytes = bytesToResume(head, input, nowMs);
    if (bytes === null) await this.#asked(() => this.counts.check(ref.tenant));
    return bytes ?? 0;
  }

  /** As `Sessions.keptTurn`. */
  async keptTurn(ref: SessionRef, agentName: string, key: Pick<TurnKey, "hash">) {
    const head = await this.#asked(() => this.log.read(logKeyOf(parseSessionRef(ref))));
    const record = recordFrom(head?.record);
    if (head === null || record?.agentName !== agentName) return undefined;
    const turn = keptTurnOf(record.keptTurns, key);
    if (turn === undefined) return undefined;
    // One that runs elsewhere has not been cut off.
    if (turn.end === undefined) checkFree(head, this.#options.clock.terms(Date.now()));
    return { turn, threadId: record.threadId };
  }

  /** Id of the server that has the session now, if that is another one; null for none. */
  async holderOf(ref: SessionRef): Promise<string | null> {
    const head = await this.#asked(() => this.log.read(logKeyOf(parseSessionRef(ref))));
    return head === null ? null : this.#otherHolder(head);
  }

  /** Id of the turn of that key, if it runs on another server; null for none. */
  async turnElsewhere(
    ref: SessionRef,
    agentName: string,
    key: Pick<TurnKey, "hash">,
  ): Promise<string | null> {
    const head = await this.#asked(() => this.log.read(logKeyOf(parseSessionRef(ref))));
    const record = recordFrom(head?.record);
    if (head === null || record?.agentName !== agentName) return null;
    const turn = keptTurnOf(record.keptTurns, key);
    const isRunning = turn?.end === undefined && this.#otherHolder(head) !== null;
    return isRunning ? (turn?.turnId ?? null) : null;
  }

  /** As `Sessions.transcript`: the last part of a long one. */
  async transcript(ref: SessionRef, nowMs: number): Promise<Transcript> {
    const own = parseSessionRef(ref);
    const show = async (): Promise<Transcript> => {
      const { head } = await this.require(own, nowMs);
      const load = (fromBytes: number) => this.log.load(logKeyOf(own), head, "", fromBytes);
      return this.#asked(() => shownTranscript(transcriptBytesOf(head), load));
    };
    return show().catch((thrown: unknown) => {
      // One that was shortened while it was read is another by now, and still there.
      if (hasCode(thrown, "session_gone")) return show();
      throw thrown;
    });
  }

  /** As `Sessions.exported`: what the store has by now, a few seconds behind a turn that runs. */
  async exported(ref: SessionRef, nowMs: number): Promise<AsyncIterable<Buffer>> {
    const own = parseSessionRef(ref);
    const { head } = await this.require(own, nowMs);
    const load = (path: string) => this.log.load(logKeyOf(own), head, path);
    return exportOf({ paths: Object.keys(head.pieces), load });
  }

  /** As `Sessions.hold`; turns that run elsewhere go on. */
  async hold(ref: SessionRef, isOnHold: boolean, nowMs: number): Promise<SessionSummary> {
    const own = parseSessionRef(ref);
    await this.require(own, nowMs);
    const { head } = await this.#asked(() =>
      this.log.update(logKeyOf(own), (now) => {
        return { ...now, record: heldRecord(recordOf(now, own, nowMs), isOnHold, nowMs) };
      }),
    );
    return this.#summaryOf(head, recordOf(head, own, nowMs));
  }

  /** As `Sessions.tallied`. */
  get tallied(): Tallied | null {
    return this.tally.known;
  }

  /** As `Sessions.scan`: what the store has of each, copies left out. */
  scan(): AsyncGenerator<readonly (StoredSession | "unreadable")[]> {
    return this.tally.counting(this.#scan());
  }

  async *#scan(): AsyncGenerator<readonly (SeenSession | "unreadable")[]> {
    const { store } = this.#options;
    for await (const names of storedNames(store)) {
      const found = await this.#asked(() =>
        Promise.all(names.map((name) => storedAt(this.log, name))),
      );
      yield found.flatMap((each, at) => {
        if (each === null) this.#leftNames.met(names[at] ?? "");
        if (each === null || each === "unreadable") return each ?? [];
        return this.#seen(each.head, each.record);
      });
    }
  }

  /**
   * Deletes a session of which nobody on this replica has anything.
   *
   * @param known The head as it was read just now; what has become of it since is found out.
   * @param mayGo Asked of what there is at the very moment. What it throws is thrown.
   * @returns What was removed; null when it may not go.
   * @throws {AppError} `session_busy` while another replica has it, `session_not_found`,
   *   `session_gone`, `store_unavailable`: what is left of it then is deleted by `forgetGone`.
   */
  protected async remove(
    ref: SessionRef,
    known: KnownHead,
    nowMs: number,
    mayGo: (head: SessionHead, record: SessionRecord) => boolean,
  ): Promise<TreeSize | null> {
    const { store, clock } = this.#options;
    // Refused before anything is written for it.
    checkFree(known.head, clock.terms(nowMs));
    const key = logKeyOf(ref);
    const deletingName = deletingNameOf(key, nowMs);
    const goneName = goneNameOf(key, nowMs);
    // First: what is not named there would leave its pieces behind if this is cut short.
    const isNamed = await this.#named([goneName, deletingName]);
    let before: SessionHead | null = null;
    const end = (now: SessionHead): SessionHead => {
      before = now;
      if (!mayGo(now, recordOf(now, ref, nowMs))) return now;
      return deleted(now, clock.terms(nowMs));
    };
    const { head: after } = await this.#asked(() => this.log.update(key, end, known));
    if (before === null || after.deletedAtMs === undefined) return null;
    const { listedAtMs, pieces, record }: SessionHead = before;
    await this.#asked(() => this.log.clear(key));
    await this.unlist(key, listedAtMs);
    await this.counts.giveBack(ref.tenant);
    this.tally.removed(ref, recordFrom(record)?.transcriptBytes ?? 0);
    // There is space now.
    if (!isNamed) await this.#named([goneName]).catch(() => {});
    // If that cannot be told now, a sweep looks once more.
    await store.delete([deletingName]).catch(() => {});
    const bytes = allBytesOf(before);
    return { files: Object.values(pieces).flat().length, bytes, diskBytes: bytes };
  }

  /**
   * Removes a session that cannot be read, and so cannot be asked.
   *
   * @throws {AppError} As {@link remove}.
   */
  protected async removeUnreadable(ref: SessionRef, nowMs: number): Promise<void> {
    const { store, clock } = this.#options;
    const parts = { store, log: this.log };
    await this.#asked(() => deleteUnreadable(parts, ref, clock.terms(nowMs)));
  }

  /** False where the store is full: what frees space must not need some. */
  async #named(names: readonly string[]): Promise<boolean> {
    const { store } = this.#options;
    const put = (name: string) => store.put(name, Buffer.alloc(0), "any");
    try {
      await this.#asked(() => Promise.all(names.map(put)));
      return true;
    } catch (thrown) {
      if (wasFull(thrown)) return false;
      throw thrown;
    }
  }

  /**
   * Finishes deletions that were cut short, forgets sessions that were deleted so long ago that
   * nobody asks for them any more, and takes away names that the last look has found to be of none.
   */
  async forgetGone(nowMs: number, pace: Pace): Promise<void> {
    const parts = { store: this.#options.store, log: this.log };
    await this.#asked(() => finishDeletions(parts, nowMs, pace));
    await this.#asked(() => forgetOld(parts, nowMs, pace));
    await this.#asked(() => this.#leftNames.remove(nowMs, pace));
  }

  async count(tenant: string): Promise<number> {
    return this.#asked(() => this.counts.count(tenant));
  }

  /** Gives the session a place in the list. */
  protected async enlist(key: LogKey, atMs: number): Promise<void> {
    await this.#options.store.put(indexNameOf(key, atMs), Buffer.alloc(0), "any");
  }

  /** Never rejects: a place that is left behind is told from the right one by its time. */
  protected async unlist(key: LogKey, atMs: number | null): Promise<void> {
    if (atMs === null) return;
    await this.#options.store.delete([indexNameOf(key, atMs)]).catch(() => {});
  }

  async #asked<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.#options.clock.asked(work);
  }

  #isBusy(head: SessionHead, ref: SessionRef): boolean {
    const { clock, isBusyHere } = this.#options;
    return isBusyHere(ref) || isLeasedElsewhere(head, clock.terms(Date.now()));
  }

  #otherHolder(head: SessionHead): string | null {
    const isElsewhere = isLeasedElsewhere(head, this.#options.clock.terms(Date.now()));
    return isElsewhere ? (head.lease?.holder ?? null) : null;
  }

  #summaryOf(head: SessionHead, record: SessionRecord): SessionSummary {
    return summaryOf(record, this.#isBusy(head, record));
  }

  #seen(head: SessionHead, record: SessionRecord): SeenSession {
    const { tenant, sessionId, createdAtMs, onHoldSinceMs, transcriptBytes } = record;
    return {
      tenant,
      sessionId,
      createdAtMs,
      lastUseAtMs: lastUseOf(head),
      bytes: allBytesOf(head),
      transcriptBytes,
      isOnHold: onHoldSinceMs !== undefined,
      isBusy: this.#isBusy(head, record),
    };
  }
}

async function countStored(store: ObjectStore, tenant: string): Promise<number> {
  const seen = new Set<string>();
  for await (const names of storedNames(store, tenant)) {
    for (const name of names) seen.add(parseIndexName(name)?.sessionId ?? "");
  }
  return seen.size;
}
