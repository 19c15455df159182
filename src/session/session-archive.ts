/**
 * All that is kept, of all tenants, for whoever looks after it: a data directory or a store, read
 * the same way, and one filled from the other.
 *
 * @module
 */

import { stat } from "node:fs/promises";
import { MIB } from "../lib/byte-units.ts";
import { AppError, hasCode } from "../lib/errors.ts";
import { COMMAND_GRACE_MS } from "./lease-clock.ts";
import { LocalCopy, type Transcripts } from "./local-copy.ts";
import type { SessionRef } from "./session-id.ts";
import { allSessions, findSession } from "./session-list.ts";
import { newestFirst } from "./session-order.ts";
import { dataPathsOf, sessionPathsOf } from "./session-paths.ts";
import {
  type ListedRecord,
  listedRecordOf,
  mustNotBeOnHold,
  readRecord,
  recordFrom,
  type SessionRecord,
} from "./session-record.ts";
import { storing } from "./storage-errors.ts";
import { logKeyOf } from "./stored-record.ts";
import { listedSession, storedAt, storedNames } from "./stored-list.ts";
import { holdIn } from "./stores/damaged-head.ts";
import { deletingNameOf, indexNameOf, parseIndexName } from "./stores/names.ts";
import type { ObjectStore } from "./stores/object-store.ts";
import { chunksOf } from "./stores/pieces.ts";
import {
  begun,
  checkFree,
  isLeasedElsewhere,
  hasSession,
  type LeaseTerms,
  type SessionHead,
} from "./stores/session-head.ts";
import { SessionLog } from "./stores/session-log.ts";

export interface SessionArchive {
  /** What it is and where, without secrets. */
  readonly place: string;
  all(): Promise<AllSessions>;
  /**
   * Whoever's it is; undefined if there is none.
   *
   * @param sessionId That `isSessionId`.
   * @throws {AppError} When it is there and cannot be read.
   */
  find(sessionId: string): Promise<SessionRecord | undefined>;
  /**
   * All that there is of it, as it is at one moment.
   *
   * @throws {AppError} `session_not_found` when it was deleted since; `session_busy` while a replica
   *   has it: half a turn is no session.
   */
  transcripts(ref: SessionRef): Promise<WholeSession>;
  /**
   * Takes a session over from another archive.
   *
   * @param replaces Whether one that is here already is to be replaced.
   * @throws {AppError} `session_on_hold` for one that is to be replaced.
   */
  put(record: SessionRecord, transcripts: Transcripts, replaces: boolean): Promise<PutOutcome>;
}

export interface WholeSession extends Transcripts {
  readonly record: SessionRecord;
}

export interface AllSessions {
  /** The newest first; they may be many. */
  readonly records: readonly ListedRecord[];
  /** Ids of those that are there and cannot be read. */
  readonly unreadable: readonly string[];
}

/** `present`: left as it was. `busy`: a replica has it, or deletes it. */
export type PutOutcome = "copied" | "present" | "busy";

/** Written at once: a large transcript is many of these. */
const STEP_BYTES = 8 * MIB;

export class DirectoryArchive implements SessionArchive {
  readonly place: string;

  /** @param dataDirectory Taken by whoever wants to change something in it. */
  constructor(dataDirectory: string) {
    this.place = dataDirectory;
  }

  async all(): Promise<AllSessions> {
    return storing("list the sessions", () => allSessions(this.place));
  }

  async find(sessionId: string): Promise<SessionRecord | undefined> {
    return storing("find the session", () => findSession(this.place, sessionId));
  }

  async transcripts(ref: SessionRef): Promise<WholeSession> {
    return storing("read the session", async () => {
      const record = await readRecord(sessionPathsOf(this.place, ref).record, ref);
      if (record === undefined) throw deletedSince();
      return { record, ...(await this.#copyOf(ref).transcripts(record)) };
    });
  }

  async put(
    record: SessionRecord,
    transcripts: Transcripts,
    replaces: boolean,
  ): Promise<PutOutcome> {
    return storing("copy the session", async () => {
      await stat(dataPathsOf(this.place).tenants);
      const found = await readRecord(sessionPathsOf(this.place, record).record, record).catch(
        orDamaged,
      );
      if (found !== undefined && !replaces) return "present";
      // One that cannot be read is replaced: nothing else can be made of it.
      if (found !== undefined && found !== "damaged") mustNotBeOnHold(found, "replace");
      await this.#copyOf(record).replace(record, transcripts);
      return "copied";
    });
  }

  #copyOf(ref: SessionRef): LocalCopy {
    return new LocalCopy(this.place, ref);
  }
}

export class StoreArchive implements SessionArchive {
  readonly #store: ObjectStore;
  readonly #log: SessionLog;

  constructor(store: ObjectStore) {
    this.#store = store;
    this.#log = new SessionLog(store);
  }

  get place(): string {
    return this.#store.place;
  }

  async all(): Promise<AllSessions> {
    const records: ListedRecord[] = [];
    const unreadable = new Set<string>();
    for await (const names of storedNames(this.#store)) {
      const found = await Promise.all(names.map((name) => storedAt(this.#log, name)));
      for (const [at, each] of found.entries()) {
        if (each === "unreadable") unreadable.add(parseIndexName(names[at] ?? "")?.sessionId ?? "");
        else if (each !== null) records.push(listedRecordOf(each.record));
      }
    }
    return { records: records.toSorted(newestFirst), unreadable: [...unreadable] };
  }

  async find(sessionId: string): Promise<SessionRecord | undefined> {
    // No tenant is named: the names of the index are looked through, and one head is read.
    for await (const names of storedNames(this.#store)) {
      for (const name of names) {
        const key = parseIndexName(name);
        if (key?.sessionId !== sessionId) continue;
        const head = await this.#log.read(key);
        if (head?.listedAtMs === key.atMs) return listedSession(head, key).record;
      }
    }
    return undefined;
  }

  async transcripts(ref: SessionRef): Promise<WholeSession> {
    const key = logKeyOf(ref);
    const head = await this.#log.read(key);
    if (head === null || !hasSession(head)) throw deletedSince();
    const { record } = listedSession(head, key);
    checkFree(head, termsOf(Date.now()));
    const load = (path: string) => this.#log.load(key, head, path);
    return { record, paths: Object.keys(head.pieces), load };
  }

  async put(
    record: SessionRecord,
    transcripts: Transcripts,
    replaces: boolean,
  ): Promise<PutOutcome> {
    const key = logKeyOf(record);
    // One that cannot be read is replaced, too: nothing else can be made of it.
    const known = replaces ? await this.#log.knowAnyway(key, Date.now()) : null;
    const found = known === null || known.version === null ? await this.#log.read(key) : known.head;
    let outcome = found === null ? "copied" : outcomeOn(found, replaces);
    if (outcome !== "copied") return outcome;
    // As of a deletion: what a copy that is cut off has written is looked for there.
    const deletingName = deletingNameOf(key, Date.now());
    const isNew = found === null || !hasSession(found);
    if (isNew) await this.#store.put(deletingName, Buffer.alloc(0), "any");
    if (found?.deletedAtMs !== undefined) {
      // What a deletion that was cut short has left would stay with the new session.
      await this.#log.clear(key);
      // What is written to a deleted session is cleared by whoever finds it so.
      await this.#log.update(key, (head) => revived(head, found));
    }
    const listedAtMs = record.lastTurnAtMs;
    await this.#store.put(indexNameOf(key, listedAtMs), Buffer.alloc(0), "any");
    const begin = (head: SessionHead): SessionHead => {
      // Whatever has become of it while it was copied.
      outcome = head.deletedAtMs === undefined ? outcomeOn(head, replaces) : "busy";
      if (outcome !== "copied") return head;
      return { ...begun(head, record), fence: head.fence + 1, lease: null, listedAtMs };
    };
    const damaged = known?.isDamaged === true ? known : undefined;
    const before = await this.#log.supersede(key, stepsOf(transcripts), begin, damaged);
    // If that cannot be told now, a sweep finds the session there.
    if (isNew) await this.#store.delete([deletingName]).catch(() => {});
    if (outcome !== "copied") return outcome;
    // Once more: of a time long past, and of no session yet, a sweep takes it for one left behind.
    await this.#store.put(indexNameOf(key, listedAtMs), Buffer.alloc(0), "any");
    const old = before.listedAtMs;
    if (old !== null && old !== listedAtMs) {
      // One that stays is told from the right one by its time.
      await this.#store.delete([indexNameOf(key, old)]).catch(() => {});
    }
    return "copied";
  }
}

/** @throws {AppError} `session_on_hold` */
function outcomeOn(head: SessionHead, replaces: boolean): PutOutcome {
  if (isLeasedElsewhere(head, termsOf(Date.now()))) return "busy";
  if (!hasSession(head)) return "copied";
  if (!replaces) return "present";
  mustNotBeOnHold(recordFrom(head.record) ?? holdIn(head.record), "replace");
  return "copied";
}

/** Unless it was deleted once more since it was cleared, or is being forgotten. */
function revived(head: SessionHead, cleared: SessionHead): SessionHead {
  const isCleared = head.deletedAtMs !== undefined && head.fence === cleared.fence;
  return isCleared ? begun(head, null) : head;
}

/** Some bytes of a transcript at a time, so that no large one is held whole. */
async function* stepsOf({ paths, load }: Transcripts) {
  for (const path of paths) {
    let pending: Buffer[] = [];
    let pendingBytes = 0;
    for await (const chunk of load(path)) {
      pending.push(chunk);
      pendingBytes += chunk.length;
      if (pendingBytes < STEP_BYTES) continue;
      yield { path, chunks: chunksOf(Buffer.concat(pending)) };
      pending = [];
      pendingBytes = 0;
    }
    if (pendingBytes > 0) yield { path, chunks: chunksOf(Buffer.concat(pending)) };
  }
}

/** The lease terms of whoever copies: no replica has such a name. */
function termsOf(nowMs: number): LeaseTerms {
  return { holder: "copy", leaseTimeMs: 0, graceMs: COMMAND_GRACE_MS, nowMs };
}

function deletedSince(): AppError {
  return new AppError("session_not_found", "Cannot read the session: it was deleted");
}

function orDamaged(thrown: unknown): "damaged" {
  if (hasCode(thrown, "session_unreadable")) return "damaged";
  throw thrown;
}
