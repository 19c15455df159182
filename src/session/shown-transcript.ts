/**
 * The part of a transcript that is shown, from wherever it is kept. It is read a piece at a time, so
 * that only the messages of it are ever whole in memory.
 *
 * @module
 */

import { KIB, MIB } from "../lib/byte-units.ts";
import { openRegularFile } from "../lib/regular-file.ts";
import { readAt, type TranscriptFile } from "./transcript-file.ts";
import {
  type Transcript,
  TRANSCRIPT_LIMITS,
  type TranscriptLimits,
  transcriptOf,
} from "./transcript.ts";

/** The most that is read: its last part. */
const MAX_SHOWN_BYTES = 32 * MIB;
const CHUNK_BYTES = 256 * KIB;
const NEWLINE = 0x0a;

/** @param load Its bytes from a position on. */
export async function shownTranscript(
  bytes: number,
  load: (fromBytes: number) => AsyncIterable<Buffer>,
  limits: TranscriptLimits = TRANSCRIPT_LIMITS,
): Promise<Transcript> {
  const fromBytes = Math.max(0, bytes - MAX_SHOWN_BYTES);
  const transcript = await transcriptOf(linesOf(load(fromBytes), fromBytes), limits);
  return { ...transcript, isComplete: transcript.isComplete && fromBytes === 0 };
}

/** The bytes of a file from this position on. */
export async function* readChunks(
  { path, bytes }: TranscriptFile,
  position: number,
): AsyncGenerator<Buffer, void> {
  await using file = await openRegularFile(path);
  if (file === undefined) return;
  for (let at = position; at < bytes; at += CHUNK_BYTES) {
    yield await readAt(file, at, Math.min(CHUNK_BYTES, bytes - at));
  }
}

/**
 * The lines of a part of a transcript, also a last one that is not complete.
 *
 * @param fromBytes Where the part begins: beyond 0 its first line would be half a line, and is left
 *   out.
 */
export async function* linesOf(
  chunks: AsyncIterable<Buffer>,
  fromBytes: number,
): AsyncGenerator<string, void> {
  let isHalf = fromBytes > 0;
  let held: Buffer[] = [];
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(NEWLINE);
    if (end === -1) {
      held.push(chunk);
      continue;
    }
    const whole = Buffer.concat([...held, chunk.subarray(0, end)]);
    held = [chunk.subarray(end + 1)];
    const lines = whole.toString("utf8").split("\n");
    yield* isHalf ? lines.slice(1) : lines;
    isHalf = false;
  }
  if (!isHalf) yield Buffer.concat(held).toString("utf8");
}
