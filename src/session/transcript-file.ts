/**
 * The transcript of a session on disk: Claude Code's own JSONL file, found, judged and repaired.
 *
 * Claude Code appends without syncing, so a crash leaves half a line, and a crash in the first
 * moments leaves a file without a message. Such a file fits neither way of starting: a new session
 * is refused because the file exists, a resumed one because it says nothing. Reading the messages
 * is transcript.ts.
 *
 * @module
 */

import {
  constants,
  type FileHandle,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { join, sep } from "node:path";
import { KIB, MIB } from "../lib/byte-units.ts";
import { isObject } from "../lib/is-object.ts";
import { openRegularFile } from "../lib/regular-file.ts";
import type { SessionPaths } from "./session-paths.ts";
import { ifPresent } from "./storage-errors.ts";

export interface TranscriptFile {
  readonly path: string;
  readonly bytes: number;
}

/** What was done so that an agent process can use the transcript. */
export interface TranscriptRepair {
  /** Lines cut off or completed. */
  readonly repairedLines: number;
  /** Whether the file held no message, and was renamed to `.unusable`. */
  readonly wasSetAside: boolean;
}

/** Where to look for the first message; a first turn that crashed leaves far less. */
const HEAD_BYTES = MIB;
const CHUNK_BYTES = 64 * KIB;
/** The most of a torn line that is kept for inspection. */
const MAX_TORN_BYTES = MIB;
/** Where the last message is looked for; a result of a tool may be long. */
const MAX_LOOK_BACK_BYTES = 16 * MIB;
const NEWLINE = 0x0a;

/**
 * The transcript, if there is one. Looked up by name, as the folder between is Claude Code's own
 * rewriting of the working directory; the largest wins, should there ever be two.
 */
export async function findTranscript(
  paths: SessionPaths,
  sessionId: string,
): Promise<TranscriptFile | undefined> {
  const projects = join(paths.config, "projects");
  const folders = (await ifPresent(readdir(projects))) ?? [];
  let found: TranscriptFile | undefined;
  for (const folder of folders) {
    const path = await insideOf(paths.directory, join(projects, folder, `${sessionId}.jsonl`));
    if (path === undefined) continue;
    const bytes = await sizeOf(path);
    if (found === undefined || bytes > found.bytes) found = { path, bytes };
  }
  return found;
}

/** What is no file, whatever the agent has put there, holds nothing. */
async function sizeOf(path: string): Promise<number> {
  const found = await stat(path);
  return found.isFile() ? found.size : 0;
}

/** The real path, undefined where a link planted by the agent leads out of the session. */
export async function insideOf(directory: string, file: string): Promise<string | undefined> {
  const path = await ifPresent(realpath(file));
  if (path === undefined) return undefined;
  return path.startsWith((await realpath(directory)) + sep) ? path : undefined;
}

/** Whether there is a message in it, so that it can and must be resumed. */
export async function hasConversation(transcript: TranscriptFile): Promise<boolean> {
  return hasMessageAfter(transcript, 0);
}

/** Whether a message was written after this position, the beginning of a line. */
export async function hasMessageAfter(
  transcript: TranscriptFile,
  position: number,
): Promise<boolean> {
  if (transcript.bytes <= position) return false;
  await using file = await openRegularFile(transcript.path);
  if (file === undefined) return false;
  const length = Math.min(HEAD_BYTES, transcript.bytes - position);
  const text = (await readAt(file, position, length)).toString("utf8");
  return text.split("\n").some(isMessageLine) || transcript.bytes - position > HEAD_BYTES;
}

/**
 * Cuts off a torn last line, keeping it beside the file, and completes one that only lacks its
 * newline. A transcript without a message is renamed to `.unusable`.
 *
 * @returns Undefined in place of the transcript when none is left.
 */
export async function repairTranscript(
  transcript: TranscriptFile,
): Promise<TranscriptRepair & { readonly transcript: TranscriptFile | undefined }> {
  const repairedLines = await repairTail(transcript.path);
  const repaired = { path: transcript.path, bytes: await sizeOf(transcript.path) };
  if (await hasConversation(repaired)) {
    return { transcript: repaired, repairedLines, wasSetAside: false };
  }
  await rename(repaired.path, `${repaired.path}.unusable`);
  return { transcript: undefined, repairedLines, wasSetAside: true };
}

/**
 * Id of the last message in it; null when none is found near its end. Tells whether somebody wrote
 * to it in the meantime, which its size does not: Claude Code adds notes of its own after a turn.
 */
export async function lastMessageId({ path, bytes }: TranscriptFile): Promise<string | null> {
  await using file = await openRegularFile(path);
  if (file === undefined) return null;
  for (let lookBack = CHUNK_BYTES; ; lookBack *= 4) {
    const start = Math.max(0, bytes - Math.min(lookBack, MAX_LOOK_BACK_BYTES));
    const lines = (await readAt(file, start, bytes - start)).toString("utf8").split("\n");
    for (const line of lines.toReversed()) {
      const entry = parseMessage(line);
      if (entry !== undefined) return String(entry["uuid"]);
    }
    if (start === 0 || lookBack >= MAX_LOOK_BACK_BYTES) return null;
  }
}

/** The number of lines repaired: 0 or 1. */
async function repairTail(path: string): Promise<number> {
  await using file = await openRegularFile(path, constants.O_RDWR);
  if (file === undefined) return 0;
  const { size } = await file.stat();
  const lineEnd = await endOfLastLine(file, size);
  if (lineEnd === size) return 0;

  const tail = await readAt(file, lineEnd, Math.min(size - lineEnd, MAX_TORN_BYTES));
  if (lineEnd + tail.length === size && parseObject(tail.toString("utf8")) !== undefined) {
    await file.write("\n", size);
  } else {
    await rm(`${path}.torn`, { force: true });
    await writeFile(`${path}.torn`, tail, { mode: 0o600, flag: "wx" });
    await file.truncate(lineEnd);
  }
  await file.sync();
  return 1;
}

/** The position after the last newline; 0 without one. */
export async function endOfLastLine(file: FileHandle, size: number): Promise<number> {
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - CHUNK_BYTES);
    const newline = (await readAt(file, start, end - start)).lastIndexOf(NEWLINE);
    if (newline !== -1) return start + newline + 1;
    end = start;
  }
  return 0;
}

/** Shorter than asked for at the end of the file. */
export async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function isMessageLine(line: string): boolean {
  return parseMessage(line) !== undefined;
}

function parseMessage(line: string): Readonly<Record<string, unknown>> | undefined {
  const entry = parseObject(line);
  const isMessage = entry?.["type"] === "user" || entry?.["type"] === "assistant";
  return isMessage && typeof entry["uuid"] === "string" ? entry : undefined;
}

/** The JSON object on a line, or undefined for anything else. */
export function parseObject(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
