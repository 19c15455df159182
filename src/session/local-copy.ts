/**
 * What one replica has of a session that is kept in a store: the files that Claude Code reads and
 * writes. They are a copy that may be behind, or ahead by what a turn has just written.
 *
 *     <session>/store.json      with which state of the store the copy agreed
 *     <session>/superseded/     what was ahead when the store had moved on; one, the last
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { hasCode } from "../lib/errors.ts";
import { readRegularFile } from "../lib/regular-file.ts";
import {
  bytesIn,
  type ComparedFiles,
  filesBelow,
  isBeginningOf,
  lookAtFile,
  MAX_STEP_BYTES,
  tailOf,
  writeAll,
} from "./copy-files.ts";
import {
  makeDirectoriesBelow,
  makeDirectoryDeep,
  syncDirectory,
  writeDurably,
} from "./durable-file.ts";
import { removeTree } from "./remove-tree.ts";
import { sessionNotFound, type SessionRef } from "./session-id.ts";
import { transcriptFileOf } from "./session-lookup.ts";
import { dataPathsOf, RECORD_NAME, sessionPathsOf, sessionSegmentsOf } from "./session-paths.ts";
import {
  readLastUse,
  readRecord,
  type SessionRecord,
  transcriptIdOf,
  writeRecord,
} from "./session-record.ts";
import { EARLIER_NAME } from "./shorten-transcript.ts";
import { ifPresent } from "./storage-errors.ts";
import { createdAtMsOf } from "./stored-record.ts";
import { stateOf } from "./stores/pieces.ts";
import { transcriptBytesOf, pathsOf, type SessionHead } from "./stores/session-head.ts";
import type { Tail } from "./stores/session-log.ts";
import { hasMessageAfter, insideOf, type TranscriptFile } from "./transcript-file.ts";

const MAX_MARK_BYTES = 4_096;

const count = z.number().int().nonnegative();
const Mark = z.object({
  version: z.literal(2),
  /** When the session began: a thread that was deleted and began anew is another one. */
  createdAtMs: count,
  /** The state of the store's transcripts, by `stateOf` of `pieces.ts`. */
  state: z.string(),
  bytes: count,
});
export type Mark = Readonly<z.infer<typeof Mark>>;

/** Whether a copy with this mark is what the store has. */
export function isMarkOf(mark: Mark | null, head: SessionHead): boolean {
  const createdAtMs = createdAtMsOf(head);
  return mark !== null && mark.createdAtMs === createdAtMs && mark.state === stateOf(head);
}

/** Bytes of one transcript; see `SessionHead.pieces` for the paths. */
export type LoadPath = (path: string) => AsyncIterable<Buffer>;

export interface Transcripts {
  readonly paths: readonly string[];
  readonly load: LoadPath;
}

export class LocalCopy {
  readonly #data: string;
  readonly #ref: SessionRef;

  /** @param ref Whose id has passed `parseSessionRef`. */
  constructor(dataDirectory: string, ref: SessionRef) {
    this.#data = dataDirectory;
    this.#ref = ref;
  }

  /** From now on the copy is known to have all that the store has. */
  async mark(head: SessionHead): Promise<void> {
    const createdAtMs = createdAtMsOf(head) ?? 0;
    const mark: Mark = {
      version: 2,
      createdAtMs,
      state: stateOf(head),
      bytes: transcriptBytesOf(head),
    };
    await writeDurably(this.#markFile, `${JSON.stringify(mark)}\n`);
  }

  /**
   * The mark of the head that the copy agreed with last; null when it never did, or that is not
   * known.
   */
  async readMark(): Promise<Mark | null> {
    const text = await ifPresent(readRegularFile(this.#markFile, MAX_MARK_BYTES));
    if (text === undefined) return null;
    try {
      return Mark.parse(JSON.parse(text));
    } catch {
      // Whatever happened to it: the copy is made anew.
      return null;
    }
  }

  /**
   * When the session of which it is a copy began: that tells it from another one of the thread. By its
   * record where it has no mark, as of one that was moved to `superseded/`, or cut off while it was made anew.
   */
  async createdAtMs(): Promise<number | undefined> {
    return (await this.readMark())?.createdAtMs ?? (await this.record())?.createdAtMs;
  }

  /** When the session was last used here, by `readLastUse`. */
  async lastUseAtMs(record: SessionRecord): Promise<number> {
    return readLastUse(this.#paths.record, record);
  }

  /** The record beside the transcript; undefined while there is no copy, or none that can be read. */
  async record(): Promise<SessionRecord | undefined> {
    return readRecord(this.#paths.record, this.#ref).catch(() => undefined);
  }

  /** The record, where there must be one. @throws {AppError} `session_not_found` */
  async requireRecord(): Promise<SessionRecord> {
    const record = await this.record();
    if (record === undefined) throw sessionNotFound();
    return record;
  }

  /**
   * The same, where it matters why there is none: undefined for none, and for one that is damaged.
   *
   * @throws {AppError} `session_newer`; and what the file system throws.
   */
  async intactRecord(): Promise<SessionRecord | undefined> {
    try {
      return await readRecord(this.#paths.record, this.#ref);
    } catch (thrown) {
      if (hasCode(thrown, "session_unreadable")) return undefined;
      throw thrown;
    }
  }

  async writeRecord(record: SessionRecord): Promise<void> {
    await this.#makeDirectories();
    await writeRecord(this.#paths.record, record);
    await rm(this.#paths.tombstone, { force: true });
  }

  /**
   * What the copy has beyond the store, whole lines of transcripts, and which of its files are gone;
   * at most so much as one step may be, or a little more.
   *
   * @param hasAll Whether the turn began with all that the store had: what is not there was then
   *   removed in it, and not lost in a power cut.
   * @param compared Files that need not be read again while they are what they were.
   */
  async tails(
    record: SessionRecord,
    head: SessionHead,
    hasAll: boolean,
    compared?: ComparedFiles,
  ): Promise<{ readonly tails: readonly Tail[]; readonly isAll: boolean }> {
    const gone = await this.#goneOf(record, head, hasAll);
    const tails: Tail[] = gone.map((path) => ({ path, fromBytes: 0, chunks: [] }));
    let bytes = 0;
    for (const { path, file } of await this.#files(record)) {
      if (bytes >= MAX_STEP_BYTES) return { tails, isAll: false };
      const tail = await tailOf(file, path, head, compared);
      if (tail === null) continue;
      tails.push(tail);
      bytes += tail.chunks.reduce((sum, { length }) => sum + length, 0);
    }
    return { tails, isAll: bytes < MAX_STEP_BYTES };
  }

  /**
   * Makes the copy that of the store, where it is not. What it had beyond that is moved to
   * `superseded/`.
   *
   * @returns Whether anything was moved there.
   */
  async matchStore(record: SessionRecord, head: SessionHead, load: LoadPath): Promise<boolean> {
    const mark = await this.readMark();
    if (isMarkOf(mark, head) && !(await this.hasLostAnEnd(record, head, load))) {
      await this.keep(record);
      return false;
    }
    const wasAhead = await this.#isAhead(record, mark, load);
    await this.replace(record, { paths: pathsOf(head), load }, wasAhead);
    await this.mark(head);
    return wasAhead;
  }

  /** Takes over the record alone: a process has the files, and they are those of the store. */
  async keep(record: SessionRecord): Promise<void> {
    await this.writeRecord(await this.#ownOf(record));
  }

  /** Whether a file of the copy has less than the mark vouches for, or is none any more. */
  async hasLostAnEnd(record: SessionRecord, head: SessionHead, load: LoadPath): Promise<boolean> {
    return this.#haveLostAnEnd(pathsOf(head), await this.#ownOf(record), head, load);
  }

  /**
   * Makes the copy a session with these transcripts. Writes the transcripts first and the record last, so
   * that a crash in between leaves no session, rather than one without its transcript; where there was a
   * session, it leaves that without its mark, and the copy is made once more. The transcripts are written
   * where a start finds nothing.
   *
   * @param keepsOld Moves what there was to `superseded/`.
   */
  async replace(
    record: SessionRecord,
    { paths, load }: Transcripts,
    keepsOld = false,
  ): Promise<void> {
    const { directory } = this.#paths;
    const { tenants, run } = dataPathsOf(this.#data);
    // Without its root there is nothing to write to.
    await stat(tenants);
    const draft = join(run, "copies", randomUUID());
    try {
      await makeDirectoryDeep(draft);
      const folder = join(draft, PROJECTS, FOLDER);
      const id = transcriptIdOf(record);
      for (const path of paths) await writeAll(join(folder, fileNameOf(id, path)), load(path));
      if ((await ifPresent(stat(directory))) === undefined) await this.#place(draft, record);
      else await this.#put(join(draft, PROJECTS), record, keepsOld);
    } finally {
      await removeTree(draft).catch(() => {});
    }
  }

  /** Makes the draft the session, at once: what has no record is seen by nobody, a sweep neither. */
  async #place(draft: string, record: SessionRecord): Promise<void> {
    const { directory, tombstone } = this.#paths;
    await writeRecord(join(draft, RECORD_NAME), record);
    await this.#makeDirectories();
    await rename(draft, directory);
    await syncDirectory(dirname(directory));
    await rm(tombstone, { force: true });
  }

  /** Puts these into the session that is there. */
  async #put(draft: string, record: SessionRecord, keepsOld: boolean): Promise<void> {
    const { config } = this.#paths;
    if (keepsOld) await this.moveToSuperseded();
    // Without the mark, a crash from here on has the copy made once more.
    await rm(this.#markFile, { force: true });
    const projects = join(config, "projects");
    await removeTree(projects);
    await makeDirectoryDeep(config);
    if ((await ifPresent(stat(draft))) !== undefined) await rename(draft, projects);
    await this.writeRecord(record);
  }

  /** Moves its transcripts to `superseded/`, where a person may find them, and has the copy made anew. */
  async moveToSuperseded(): Promise<void> {
    const { directory, config } = this.#paths;
    await rm(this.#markFile, { force: true });
    const projects = join(config, "projects");
    // Where this was cut short before, what was moved then is all there is.
    if ((await ifPresent(stat(projects))) === undefined) return;
    const superseded = join(directory, "superseded");
    await removeTree(superseded);
    await rename(projects, superseded);
  }

  /** All that there is of it beside the record. What it loads throws `session_gone` once it is shortened. */
  async transcripts(record: SessionRecord): Promise<Transcripts> {
    // Before anything is looked for: what is cut off it later may not be there yet, or is read already.
    const main = await transcriptFileOf(this.#data, record);
    const before = main && (await ifPresent(stat(main.path)));
    const files = new Map((await this.#files(record)).map(({ path, file }) => [path, file]));
    return {
      paths: [...files.keys()],
      load: (path) => bytesIn(files.get(path) ?? "", path === "" ? before : undefined),
    };
  }

  /** Whether the copy's transcript is a mere beginning of what the store has. */
  async isBehind(record: SessionRecord, head: SessionHead, load: LoadPath): Promise<boolean> {
    return transcriptBytesOf(head) > 0 && this.#haveLostAnEnd([""], record, head, load);
  }

  /** Whether the store has all that the copy's transcript says, be it followed by more. */
  async isWithin(record: SessionRecord, load: LoadPath): Promise<boolean> {
    const transcript = await transcriptFileOf(this.#data, (await this.record()) ?? record);
    return transcript === undefined || isBeginningOf(transcript.path, "", load(""));
  }

  async #makeDirectories(): Promise<void> {
    const { tenants } = dataPathsOf(this.#data);
    const { session, tombstones } = sessionSegmentsOf(this.#ref);
    await makeDirectoriesBelow(tenants, session);
    await makeDirectoriesBelow(tenants, tombstones);
  }

  /**
   * Whether a file of the copy is a mere beginning of what the store has: Claude Code does not sync
   * what it writes, so a power cut takes what the mark, which is synced, still vouches for. A
   * transcript that was shortened for its agent, or changed by hand, says something else.
   */
  async #haveLostAnEnd(
    paths: readonly string[],
    record: SessionRecord,
    head: SessionHead,
    load: LoadPath,
  ): Promise<boolean> {
    const main = await transcriptFileOf(this.#data, record);
    for (const path of paths) {
      const file = main && (path === "" ? main.path : join(besideOf(main, record), path));
      const bytes = file === undefined ? "nothing" : await lookAtFile(file);
      if (file === undefined || typeof bytes === "string") return true;
      if (bytes < transcriptBytesOf(head, path) && (await isBeginningOf(file, path, load(path))))
        return true;
    }
    return false;
  }

  /** Whether the copy has messages of a turn whose end did not reach the store. */
  async #isAhead(record: SessionRecord, mark: Mark | null, load: LoadPath): Promise<boolean> {
    const transcript = await transcriptFileOf(this.#data, (await this.record()) ?? record);
    if (transcript === undefined) return false;
    const markBytes = mark?.bytes ?? 0;
    // One that was shortened since, or lost its end, is another one from its beginning.
    const fromBytes = transcript.bytes < markBytes ? 0 : markBytes;
    // The store may have them all the same: what it answered was lost.
    return (await hasMessageAfter(transcript, fromBytes)) && !(await this.isWithin(record, load));
  }

  /** Paths that the store has of what is not there any more. */
  async #goneOf(record: SessionRecord, head: SessionHead, hasAll: boolean): Promise<string[]> {
    const main = await transcriptFileOf(this.#data, record);
    // Without its transcript a session is no session: it has lost that, and perhaps all.
    if (main === undefined) return [];
    const gone: string[] = [];
    for (const path of pathsOf(head)) {
      if (path === "") continue;
      const found = await lookAtFile(join(besideOf(main, record), path));
      if (found === "another" || (found === "nothing" && hasAll)) gone.push(path);
    }
    return gone;
  }

  /** A turn that was cut off here may have begun a transcript whose name the store has not heard. */
  async #ownOf(record: SessionRecord): Promise<SessionRecord> {
    const { transcriptId } = { ...record, ...(await this.record()) };
    return { ...record, ...(transcriptId !== undefined && { transcriptId }) };
  }

  async #files(record: SessionRecord): Promise<readonly { path: string; file: string }[]> {
    const main = await transcriptFileOf(this.#data, record);
    if (main === undefined) return [];
    const beside = besideOf(main, record);
    const found = [{ path: "", file: main.path }];
    for (const path of await filesBelow(beside)) {
      const file = await insideOf(this.#paths.directory, join(beside, path));
      if (file === undefined) continue;
      // What was cut off comes before what it was cut off from: should a store hear of one alone, it has all.
      if (path === EARLIER_NAME) found.unshift({ path, file });
      else found.push({ path, file });
    }
    return found;
  }

  get #paths() {
    return sessionPathsOf(this.#data, this.#ref);
  }

  get #markFile(): string {
    return join(this.#paths.directory, "store.json");
  }
}

/** Claude Code looks for a transcript in every folder there is, and goes on writing where it is. */
const FOLDER = "restored";
/** Where its folders are, in the directory of a session. */
const PROJECTS = join("config", "projects");

function fileNameOf(transcriptId: string, path: string): string {
  return path === "" ? `${transcriptId}.jsonl` : join(transcriptId, path);
}

/** The directory of the files that belong to a transcript. */
function besideOf(main: TranscriptFile, record: SessionRecord): string {
  return join(dirname(main.path), transcriptIdOf(record));
}
