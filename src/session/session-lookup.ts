/**
 * Whether a session exists, and what to say when it does not. Changes nothing.
 *
 * @module
 */

import { stat } from "node:fs/promises";
import { AppError, hasCode } from "../lib/errors.ts";
import { type SessionInput, sessionNotFound, type SessionRef } from "./session-id.ts";
import { dataPathsOf, sessionPathsOf } from "./session-paths.ts";
import { readRecord, recordText, type SessionRecord, transcriptIdOf } from "./session-record.ts";
import { saysHold } from "./stores/damaged-head.ts";
import { hasTombstone } from "./tombstones.ts";
import { findTranscript, hasConversation, type TranscriptFile } from "./transcript-file.ts";

/**
 * The record of a session that must exist.
 *
 * @throws {AppError} `session_not_found`; `session_gone` when it was deleted.
 */
export async function requireRecord(
  dataDirectory: string,
  ref: SessionRef,
  nowMs: number,
): Promise<SessionRecord> {
  const paths = sessionPathsOf(dataDirectory, ref);
  const record = await readRecord(paths.record, ref);
  if (record !== undefined) return record;
  // Without its root nothing is known: that is the operator's trouble, not a missing session.
  await stat(dataPathsOf(dataDirectory).tenants);
  if (!(await hasTombstone(paths.tombstone, nowMs))) throw sessionNotFound();
  throw new AppError("session_gone", "Cannot use the session: it was deleted");
}

/**
 * Whether a session is on hold, for whoever deletes it: of one whose record cannot be read any more, as
 * far as that is there to see. A limit never deletes such a one, as it may be worth a rescue.
 *
 * @throws {AppError} As {@link requireRecord}, but for `session_unreadable`.
 */
export async function holdOf(
  dataDirectory: string,
  ref: SessionRef,
  nowMs: number,
): Promise<Pick<SessionRecord, "onHoldSinceMs">> {
  try {
    return await requireRecord(dataDirectory, ref, nowMs);
  } catch (thrown) {
    if (!hasCode(thrown, "session_unreadable")) throw thrown;
    const text = (await recordText(sessionPathsOf(dataDirectory, ref).record)) ?? "";
    return saysHold(text) ? { onHoldSinceMs: nowMs } : {};
  }
}

/**
 * The record a turn continues; undefined where it may start the session.
 *
 * @throws {AppError} As {@link requireRecord}; also `session_gone` when turns were finished
 *   whose transcript is lost: starting anew would hide that from the client.
 */
export async function recordForTurn(
  dataDirectory: string,
  { agentName, target }: SessionInput,
  ref: SessionRef,
  nowMs: number,
): Promise<SessionRecord | undefined> {
  const paths = sessionPathsOf(dataDirectory, ref);
  // A client without history asks for a fresh start, also under a name it used before.
  const mayStart = target.by === "thread" && !target.expectsHistory;
  const record = mayStart
    ? await readRecord(paths.record, ref)
    : await requireRecord(dataDirectory, ref, nowMs);
  if (record === undefined) return undefined;
  if (record.agentName !== agentName) throw sessionNotFound();
  if (record.turns > 0 && !(await hasHistory(dataDirectory, record))) {
    throw new AppError("session_gone", "Cannot continue the session: its transcript is lost");
  }
  return record;
}

async function hasHistory(dataDirectory: string, record: SessionRecord): Promise<boolean> {
  const transcript = await transcriptFileOf(dataDirectory, record);
  return transcript !== undefined && (await hasConversation(transcript));
}

/** The transcript of a session, if there is one yet. */
export async function transcriptFileOf(
  dataDirectory: string,
  record: SessionRecord,
): Promise<TranscriptFile | undefined> {
  return findTranscript(sessionPathsOf(dataDirectory, record), transcriptIdOf(record));
}

/** The transcript of a session that may not be there; undefined also where it cannot be read. */
export async function transcriptIfAny(
  dataDirectory: string,
  ref: SessionRef,
): Promise<TranscriptFile | undefined> {
  try {
    const record = await readRecord(sessionPathsOf(dataDirectory, ref).record, ref);
    return record && (await transcriptFileOf(dataDirectory, record));
  } catch {
    return undefined;
  }
}
