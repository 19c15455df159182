/**
 * The sessions of one replica, as files. Between its turns nothing is held in memory for a session
 * but its place in the order of its tenant's list; a session is its directory.
 *
 *     lock ─▶ open ─▶ (a turn) ─▶ finish ─▶ unlock        delete ─▶ tombstone
 *
 * @module
 */

import { rm, stat } from "node:fs/promises";
import type { TurnKey } from "../turn/turn.ts";
import { makeDirectoriesBelow } from "./durable-file.ts";
import { LocalCopy } from "./local-copy.ts";
import { SessionCounts } from "./session-counts.ts";
import {
  parseSessionRef,
  type SessionInput,
  sessionNotFound,
  type SessionRef,
  sessionRefOf,
} from "./session-id.ts";
import {
  countSessions,
  listSessions,
  positionsOf,
  type SessionPage,
  type SessionQuery,
} from "./session-list.ts";
import { exportOf } from "./session-export.ts";
import type { SessionLocks } from "./session-locks.ts";
import { SessionOrder } from "./session-order.ts";
import { makeSessionDirectories } from "./session-process.ts";
import { holdOf, recordForTurn, requireRecord, transcriptFileOf } from "./session-lookup.ts";
import { dataPathsOf, sessionPathsOf, sessionSegmentsOf } from "./session-paths.ts";
import {
  newRecord,
  recordAfterTurn,
  type SessionRecord,
  readLastUse,
  heldRecord,
  markUsed,
  mustNotBeOnHold,
  readRecord,
  transcriptIdOf,
  writeRecord,
} from "./session-record.ts";
import { SessionRemoval } from "./session-removal.ts";
import { SessionTally, type Tallied } from "./session-tally.ts";
import { scanFiles } from "./scan-files.ts";
import type { StoredSession } from "./retention.ts";
import { removeTree } from "./remove-tree.ts";
import {
  type OpenOptions,
  type OpenSession,
  type ScanOptions,
  type SessionClaim,
  type Sessions,
  type SessionSummary,
  soleClaim,
  summaryOf,
  type TurnEnd,
} from "./sessions.ts";
import type { SingleSession } from "./single-session.ts";
import { readChunks, shownTranscript } from "./shown-transcript.ts";
import { shortenTranscript } from "./shorten-transcript.ts";
import { ifPresent, storing, storingEach } from "./storage-errors.ts";
import { hasConversation, repairTranscript } from "./transcript-file.ts";
import {
  type Transcript,
  TRANSCRIPT_LIMITS,
  type TranscriptLimits,
  transcriptOf,
} from "./transcript.ts";
import type { TreeSize } from "./tree-size.ts";
import { type KeptTurn, keptTurnOf, mustNotHaveBegun, withBegun } from "./turn-keys.ts";

export interface FileSessionsOptions {
  /** Path of an open data directory. */
  readonly dataDirectory: string;
  readonly maxPerTenant: number;
  readonly locks: SessionLocks;
  /** Ends what is kept in memory for a session that is about to be deleted, whose lock is held. */
  readonly beforeDelete?: (ref: SessionRef) => Promise<void>;
  /** The one session there may be, where it is only one. */
  readonly single?: SingleSession | null;
}

/** The repair of a transcript that a live process writes to: none. */
const AS_IT_IS = { repairedLines: 0, wasSetAside: false, transcript: undefined };

export class FileSessions implements Sessions {
  readonly #data: string;
  readonly #locks: SessionLocks;
  readonly #counts: SessionCounts;
  readonly #order: SessionOrder;
  readonly #tally = new SessionTally();
  readonly #removal: SessionRemoval;
  readonly #single: SingleSession | null;

  constructor(options: FileSessionsOptions) {
    const { dataDirectory, maxPerTenant, beforeDelete = async () => {}, single = null } = options;
    this.#data = dataDirectory;
    this.#locks = options.locks;
    this.#single = single;
    this.#counts = new SessionCounts({
      maxPerTenant,
      countSessions: (tenant) => countSessions(dataDirectory, tenant),
    });
    this.#order = new SessionOrder({ look: (tenant) => positionsOf(dataDirectory, tenant) });
    const parts = { counts: this.#counts, order: this.#order, tally: this.#tally };
    this.#removal = new SessionRemoval({ dataDirectory, ...parts, beforeDelete, single });
  }

  /** Nobody else writes to the data directory. */
  async claim(): Promise<SessionClaim> {
    return soleClaim();
  }

  async refresh(): Promise<boolean> {
    return true;
  }

  async open(
    input: SessionInput,
    nowMs: number,
    { processStayed = false, transcript: limit }: OpenOptions = {},
  ): Promise<OpenSession> {
    const ref = sessionRefOf(input);
    return storing("open the session", async () => {
      const known = await recordForTurn(this.#data, input, ref, nowMs);
      const record = known ?? (await this.#start(input, ref, nowMs));
      // A turn that is cut off never finishes: its session was used all the same.
      if (known !== undefined) await this.#markUsed(ref, nowMs);
      this.#single?.begun();
      const directories = await makeSessionDirectories(this.#data, ref, processStayed);
      const found = await transcriptFileOf(this.#data, record);
      const repair = processStayed ? AS_IT_IS : found && (await repairTranscript(found));
      const repaired = processStayed ? found : repair?.transcript;
      const mayShorten = !processStayed && limit !== undefined && repaired !== undefined;
      const shortened = mayShorten ? await shortenTranscript(repaired, limit) : null;
      return {
        sessionId: ref.sessionId,
        threadId: record.threadId,
        transcriptId: transcriptIdOf(record),
        isNew: repaired === undefined,
        directories,
        transcriptBytes: shortened?.keptBytes ?? repaired?.bytes ?? 0,
        shortened,
        repairedLines: repair?.repairedLines ?? 0,
        wasSetAside: repair?.wasSetAside ?? false,
      };
    });
  }

  async transcriptBytes(input: SessionInput, nowMs: number): Promise<number> {
    const ref = sessionRefOf(input);
    return storing("read the session", async () => {
      const record = await recordForTurn(this.#data, input, ref, nowMs);
      if (record === undefined) await this.#counts.check(ref.tenant);
      return (record && (await transcriptFileOf(this.#data, record)))?.bytes ?? 0;
    });
  }

  async finish(ref: SessionRef, end: TurnEnd): Promise<void> {
    const own = parseSessionRef(ref);
    await storing("record the turn", async () => {
      const record = await requireRecord(this.#data, own, end.endedAtMs);
      const transcript = await transcriptFileOf(this.#data, record);
      // A turn counts, and must be found again, only if something of it was written.
      const wasWritten = transcript !== undefined && (await hasConversation(transcript));
      const bytes = transcript?.bytes ?? 0;
      await this.#write(recordAfterTurn(record, end, { bytes, wasWritten }));
      this.#tally.grew(own, bytes - record.transcriptBytes);
      if (end.processStays !== true) await removeTree(sessionPathsOf(this.#data, own).tmp);
    });
  }

  async keptTurn(
    ref: SessionRef,
    agentName: string,
    key: Pick<TurnKey, "hash">,
  ): Promise<{ readonly turn: KeptTurn; readonly threadId: string } | undefined> {
    const own = parseSessionRef(ref);
    return storing("read the session", async () => {
      const record = await readRecord(sessionPathsOf(this.#data, own).record, own);
      if (record?.agentName !== agentName) return undefined;
      const turn = keptTurnOf(record.keptTurns, key);
      return turn && { turn, threadId: record.threadId };
    });
  }

  async keepBegun(ref: SessionRef, begun: Omit<KeptTurn, "end">): Promise<void> {
    const own = parseSessionRef(ref);
    await storing("record the turn", async () => {
      const record = await requireRecord(this.#data, own, begun.startedAtMs);
      mustNotHaveBegun(record.keptTurns, begun);
      await this.#write({ ...record, keptTurns: withBegun(record.keptTurns, begun) });
      // Writing it anew has set its time to that of the last turn.
      await this.#markUsed(own, begun.startedAtMs);
    });
  }

  async list(query: SessionQuery): Promise<SessionPage<SessionSummary>> {
    return storing("list the sessions", async () => {
      const page = await listSessions({ dataDirectory: this.#data, order: this.#order }, query);
      return { ...page, sessions: page.sessions.map((record) => this.#summaryOf(record)) };
    });
  }

  async read(ref: SessionRef, nowMs: number): Promise<SessionSummary> {
    const own = parseSessionRef(ref);
    this.#single?.check(own);
    return storing("read the session", async () =>
      this.#summaryOf(await requireRecord(this.#data, own, nowMs)),
    );
  }

  /** What was said in the session. @throws {AppError} `session_not_found`, `session_gone`. */
  async transcript(
    ref: SessionRef,
    nowMs: number,
    limits: TranscriptLimits = TRANSCRIPT_LIMITS,
  ): Promise<Transcript> {
    const own = parseSessionRef(ref);
    return storing("read the transcript", async () => {
      const record = await requireRecord(this.#data, own, nowMs);
      const file = await transcriptFileOf(this.#data, record);
      if (file === undefined) return transcriptOf([], limits);
      return shownTranscript(file.bytes, (fromBytes) => readChunks(file, fromBytes), limits);
    });
  }

  async exported(ref: SessionRef, nowMs: number): Promise<AsyncIterable<Buffer>> {
    const own = parseSessionRef(ref);
    this.#single?.check(own);
    return storing("read the session", async () => {
      const record = await requireRecord(this.#data, own, nowMs);
      const transcripts = await new LocalCopy(this.#data, own).transcripts(record);
      return storingEach("read the session", exportOf(transcripts));
    });
  }

  async delete(ref: SessionRef, nowMs: number): Promise<TreeSize> {
    const own = parseSessionRef(ref);
    using _lock = this.#locks.lock(own);
    return storing("delete the session", async () => {
      mustNotBeOnHold(await holdOf(this.#data, own, nowMs));
      return this.#removal.measureAndRemove(own, nowMs);
    });
  }

  async deleteUnused(
    seen: SessionRef & { readonly lastUseAtMs: number },
    nowMs: number,
  ): Promise<boolean> {
    const own = parseSessionRef(seen);
    using _lock = this.#locks.lock(own);
    return storing("delete the session", async () => {
      const record = await requireRecord(this.#data, own, nowMs);
      const lastUseAtMs = await readLastUse(sessionPathsOf(this.#data, own).record, record);
      if (lastUseAtMs !== seen.lastUseAtMs || record.onHoldSinceMs !== undefined) return false;
      await this.#removal.remove(own, nowMs);
      return true;
    });
  }

  async hold(ref: SessionRef, isOnHold: boolean, nowMs: number): Promise<SessionSummary> {
    const own = parseSessionRef(ref);
    using _lock = this.#locks.lock(own);
    return storing("hold the session", async () => {
      const record = await requireRecord(this.#data, own, nowMs);
      const lastUseAtMs = await readLastUse(sessionPathsOf(this.#data, own).record, record);
      const held = heldRecord(record, isOnHold, nowMs);
      await this.#write(held);
      // Writing it anew has set its time to that of the last turn that came to its end.
      await this.#markUsed(own, lastUseAtMs);
      return { ...this.#summaryOf(held), isBusy: false };
    });
  }

  async count(tenant: string): Promise<number> {
    return storing("count the sessions", () => this.#counts.count(tenant));
  }

  get tallied(): Tallied | null {
    return this.#tally.known;
  }

  scan(options: ScanOptions): AsyncGenerator<readonly (StoredSession | "unreadable")[]> {
    const place = { dataDirectory: this.#data, locks: this.#locks };
    return this.#tally.counting(scanFiles(place, options));
  }

  /** Takes away what there is of a session here, whose lock is held. */
  async discard(ref: SessionRef, nowMs: number): Promise<void> {
    const own = parseSessionRef(ref);
    await storing("remove the session", async () => {
      const { directory } = sessionPathsOf(this.#data, own);
      if ((await ifPresent(stat(directory))) !== undefined) await this.#removal.remove(own, nowMs);
    });
  }

  /**
   * Moves a session on hold, whose lock is held, to `held/`: out of the way of another one of its
   * thread.
   */
  async moveToHeld(held: SessionRef & { readonly createdAtMs: number }): Promise<void> {
    const move = () => this.#removal.moveToHeld(held, held.createdAtMs);
    await storing("keep the session on hold", move);
  }

  /** Makes the directory and the record of a new session. */
  async #start(input: SessionInput, ref: SessionRef, nowMs: number): Promise<SessionRecord> {
    if (input.target.by !== "thread") throw sessionNotFound();
    const paths = sessionPathsOf(this.#data, ref);
    const record = newRecord(ref, input.agentName, input.target.threadId, nowMs);
    await this.#counts.take(ref.tenant);
    let isNew = true;
    try {
      const { tenants } = dataPathsOf(this.#data);
      const segments = sessionSegmentsOf(ref);
      isNew = await makeDirectoriesBelow(tenants, segments.session);
      await makeDirectoriesBelow(tenants, segments.tombstones);
      await this.#write(record);
      await rm(paths.tombstone, { force: true });
    } catch (thrown) {
      if (isNew) {
        await removeTree(paths.directory);
        this.#order.removed(ref.tenant, ref.sessionId);
      }
      await this.#counts.giveBack(ref.tenant);
      throw thrown;
    }
    // What a start that was cut short left behind was counted already.
    if (!isNew) await this.#counts.giveBack(ref.tenant);
    this.#tally.begun(ref);
    return record;
  }

  async #write(record: SessionRecord): Promise<void> {
    await writeRecord(sessionPathsOf(this.#data, record).record, record);
    this.#order.used(record.tenant, record);
  }

  async #markUsed(ref: SessionRef, nowMs: number): Promise<void> {
    await markUsed(sessionPathsOf(this.#data, ref).record, nowMs);
    this.#order.used(ref.tenant, { sessionId: ref.sessionId, lastTurnAtMs: nowMs });
  }

  #summaryOf(record: SessionRecord): SessionSummary {
    return summaryOf(record, this.#locks.isLocked(record));
  }
}
