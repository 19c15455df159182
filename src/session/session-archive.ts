/**
 * All that is kept, of all tenants, for whoever looks after it: a data directory or a store, read
 * the same way, and one filled from the other.
 *
 * @module
 */

import { stat } from "node:fs/promises";
import { AppError } from "../lib/errors.ts";
import { LocalCopy, type Transcripts } from "./local-copy.ts";
import type { SessionRef } from "./session-id.ts";
import { allSessions, findSession } from "./session-list.ts";
import { dataPathsOf, sessionPathsOf } from "./session-paths.ts";
import { readRecord, recordFrom, type SessionRecord } from "./session-record.ts";
import { ifPresent, storing } from "./storage-errors.ts";
import { storedAt, storedNames } from "./stored-list.ts";
import { indexNameOf, ownerOf } from "./stores/names.ts";
import type { ObjectStore } from "./stores/object-store.ts";
import { chunksOf } from "./stores/pieces.ts";
import {
  begun,
  isLeasedElsewhere,
  isThere,
  type SessionHead,
  taken,
} from "./stores/session-head.ts";
import { SessionLog } from "./stores/session-log.ts";

export interface SessionArchive {
  /** What it is and where, without secrets. */
  readonly place: string;
  /** The newest first; records that cannot be read are left out. */
  all(): Promise<readonly SessionRecord[]>;
  /** Whoever's it is; undefined if there is none. @param sessionId That `isSessionId`. */
  find(sessionId: string): Promise<SessionRecord | undefined>;
  /** @throws {AppError} `session_not_found` when it was deleted since. */
  transcripts(record: SessionRecord): Promise<Transcripts>;
  /**
   * Takes a session over from another archive.
   *
   * @param replaces Whether one that is here already is to be replaced.
   */
  put(record: SessionRecord, transcripts: Transcripts, replaces: boolean): Promise<PutOutcome>;
}

/** `present`: left as it was. `busy`: a replica has it. */
export type PutOutcome = "copied" | "present" | "busy";

/** Written at once: a large transcript is many of these. */
const STEP_BYTES = 8 * 2 ** 20;

export class DirectoryArchive implements SessionArchive {
  readonly place: string;

  /** @param dataDirectory Taken by whoever wants to change something in it. */
  constructor(dataDirectory: string) {
    this.place = dataDirectory;
  }

  async all(): Promise<readonly SessionRecord[]> {
    return storing("list the sessions", () => allSessions(this.place));
  }

  async find(sessionId: string): Promise<SessionRecord | undefined> {
    return storing("find the session", () => findSession(this.place, sessionId));
  }

  async transcripts(record: SessionRecord): Promise<Transcripts> {
    return storing("read the session", () => this.#copyOf(record).transcripts(record));
  }

  async put(
    record: SessionRecord,
    transcripts: Transcripts,
    replaces: boolean,
  ): Promise<PutOutcome> {
    return storing("copy the session", async () => {
      await stat(dataPathsOf(this.place).tenants);
      const { record: file, directory } = sessionPathsOf(this.place, record);
      const found = await ifPresent(stat(directory));
      if (found !== undefined && !replaces && (await readRecord(file, record)) !== undefined)
        return "present";
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

  async all(): Promise<readonly SessionRecord[]> {
    const records: SessionRecord[] = [];
    for await (const names of storedNames(this.#store)) {
      const found = await Promise.all(names.map((name) => storedAt(this.#log, name)));
      for (const each of found) {
        if (each !== null && each !== "unreadable") records.push(each.record);
      }
    }
    return records.toSorted((one, other) => other.lastTurnAtMs - one.lastTurnAtMs);
  }

  async find(sessionId: string): Promise<SessionRecord | undefined> {
    // No tenant is named, so there is no other way than to look at all.
    return (await this.all()).find((record) => record.sessionId === sessionId);
  }

  async transcripts(record: SessionRecord): Promise<Transcripts> {
    const key = keyOf(record);
    const head = await this.#log.read(key);
    if (recordFrom(head?.record) === undefined || head === null) {
      throw new AppError("session_not_found", "Cannot read the session: it was deleted");
    }
    const load = (path: string) => this.#log.load(key, head, path);
    return { paths: Object.keys(head.pieces), load };
  }

  async put(
    record: SessionRecord,
    transcripts: Transcripts,
    replaces: boolean,
  ): Promise<PutOutcome> {
    const key = keyOf(record);
    const nowMs = Date.now();
    const before = await this.#log.read(key);
    const terms = { holder: COPIER, nowMs, leaseTimeMs: LEASE_MS };
    if (before !== null && isLeasedElsewhere(before, terms)) return "busy";
    if (before !== null && isThere(before) && !replaces) return "present";
    const listedAtMs = record.lastTurnAtMs;
    await this.#store.put(indexNameOf(key, listedAtMs), Buffer.alloc(0), "any");
    const { head: empty } = await this.#log.update(key, (head) => begun(taken(head, terms), null));
    const { fence } = empty;
    for (const path of transcripts.paths) await this.#fill(key, fence, path, transcripts);
    await this.#log.append(key, fence, [], (head) => ({
      ...head,
      lease: null,
      record,
      listedAtMs,
    }));
    if (before !== null) await this.#tidy(key, before, listedAtMs);
    return "copied";
  }

  async #fill(
    key: ReturnType<typeof keyOf>,
    fence: number,
    path: string,
    { load }: Transcripts,
  ): Promise<void> {
    let fromBytes = 0;
    let pending: Buffer[] = [];
    let pendingBytes = 0;
    const write = async (): Promise<void> => {
      const chunks = chunksOf(Buffer.concat(pending));
      if (chunks.length > 0) await this.#log.append(key, fence, [{ path, fromBytes, chunks }]);
      fromBytes += pendingBytes;
      pending = [];
      pendingBytes = 0;
    };
    for await (const chunk of load(path)) {
      pending.push(chunk);
      pendingBytes += chunk.length;
      if (pendingBytes >= STEP_BYTES) await write();
    }
    await write();
  }

  /** What the session had before it was replaced, and its old place in the list. */
  async #tidy(
    key: ReturnType<typeof keyOf>,
    before: SessionHead,
    listedAtMs: number,
  ): Promise<void> {
    const old = before.listedAtMs;
    if (old !== null && old !== listedAtMs) await this.#store.delete([indexNameOf(key, old)]);
    await this.#log.dropPieces(key, before);
  }
}

/** Holds a session that is being filled; no replica has such a name. */
const COPIER = "copy";
const LEASE_MS = 10 * 60 * 1000;

function keyOf({ tenant, sessionId }: SessionRef) {
  return { owner: ownerOf("tenant", tenant), sessionId };
}
