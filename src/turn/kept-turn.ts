/**
 * A turn of which only the end is kept: its outcome and what it said last, from the session's
 * record, or from memory when its events are gone.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import type { Sessions as AllSessions } from "../session/sessions.ts";
import { sessionRefOf, type SessionRef } from "../session/session-id.ts";
import { type KeptTurn, outcomeOfKept } from "../session/turn-keys.ts";
import type { TurnEvent, TurnKey, TurnOutcome, TurnRequest } from "./turn.ts";
import { keyReused } from "./turn-key.ts";

/** What a turn that ran before is answered with, to whoever asks for it again. */
export interface ReplayedTurn {
  readonly turnId: string;
  readonly sessionId: string;
  readonly threadId: string;
  readonly agentName: string;
  readonly outcome: TurnOutcome;
  /** The last message; empty if there is none, or it is not kept any more. */
  readonly text: string;
  readonly messageId: string;
  /** Not all of the answer is here. */
  readonly isCut: boolean;
}

type Sessions = Pick<AllSessions, "keptTurn">;

/**
 * What came of the request when it ran before, on whatever replica; null if it has not, or if that
 * is not for us to say without the session's lock.
 *
 * @throws {AppError} `idempotency_key_reused`, `storage_failed`.
 */
export async function replayedTurnOf(
  { caller, agentName, session: target, key }: TurnRequest,
  sessions: Sessions,
): Promise<ReplayedTurn | null> {
  if (key === undefined) return null;
  const ref = sessionRefOf({ tenant: caller.tenant, agentName, target });
  const found = await sessions.keptTurn(ref, agentName, key);
  if (found === undefined) return null;
  const { turn, threadId } = found;
  if (turn.inputHash !== key.inputHash) throw keyReused();
  if (turn.end === undefined) return null;
  const { text, messageId, isCut = false } = turn.end;
  const { sessionId } = ref;
  const outcome = outcomeOfKept(turn.end);
  return { turnId: turn.turnId, sessionId, threadId, agentName, outcome, text, messageId, isCut };
}

/**
 * Sees to it that no turn of the key has run. Whoever calls holds the lock of the session, so none
 * runs now.
 *
 * @throws {AppError} `idempotency_key_reused`; `turn_cut_off` for a turn whose server ended before
 *   it did; `session_busy` for one that has just ended elsewhere.
 */
export async function checkHasNotRun(
  ref: SessionRef,
  agentName: string,
  key: TurnKey,
  sessions: Sessions,
): Promise<void> {
  const found = await sessions.keptTurn(ref, agentName, key);
  if (found !== undefined) throw hasRun(found.turn, key);
}

function hasRun({ turnId, inputHash, end }: KeptTurn, key: TurnKey): AppError {
  if (inputHash !== key.inputHash) return keyReused();
  if (end !== undefined) {
    const message = "Cannot start the turn: the one of this key has just ended";
    return new AppError("session_busy", message, { retryAfterSeconds: 1 });
  }
  return new AppError("turn_cut_off", "Cannot start the turn: the one of this key was cut off", {
    extensions: { turnId },
  });
}

/** The least that a reader has to hear of it. */
export function eventsOfReplayed(turn: ReplayedTurn): TurnEvent[] {
  const { turnId, sessionId, threadId, agentName, outcome, text, messageId } = turn;
  const said: TurnEvent[] =
    text === ""
      ? []
      : [
          { type: "text_started", messageId },
          { type: "text_delta", messageId, delta: text },
          { type: "text_ended", messageId },
        ];
  return [
    { type: "turn_started", turnId, sessionId, threadId, agentName },
    ...said,
    { type: "turn_ended", outcome },
  ];
}
