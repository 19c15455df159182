/**
 * What the streams of turns have in common, whatever protocol they speak.
 *
 * @module
 */

import { AppError, type ErrorCode } from "../lib/errors.ts";
import {
  AGUI_HEARTBEAT,
  AGUI_MEDIA_TYPES,
  type AguiFormat,
  encodeAguiBytes,
} from "../protocol/agui.ts";
import type { AguiRun } from "../protocol/agui-decode.ts";
import { type AguiFrame, type AguiStream, encodeAgui } from "../protocol/agui-encode.ts";
import type { ReportError } from "../protocol/ending.ts";
import { type NumberedEvent, unnumbered } from "../protocol/event-id.ts";
import { encodeRestEvents } from "../protocol/rest.ts";
import {
  SSE_HEARTBEAT,
  SSE_MEDIA_TYPE,
  withHeartbeat,
  withHeartbeatOnceBegun,
} from "../protocol/sse.ts";
import { eventsOfReplayed } from "../turn/kept-turn.ts";
import type { RequestContext } from "./route.ts";
import type { ServerParts } from "./server-parts.ts";
import { afterHead, sendStream } from "./stream-reply.ts";
import type { Attached, Ended, Read } from "./turn-asking.ts";

/** What starting a turn can be refused with. */
export const ADMISSION_ERRORS: readonly ErrorCode[] = [
  "invalid_request",
  "agent_not_found",
  "session_not_found",
  "turn_not_found",
  "session_gone",
  "events_expired",
  "not_acceptable",
  "session_busy",
  "turn_cut_off",
  "other_session",
  "idempotency_key_reused",
  "payload_too_large",
  "unsupported_media_type",
  "request_timeout",
  "at_capacity",
  "too_many_streams",
  "too_many_readers",
  "too_many_sessions",
  "draining",
  "not_ready",
  "storage_full",
  "storage_failed",
  "store_unavailable",
  "session_unreadable",
  "session_newer",
  "transcript_too_large",
  "replica_unavailable",
];

/** What asking for a turn that another replica runs can be refused with. */
export const ELSEWHERE_ERRORS: readonly ErrorCode[] = [
  "too_many_readers",
  "draining",
  "replica_unavailable",
  "store_unavailable",
];

/** Sends a turn as our own events, from where its client had come to. */
export function sendRestEvents(
  parts: ServerParts,
  { reply }: RequestContext,
  asked: Attached | Ended | Read,
  gone: AbortSignal,
): unknown {
  if (asked.is === "done") return reply.status(204).send();
  const { turnId } = asked.is === "ended" ? asked.turn : asked.reader.turn.request;
  const frames = encodeRestEvents(entriesOf(asked), turnId, reporter(parts, turnId, gone));
  return sendStream(reply, SSE_MEDIA_TYPE, afterHead(reply, beating(parts, frames, gone)));
}

/** Sends a turn as the events of a run of AG-UI. */
export function sendAguiEvents(
  parts: ServerParts,
  context: RequestContext,
  asked: Attached | Ended | Read,
  stream: AguiSending & { readonly run: AguiRun },
): unknown {
  if (asked.is === "done") return context.reply.status(204).send();
  const { run, gone } = stream;
  const { turnId } = asked.is === "ended" ? asked.turn : asked.reader.turn.request;
  const report = reporter(parts, turnId, gone);
  const resume = resumeOf(asked);
  const options = { turnId, run, report, ...(resume !== null && { resume }) };
  return sendAguiFrames(parts, context, encodeAgui(entriesOf(asked), options), stream);
}

interface AguiSending {
  readonly format: AguiFormat;
  readonly gone: AbortSignal;
}

export function sendAguiFrames(
  parts: ServerParts,
  { reply }: RequestContext,
  frames: AsyncIterable<AguiFrame>,
  { format, gone }: AguiSending,
): unknown {
  const { heartbeatMs } = parts.config.http;
  const chunks =
    format === "sse"
      ? afterHead(reply, beating(parts, encodeAguiBytes(frames, format), gone))
      : encodeAguiBytes(withHeartbeatOnceBegun(frames, heartbeatMs, AGUI_HEARTBEAT, gone), format);
  return sendStream(reply, AGUI_MEDIA_TYPES[format], chunks);
}

function entriesOf(asked: Attached | Ended): AsyncIterable<NumberedEvent> {
  return asked.is === "ended" ? unnumbered(eventsOfReplayed(asked.turn)) : asked.reader.entries();
}

function resumeOf(asked: Attached | Ended): NonNullable<AguiStream["resume"]> | null {
  if (asked.is === "ended") return null;
  const { reader, place } = asked;
  if (place.after === 0 && place.parts === 0) return null;
  return { before: reader.turn.journal.standInFor(place.after), parts: place.parts };
}

export function reporter(
  { telemetry }: ServerParts,
  turnId: string,
  gone: AbortSignal,
): ReportError {
  return (err) => {
    // Where nobody reads, events stop before the turn has ended: nothing to report.
    if (gone.aborted) return;
    const fields = { err, turnId };
    if (err.spec.fault === "caller") telemetry.log.info(fields, "A reader of a turn is cut off");
    else telemetry.log.error(fields, "Cannot finish the stream of a turn");
  };
}

export function beating<Chunk extends string | Uint8Array>(
  { config }: ServerParts,
  chunks: AsyncIterable<Chunk>,
  gone: AbortSignal,
): AsyncIterable<Chunk | string> {
  return withHeartbeat<Chunk | string>(chunks, config.http.heartbeatMs, SSE_HEARTBEAT, gone);
}

export function notAcceptable(offered: string): AppError {
  return new AppError("not_acceptable", `Cannot answer as asked: the turn comes as ${offered}`);
}
