/**
 * A transcript that has grown beyond what its agent may carry: each turn that resumes it takes
 * about 12 MiB of memory for each MiB, and longer to start. It is cut to its last part, where that
 * is a conversation of its own, and what comes before is kept beside it.
 *
 *     at the last summary   Claude Code has put one in place of what came before, and tells the
 *                           model no more than that: nothing is lost to it
 *     at a question         of the user, where there is no summary: the model forgets what was
 *                           said before
 *
 * @module
 */

import { constants, type FileHandle, open, readdir, rename, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { TranscriptLimit } from "../agent/definition.ts";
import { KIB } from "../lib/byte-units.ts";
import { AppError } from "../lib/errors.ts";
import { isObject } from "../lib/is-object.ts";
import { openRegularFile } from "../lib/regular-file.ts";
import { makeDirectory, syncDirectory } from "./durable-file.ts";
import { removeTree } from "./remove-tree.ts";
import { ifPresent, storageFailed } from "./storage-errors.ts";
import { parseObject, readAt, type TranscriptFile } from "./transcript-file.ts";

export interface Shortened {
  readonly keptBytes: number;
  readonly droppedBytes: number;
  readonly at: "summary" | "question";
}

/** How much of the limit is kept, so that it is not reached again with the next turn. */
const KEPT_RATIO = 0.5;
const CHUNK_BYTES = 256 * KIB;

/** @throws {AppError} `transcript_too_large` where it is, and is not to be shortened. */
export function checkTranscriptSize(bytes: number, { maxBytes, whenFull }: TranscriptLimit): void {
  if (bytes > maxBytes && whenFull === "refuse") throw tooLarge();
}

/**
 * Shortens the transcript, if it is too large. No process may be using it.
 *
 * @returns What was done; null where nothing was to be done.
 * @throws {AppError} `transcript_too_large` when it is to be refused, or has no place to be cut at:
 *   the file is as it was.
 */
export async function shortenTranscript(
  transcript: TranscriptFile,
  limit: TranscriptLimit,
): Promise<Shortened | null> {
  if (transcript.bytes <= limit.maxBytes) return null;
  checkTranscriptSize(transcript.bytes, limit);
  await using file = await openRegularFile(transcript.path);
  if (file === undefined) return null;
  const cut = await findCut(file, transcript.bytes, Math.floor(limit.maxBytes * KEPT_RATIO));
  if (cut === null) throw tooLarge();
  await undoAttempts(transcript.path);
  try {
    const draft = draftOf(transcript.path, await sizeOf(earlierFileOf(transcript.path)));
    const keptBytes = await writeKept(file, draft, cut, transcript.bytes);
    await keepDropped(file, earlierFileOf(transcript.path), cut.startBytes);
    await rename(draft, transcript.path);
    await syncDirectory(dirname(transcript.path));
    return { keptBytes, droppedBytes: cut.startBytes, at: cut.at };
  } catch (thrown) {
    // What cannot be undone now is by the next attempt.
    await undoAttempts(transcript.path).catch(() => {});
    throw thrown;
  }
}

/**
 * What is kept of the transcript, until it takes its place. Its name says how much there was of what
 * was dropped before: an attempt that fails, or is killed, has perhaps added to that.
 */
function draftOf(transcriptPath: string, earlierBytes: number): string {
  return `${transcriptPath}.${earlierBytes}.shortened`;
}

/** Takes away what attempts have left that did not come to their end. */
async function undoAttempts(transcriptPath: string): Promise<void> {
  const [folder, beginning] = [dirname(transcriptPath), `${basename(transcriptPath)}.`];
  for (const name of await readdir(folder)) {
    const [, bytes] = (name.startsWith(beginning) && /\.(\d{1,15})\.shortened$/.exec(name)) || [];
    if (bytes === undefined) continue;
    await cutTo(earlierFileOf(transcriptPath), Number(bytes));
    await removeTree(join(folder, name));
  }
}

async function cutTo(path: string, bytes: number): Promise<void> {
  await using file = await ifPresent(openRegularFile(path, constants.O_RDWR));
  if (file === undefined || (await file.stat()).size <= bytes) return;
  await file.truncate(bytes);
  await file.sync();
}

async function sizeOf(path: string): Promise<number> {
  return (await ifPresent(stat(path)))?.size ?? 0;
}

/** The name of the file with what was dropped, beside those of subagents. */
export const EARLIER_NAME = "earlier.jsonl";

/** Where what was dropped is kept: with what Claude Code has beside the transcript. */
export function earlierFileOf(transcriptPath: string): string {
  return join(dirname(transcriptPath), basename(transcriptPath, ".jsonl"), EARLIER_NAME);
}

interface Cut {
  readonly startBytes: number;
  /** The line that is there, which becomes the root of what is kept. */
  readonly line: string;
  readonly lineBytes: number;
  readonly at: Shortened["at"];
}

/** The last summary in the last so many bytes, else the first question in them. */
async function findCut(file: FileHandle, bytes: number, keepBytes: number): Promise<Cut | null> {
  let question: Cut | null = null;
  let summary: Cut | null = null;
  for await (const { line, startBytes, lineBytes } of linesFrom(file, bytes - keepBytes, bytes)) {
    const entry = parseObject(line);
    if (entry === undefined) continue;
    const here = { startBytes, line, lineBytes };
    if (isSummaryBoundary(entry)) summary = { ...here, at: "summary" };
    else if (question === null && isQuestion(entry)) question = { ...here, at: "question" };
  }
  return summary ?? question;
}

interface Line {
  readonly line: string;
  readonly startBytes: number;
  /** Without its newline. */
  readonly lineBytes: number;
}

/** Whole lines that begin after this position. */
async function* linesFrom(
  file: FileHandle,
  position: number,
  endBytes: number,
): AsyncGenerator<Line, void, undefined> {
  let rest = Buffer.alloc(0);
  let restStart = position;
  let isFirst = true;
  for (let at = position; at < endBytes; at += CHUNK_BYTES) {
    const chunk = await readAt(file, at, Math.min(CHUNK_BYTES, endBytes - at));
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(0x0a); end !== -1; end = rest.indexOf(0x0a)) {
      // The first one may be half a line.
      if (!isFirst) {
        yield { line: rest.toString("utf8", 0, end), startBytes: restStart, lineBytes: end };
      }
      isFirst = false;
      rest = rest.subarray(end + 1);
      restStart += end + 1;
    }
  }
}

/** What Claude Code writes before a summary: the root of what it tells the model from then on. */
function isSummaryBoundary(entry: Readonly<Record<string, unknown>>): boolean {
  return entry["type"] === "system" && entry["subtype"] === "compact_boundary";
}

/** What the user said, and not a tool's result or Claude Code in the user's name. */
function isQuestion(entry: Readonly<Record<string, unknown>>): boolean {
  if (entry["type"] !== "user" || entry["isSidechain"] === true || entry["isMeta"] === true) {
    return false;
  }
  const { message } = entry;
  const content = isObject(message) ? message["content"] : undefined;
  if (typeof content === "string") return true;
  if (!Array.isArray(content)) return false;
  return !content.some((block) => isObject(block) && block["type"] === "tool_result");
}

async function writeKept(
  file: FileHandle,
  path: string,
  { startBytes, line, lineBytes }: Cut,
  endBytes: number,
): Promise<number> {
  await using draft = await open(path, "wx", 0o600);
  // Nothing of it points to what is not there.
  const root = { ...parseObject(line), parentUuid: null };
  await draft.writeFile(`${JSON.stringify(root)}\n`);
  await copyRange(file, draft, startBytes + lineBytes + 1, endBytes);
  await draft.sync();
  // Before anything is added to what was dropped before.
  await syncDirectory(dirname(path));
  return (await draft.stat()).size;
}

async function keepDropped(file: FileHandle, path: string, endBytes: number): Promise<void> {
  await makeDirectory(dirname(path));
  const { O_WRONLY, O_APPEND, O_CREAT } = constants;
  await using earlier = await openRegularFile(path, O_WRONLY | O_APPEND | O_CREAT);
  if (earlier === undefined) throw storageFailed("keep what is cut off the transcript");
  await copyRange(file, earlier, 0, endBytes);
  await earlier.sync();
}

async function copyRange(
  from: FileHandle,
  to: FileHandle,
  startBytes: number,
  endBytes: number,
): Promise<void> {
  for (let at = startBytes; at < endBytes; at += CHUNK_BYTES) {
    await to.writeFile(await readAt(from, at, Math.min(CHUNK_BYTES, endBytes - at)));
  }
}

function tooLarge(): AppError {
  return new AppError(
    "transcript_too_large",
    "Cannot continue the session: its transcript is larger than the agent may carry",
  );
}
