/**
 * A session as the lines that Claude Code has of it, a JSON object each: what was cut off when it
 * was shortened, then its transcript, then those of its subagents. Long results of tools that Claude
 * Code keeps as files of their own are no lines, and not among them. Changes nothing.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import type { Transcripts } from "./local-copy.ts";
import { EARLIER_NAME } from "./shorten-transcript.ts";
import { parseObject } from "./transcript-file.ts";

/**
 * The most that is held of a line whose end is not read yet; one that is longer is sent as it comes.
 */
const MAX_HELD_BYTES = MIB;
const NEWLINE = Buffer.from("\n");

/** Read only as fast as it is asked for. */
export async function* exportOf({ paths, load }: Transcripts): AsyncGenerator<Buffer, void> {
  const helpers = paths.filter((path) => path.endsWith(".jsonl") && path !== EARLIER_NAME);
  for (const path of [EARLIER_NAME, "", ...helpers.toSorted()]) {
    if (paths.includes(path)) yield* wholeLines(load(path));
  }
}

/** Without the half line that a crash has left, or that a turn is just writing. */
async function* wholeLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let isHalfSent = false;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    if (end > 0) {
      yield* held;
      yield chunk.subarray(0, end);
      [held, heldBytes, isHalfSent] = [[], 0, false];
    }
    if (end === chunk.length) continue;
    held.push(chunk.subarray(end));
    heldBytes += chunk.length - end;
    if (heldBytes <= MAX_HELD_BYTES) continue;
    yield* held;
    [held, heldBytes, isHalfSent] = [[], 0, true];
  }
  // The next transcript must not go on in its line.
  const lacksNewline =
    isHalfSent || parseObject(Buffer.concat(held).toString("utf8")) !== undefined;
  if (lacksNewline) yield Buffer.concat([...held, NEWLINE]);
}
