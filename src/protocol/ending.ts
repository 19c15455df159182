/**
 * Holds the one promise that every event stream makes to its reader: it ends with exactly one
 * `turn_ended`, because several clients take a stream that merely stops for a success.
 *
 * @module
 */

import { AppError, toAppError } from "../lib/errors.ts";
import type { TurnEvent, TurnUsage } from "../turn/turn.ts";
import type { NumberedEvent } from "./event-id.ts";
import type { SseFrame } from "./sse.ts";

/** Told what went wrong, for the log; the reader of the stream only sees an `internal` error. */
export type ReportError = (error: AppError) => void;

/** How the Server-Sent Events of a protocol end: for whoever passes on a stream that may break off. */
export interface StreamEnding {
  /** Whether nothing comes after this frame. */
  readonly isLast: (frame: SseFrame) => boolean;
  /** The end of a stream that broke off where nothing else of it is known. */
  readonly brokenBy: (error: AppError) => AsyncIterable<string | Uint8Array>;
}

/**
 * Passes the events on until `turn_ended`. When the source throws or stops before it, the end is
 * a failure with the code of the error; what comes after the end is dropped.
 */
export async function* withOneEnding(
  events: AsyncIterable<NumberedEvent>,
  report: ReportError,
): AsyncGenerator<NumberedEvent, void, undefined> {
  let isEnded = false;
  try {
    for await (const numbered of events) {
      if (isEnded) continue;
      isEnded = numbered.event.type === "turn_ended";
      yield numbered;
    }
    if (!isEnded) throw new AppError("internal", "Cannot finish the turn: its events just stopped");
  } catch (thrown) {
    const error = toAppError(thrown);
    report(error);
    if (!isEnded) yield { id: null, event: failedEnding(error) };
  }
}

export function failedEnding(error: AppError): TurnEvent {
  const { code, message } = error;
  return { type: "turn_ended", outcome: { status: "failed", usage: UNKNOWN_USAGE, code, message } };
}

const UNKNOWN_USAGE: TurnUsage = {
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  costUsd: 0,
  steps: 0,
  durationMs: 0,
  firstTokenMs: null,
  byModel: [],
};
