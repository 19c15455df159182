/**
 * The record of a session in the head that a store has of it, and what is said where there is none.
 * Pure.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import { AppError } from "../lib/errors.ts";
import type { TurnKey } from "../turn/turn.ts";
import { type SessionInput, sessionNotFound, type SessionRef, sessionRefOf } from "./session-id.ts";
import { newRecord, recordFrom, type SessionRecord } from "./session-record.ts";
import { type LogKey, ownerOf } from "./stores/names.ts";
import { unreadable } from "./stores/readable.ts";
import { transcriptBytesOf, hasSession, type SessionHead } from "./stores/session-head.ts";
import { TOMBSTONE_AGE_MS } from "./tombstones.ts";
import { withoutKey } from "./turn-keys.ts";

/** Under which a session is in its store. */
export function logKeyOf({ tenant, sessionId }: SessionRef): LogKey {
  return { owner: ownerOf("tenant", tenant), sessionId };
}

/**
 * @throws {AppError} `session_gone` when it was deleted, `session_not_found`, `session_unreadable`,
 *   `session_newer`.
 */
export function recordOf(
  head: SessionHead,
  { tenant, sessionId }: SessionRef,
  nowMs: number,
): SessionRecord {
  if (head.deletedAtMs !== undefined) throw deletedAt(head.deletedAtMs, nowMs);
  if (head.record === null) throw sessionNotFound();
  const record = recordFrom(head.record);
  if (record?.tenant === tenant && record.sessionId === sessionId) return record;
  throw unreadable("its record");
}

/** Tells a session from one of the same thread before it; undefined where there is none. */
export function createdAtMsOf({ record }: SessionHead): number | undefined {
  return recordFrom(record)?.createdAtMs;
}

/**
 * The record of a session that this turn may begin.
 *
 * @param cleared The head as it was when nothing else was left of the session.
 * @throws {AppError} `session_gone`, `session_not_found`; `session_busy` when it was begun and
 *   deleted since it was cleared.
 */
export function recordToBegin(
  head: SessionHead,
  cleared: SessionHead,
  input: SessionInput,
  nowMs: number,
): SessionRecord {
  const { target, agentName } = input;
  const { deletedAtMs } = head;
  if (target.by !== "thread" || target.expectsHistory) {
    throw deletedAtMs === undefined ? sessionNotFound() : deletedAt(deletedAtMs, nowMs);
  }
  if (deletedAtMs !== undefined && head.fence !== cleared.fence) {
    const message = "Cannot use the session: it is being deleted";
    throw new AppError("session_busy", message, { retryAfterSeconds: 1 });
  }
  return newRecord(sessionRefOf(input), agentName, target.threadId, nowMs);
}

/**
 * Bytes of the transcript that a turn resumes; null for a session that it may begin.
 *
 * @throws {AppError} `session_gone`, `session_not_found`, `session_unreadable`, `session_newer`.
 */
export function bytesToResume(
  head: SessionHead,
  input: SessionInput,
  nowMs: number,
): number | null {
  if (!hasSession(head)) {
    recordToBegin(head, head, input, nowMs);
    return null;
  }
  const { agentName } = recordOf(head, sessionRefOf(input), nowMs);
  if (agentName !== input.agentName) throw sessionNotFound();
  return transcriptBytesOf(head);
}

/**
 * The head with what a turn made of the record, or the same one if it has that already; whether it is on
 * hold is for the store to say.
 */
export function withRecord(head: SessionHead, record: SessionRecord): SessionHead {
  const { onHoldSinceMs: _onHoldSinceMs, ...own } = record;
  const onHoldSinceMs = recordFrom(head.record)?.onHoldSinceMs;
  const next = onHoldSinceMs === undefined ? own : { ...own, onHoldSinceMs };
  return isDeepStrictEqual(head.record, next) ? head : { ...head, record: next };
}

/** The record without a turn that has not begun after all. */
export function withoutTurn(record: SessionRecord, key: Pick<TurnKey, "hash">): SessionRecord {
  return { ...record, keptTurns: withoutKey(record.keptTurns, key) };
}

function deletedAt(deletedAtMs: number, nowMs: number): AppError {
  if (nowMs - deletedAtMs >= TOMBSTONE_AGE_MS) return sessionNotFound();
  return new AppError("session_gone", "Cannot use the session: it was deleted");
}
