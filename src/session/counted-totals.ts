/**
 * What Claude Code has counted of a session, as it wrote it down itself. A process that ends in order
 * appends its running totals to the transcript, and one that resumes it counts from the last of them
 * there: what others used that were killed, or have not yet ended, is not in it.
 *
 * @module
 */

import type { FileHandle } from "node:fs/promises";
import { z } from "zod";
import { KIB, MIB } from "../lib/byte-units.ts";
import { openRegularFile } from "../lib/regular-file.ts";
import { NO_TOTALS, type SessionTotals } from "./session-record.ts";
import { parseObject, readAt, type TranscriptFile } from "./transcript-file.ts";

/** Begins such a line. Within one the quotes would be escaped, and without a newline before them. */
const LINE_START = Buffer.from('\n{"type":"cost-state",');
/** Parts of a file that is searched from its end: mostly the line is in the first of them. */
const CHUNK_BYTES = MIB;
/** A line has some hundred bytes for each model. */
const MAX_LINE_BYTES = 64 * KIB;

const tokens = z.number().int().nonnegative();
const usd = z.number().nonnegative();
const CostState = z.object({
  totalCostUSD: usd,
  modelUsage: z.record(
    z.string(),
    z.object({
      inputTokens: tokens,
      outputTokens: tokens,
      cacheReadInputTokens: tokens,
      cacheCreationInputTokens: tokens,
      costUSD: usd,
    }),
  ),
});

/** From which a process counts that resumes the transcript as it is. */
export async function countedIn({ path, bytes }: TranscriptFile): Promise<SessionTotals> {
  await using file = await openRegularFile(path);
  if (file === undefined) return NO_TOTALS;
  for (let end = bytes; end > 0;) {
    const start = Math.max(0, end - CHUNK_BYTES);
    // A line that begins in this chunk may go on in the next.
    const chunk = await readAt(file, start, end - start + LINE_START.length - 1);
    for (let at = chunk.lastIndexOf(LINE_START); at !== -1; at = lastBefore(chunk, at)) {
      const counted = await totalsAt(file, start + at + 1);
      if (counted !== null) return counted;
    }
    end = start;
  }
  return NO_TOTALS;
}

function lastBefore(chunk: Buffer, at: number): number {
  return at === 0 ? -1 : chunk.lastIndexOf(LINE_START, at - 1);
}

/** Null for a line that Claude Code would not take either. */
async function totalsAt(file: FileHandle, position: number): Promise<SessionTotals | null> {
  const [line = ""] = (await readAt(file, position, MAX_LINE_BYTES))
    .toString("utf8")
    .split("\n", 1);
  const { data } = CostState.safeParse(parseObject(line));
  if (data === undefined) return null;
  return totalsFrom(data.totalCostUSD, data.modelUsage);
}

type CountedUsage = Readonly<z.infer<typeof CostState>["modelUsage"]>;

/** Totals as Claude Code names them, in a transcript or a result. */
export function totalsFrom(costUsd: number, modelUsage: CountedUsage): SessionTotals {
  const byModel = Object.entries(modelUsage).map(([model, usage]) => ({
    model,
    inputTokens: usage.inputTokens,
    outputTokens: usage.outputTokens,
    cacheReadTokens: usage.cacheReadInputTokens,
    cacheWriteTokens: usage.cacheCreationInputTokens,
    costUsd: usage.costUSD,
  }));
  return { costUsd, byModel };
}
