/**
 * The files of a copy, one at a time: what they have beyond a store, or less than it, and how they are
 * read and written. Which they are, and what becomes of them, is `local-copy.ts`.
 *
 * @module
 */

import type { BigIntStats, Stats } from "node:fs";
import { type FileHandle, lstat, open, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MIB } from "../lib/byte-units.ts";
import { errnoOf } from "../lib/errno.ts";
import { AppError } from "../lib/errors.ts";
import { openRegularFile } from "../lib/regular-file.ts";
import { makeDirectoryDeep } from "./durable-file.ts";
import { ifPresent } from "./storage-errors.ts";
import { chunksOf, hashOf, writeStartOf } from "./stores/pieces.ts";
import {
  transcriptBytesOf,
  type Piece,
  piecesOf,
  type SessionHead,
} from "./stores/session-head.ts";
import type { Tail } from "./stores/session-log.ts";
import { endOfLastLine, readAt } from "./transcript-file.ts";

/** The most that is read, and written to the store, in one step; of a tool's result, at all. */
export const MAX_STEP_BYTES = 32 * MIB;
/** Files beside the transcript that are kept with it: of subagents, and long results of tools. */
const MAX_FILES = 2_000;
const MAX_DEPTH = 4;

/** Where a file ends that may be written to: of lines, after the last whole one. */
async function endOf(file: FileHandle, name: string, size: number): Promise<number> {
  return isOfLines(name) ? endOfLastLine(file, size) : size;
}

function isOfLines(name: string): boolean {
  return name === "" || name.endsWith(".jsonl");
}

/** So long after the last change of a file, another one has another time, however coarse these are. */
const SETTLED_MS = 2_000;

/** Files that were found to be what the store has: not read again while nobody has written to them. */
export class ComparedFiles {
  readonly #found = new Map<string, { stat: BigIntStats; pieces: readonly Piece[] }>();

  has(name: string, now: BigIntStats, pieces: readonly Piece[]): boolean {
    const found = this.#found.get(name);
    // Whoever sets the one time cannot set the other.
    const isSame = (["ino", "size", "mtimeNs", "ctimeNs"] as const).every(
      (key) => found?.stat[key] === now[key],
    );
    return isSame && found?.pieces === pieces;
  }

  /** @param stat As it was before the file was read. */
  add(name: string, stat: BigIntStats, pieces: readonly Piece[]): void {
    const changedAtMs = Number(stat.mtimeMs > stat.ctimeMs ? stat.mtimeMs : stat.ctimeMs);
    if (Date.now() - changedAtMs < SETTLED_MS) return;
    // Names of files that are long gone.
    if (this.#found.size >= 2 * MAX_FILES) this.#found.clear();
    this.#found.set(name, { stat, pieces });
  }
}

/** Null when the store has all of it, and nothing else. */
export async function tailOf(
  path: string,
  name: string,
  head: SessionHead,
  compared?: ComparedFiles,
): Promise<Tail | null> {
  await using file = await openRegularFile(path);
  if (file === undefined) return null;
  const found = await file.stat({ bigint: true });
  const pieces = piecesOf(head, name);
  if (compared?.has(name, found, pieces) === true) return null;
  const size = Number(found.size);
  const endBytes = await endOf(file, name, size);
  if (!isOfLines(name) && size > MAX_STEP_BYTES) return null;
  const storedBytes = transcriptBytesOf(head, name);
  const sameBytes = await sameBytesOf(file, endBytes, pieces);
  if (sameBytes === endBytes && sameBytes === storedBytes) {
    compared?.add(name, found, pieces);
    return null;
  }
  const fromBytes = Math.min(sameBytes, writeStartOf(head, name));
  const bytes = await readAt(file, fromBytes, Math.min(endBytes - fromBytes, MAX_STEP_BYTES));
  return { path: name, fromBytes, chunks: chunksOf(bytes) };
}

/**
 * How much of what is stored is at the beginning of the file, in whole pieces. Mostly all: but a
 * transcript may have been begun anew, cut, or changed by hand, and what is there is the truth.
 */
async function sameBytesOf(
  file: FileHandle,
  endBytes: number,
  pieces: readonly Piece[],
): Promise<number> {
  let sameBytes = 0;
  for (const { bytes, hash } of pieces) {
    if (sameBytes + bytes > endBytes) break;
    if (hashOf(await readAt(file, sameBytes, bytes)) !== hash) break;
    sameBytes += bytes;
  }
  return sameBytes;
}

/** Whether these bytes begin with what the file has: its whole lines, if it is of lines. */
export async function isBeginningOf(
  path: string,
  name: string,
  chunks: AsyncIterable<Buffer>,
): Promise<boolean> {
  await using file = await openRegularFile(path);
  if (file === undefined) return true;
  const endBytes = await endOf(file, name, (await file.stat()).size);
  let sameBytes = 0;
  for await (const chunk of chunks) {
    const part = chunk.subarray(0, endBytes - sameBytes);
    if (!part.equals(await readAt(file, sameBytes, part.length))) return false;
    sameBytes += part.length;
    if (sameBytes === endBytes) return true;
  }
  return sameBytes === endBytes;
}

/** The size of a file; else whether there is nothing of that name, or something that is none. */
export async function lookAtFile(path: string): Promise<number | "nothing" | "another"> {
  try {
    const found = await ifPresent(lstat(path));
    if (found === undefined) return "nothing";
    return found.isFile() ? found.size : "another";
  } catch (thrown) {
    // What should be a directory above it is a file by now, or a link to itself.
    if (["ENOTDIR", "ELOOP"].includes(errnoOf(thrown) ?? "")) return "another";
    throw thrown;
  }
}

/** Regular files below a directory, as paths with `/`; bounded. */
export async function filesBelow(directory: string, depth = 1): Promise<string[]> {
  const entries = (await ifPresent(readdir(directory, { withFileTypes: true }))) ?? [];
  const found: string[] = [];
  for (const entry of entries) {
    if (found.length >= MAX_FILES) break;
    // No object that was read from JSON has it.
    if (entry.name === "__proto__") continue;
    if (entry.isFile()) found.push(entry.name);
    else if (entry.isDirectory() && depth < MAX_DEPTH) {
      const below = await filesBelow(join(directory, entry.name), depth + 1);
      found.push(...below.map((path) => `${entry.name}/${path}`));
    }
  }
  return found.slice(0, MAX_FILES);
}

/**
 * @param before As the file was when it was found, if nothing may have been taken away from it since.
 * @throws {AppError} `session_gone` if something was.
 */
export async function* bytesIn(path: string, before?: Stats): AsyncGenerator<Buffer> {
  await using file = await openRegularFile(path);
  if (file === undefined) return;
  if (before !== undefined) mustHaveAll(await file.stat(), before);
  for await (const chunk of file.createReadStream({ autoClose: false })) yield chunk as Buffer;
}

function mustHaveAll(now: Stats, before: Stats): void {
  // The number of a file that is gone may be given once more.
  if (now.ino === before.ino && now.size >= before.size) return;
  throw new AppError(
    "session_gone",
    "Cannot read the session: its transcript was shortened meanwhile",
  );
}

export async function writeAll(path: string, chunks: AsyncIterable<Buffer>): Promise<void> {
  await makeDirectoryDeep(dirname(path));
  await using file = await open(path, "wx", 0o600);
  for await (const chunk of chunks) await file.writeFile(chunk);
  await file.sync();
}
