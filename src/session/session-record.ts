/**
 * What is kept about a session beside its transcript: `session.json`, replaced after every turn.
 *
 * @module
 */

import { stat, utimes } from "node:fs/promises";
import { z } from "zod";
import { MIB } from "../lib/byte-units.ts";
import { AppError } from "../lib/errors.ts";
import { readRegularFile } from "../lib/regular-file.ts";
import { writeDurably } from "./durable-file.ts";
import type { SessionRef } from "./session-id.ts";
import { ifPresent } from "./storage-errors.ts";
import { mustNotBeNewer, unreadable } from "./stores/readable.ts";
import type { TurnEnd } from "./sessions.ts";
import { KeptTurn, withEnded } from "./turn-keys.ts";

/** Many times what one can have: the answers of its last turns are the most of it. */
const MAX_RECORD_BYTES = 4 * MIB;

const count = z.number().int().nonnegative();

const ModelUsage = z.object({
  model: z.string(),
  inputTokens: count,
  outputTokens: count,
  cacheReadTokens: count,
  cacheWriteTokens: count,
  costUsd: z.number(),
});

/** What was used: by all turns of the session, where it stands in its record. */
const SessionTotals = z.object({ costUsd: z.number(), byModel: z.array(ModelUsage).readonly() });
export type SessionTotals = Readonly<z.infer<typeof SessionTotals>>;

export const NO_TOTALS: SessionTotals = { costUsd: 0, byModel: [] };

/** The totals with what one more turn has used. */
export function addTotals(totals: SessionTotals, used: SessionTotals): SessionTotals {
  const byModel = new Map(totals.byModel.map((usage) => [usage.model, usage]));
  for (const { model, ...more } of used.byModel) {
    const before = byModel.get(model);
    byModel.set(model, {
      model,
      inputTokens: (before?.inputTokens ?? 0) + more.inputTokens,
      outputTokens: (before?.outputTokens ?? 0) + more.outputTokens,
      cacheReadTokens: (before?.cacheReadTokens ?? 0) + more.cacheReadTokens,
      cacheWriteTokens: (before?.cacheWriteTokens ?? 0) + more.cacheWriteTokens,
      costUsd: roundUsd((before?.costUsd ?? 0) + more.costUsd),
    });
  }
  return { costUsd: roundUsd(totals.costUsd + used.costUsd), byModel: [...byModel.values()] };
}

/** Sums carry noise of the last binary digits; a nanodollar is far below what anything costs. */
export function roundUsd(usd: number): number {
  return Math.round(usd * 1e9) / 1e9;
}

const VERSION = 1;

const SessionRecord = z.object({
  version: z.literal(VERSION),
  tenant: z.string(),
  sessionId: z.string(),
  agentName: z.string(),
  threadId: z.string(),
  createdAtMs: count,
  /** When the last turn ended; when the session was made, while none has. */
  lastTurnAtMs: count,
  /** Turns the agent ended with a result. A crashed one is not among them. */
  turns: count,
  transcriptBytes: count,
  totals: SessionTotals,
  /** Claude Code's own id of it, where that is not ours: its first turn ran in a spare. */
  transcriptId: z.uuid().optional(),
  /** Since when it must not be deleted, if it is on hold. */
  onHoldSinceMs: count.optional(),
  /** The last turns that had keys, the newest first. */
  keptTurns: z.array(KeptTurn).readonly().optional(),
});
export type SessionRecord = Readonly<z.infer<typeof SessionRecord>>;

/** What is told of a session among many others: not what its last turns have answered. */
export type ListedRecord = Omit<SessionRecord, "keptTurns">;

export function listedRecordOf({ keptTurns: _keptTurns, ...listed }: SessionRecord): ListedRecord {
  return listed;
}

/** The id under which Claude Code knows the session, and names its transcript. */
export function transcriptIdOf({ sessionId, transcriptId }: SessionRecord): string {
  return transcriptId ?? sessionId;
}

/**
 * The record as a turn has left it.
 *
 * @param transcript Whether something of the turn is in it, and what it takes.
 */
export function recordAfterTurn(
  record: SessionRecord,
  { totals, endedAtMs, keyed }: TurnEnd,
  transcript: { readonly bytes: number; readonly wasWritten: boolean },
): SessionRecord {
  return {
    ...record,
    lastTurnAtMs: endedAtMs,
    turns: record.turns + (totals !== null && transcript.wasWritten ? 1 : 0),
    transcriptBytes: transcript.bytes,
    totals: totals === null ? record.totals : addTotals(record.totals, totals),
    ...(keyed && { keptTurns: withEnded(record.keptTurns, keyed.key, keyed.answer) }),
  };
}

export function newRecord(
  { tenant, sessionId }: SessionRef,
  agentName: string,
  threadId: string,
  nowMs: number,
): SessionRecord {
  return {
    version: VERSION,
    tenant,
    sessionId,
    agentName,
    threadId,
    createdAtMs: nowMs,
    lastTurnAtMs: nowMs,
    turns: 0,
    transcriptBytes: 0,
    totals: NO_TOTALS,
  };
}

/**
 * Undefined when there is none.
 *
 * @throws {AppError} `session_unreadable` for one that is damaged or belongs elsewhere; `session_newer`.
 */
export async function readRecord(
  file: string,
  ref: SessionRef,
): Promise<SessionRecord | undefined> {
  const record = await readAnyRecord(file);
  if (record === undefined) return undefined;
  if (record.tenant === ref.tenant && record.sessionId === ref.sessionId) return record;
  throw recordUnreadable();
}

/** The record in a file, whichever session it is of; undefined when there is none. */
export async function readAnyRecord(file: string): Promise<SessionRecord | undefined> {
  const text = await recordText(file);
  if (text === undefined) return undefined;
  const record = parseRecord(text);
  if (record === undefined) throw recordUnreadable();
  return record;
}

/** What is in the file, whether or not it is a record; undefined when there is none. */
export async function recordText(file: string): Promise<string | undefined> {
  // Tools run as the server's user, and may put anything there.
  return ifPresent(readRegularFile(file, MAX_RECORD_BYTES).then((read) => read ?? ""));
}

/** On hold since now, or since it was; or not on hold. */
export function heldRecord(record: SessionRecord, isOnHold: boolean, nowMs: number): SessionRecord {
  const { onHoldSinceMs, ...rest } = record;
  return isOnHold ? { ...rest, onHoldSinceMs: onHoldSinceMs ?? nowMs } : rest;
}

/** @throws {AppError} `session_on_hold` @param action To follow "Cannot". */
export function mustNotBeOnHold(
  { onHoldSinceMs }: { readonly onHoldSinceMs?: unknown },
  action: "delete" | "replace" = "delete",
): void {
  if (onHoldSinceMs === undefined) return;
  throw new AppError("session_on_hold", `Cannot ${action} the session: it is on hold`);
}

/** The failure for a record that is damaged, or is where it does not belong. */
export function recordUnreadable(): AppError {
  return unreadable("its record");
}

/** The session is used now, whether or not its turn comes to an end that is recorded. */
export async function markUsed(file: string, nowMs: number): Promise<void> {
  await utimes(file, new Date(nowMs), new Date(nowMs));
}

/** When the last turn of a session ended, or the last one began that did not: by its record file. */
export async function readLastUse(
  file: string,
  { lastTurnAtMs }: Pick<SessionRecord, "lastTurnAtMs">,
): Promise<number> {
  return Math.max(lastTurnAtMs, Math.round((await stat(file)).mtimeMs));
}

/** The file's time is the time of the last turn, so that listing need not open every record. */
export async function writeRecord(file: string, record: SessionRecord): Promise<void> {
  await writeDurably(file, `${JSON.stringify(record, null, 2)}\n`, record.lastTurnAtMs);
}

function parseRecord(text: string): SessionRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Damage of any kind is one case to the caller of this function.
    return undefined;
  }
  return recordFrom(value);
}

/** The value as a record; undefined if it is none. @throws {AppError} `session_newer` */
export function recordFrom(value: unknown): SessionRecord | undefined {
  mustNotBeNewer(value, VERSION);
  return SessionRecord.safeParse(value).data;
}
