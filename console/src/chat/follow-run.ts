/**
 * Reading a run over AG-UI connect: one request, and the frames of its answer. Whoever calls it
 * decides what becomes of a stream that breaks.
 *
 * @module
 */

import { EventSourceParserStream } from "eventsource-parser/stream";
import { send } from "../access/api.ts";
import type { AguiEvent, NumberedAguiEvent } from "./agui-events.ts";

export interface Following {
  readonly agent: string;
  readonly threadId: string;
  readonly runId: string;
  /** Of the last frame that was read; null for all of it, with what was said before. */
  readonly lastEventId: string | null;
  readonly signal: AbortSignal;
}

/** A place before the first event of a turn, from where all of it comes and nothing before it. */
export function beforeFirstEvent(turnId: string): string {
  return `${turnId.slice(0, 8)}-0`;
}

/**
 * The events of the run, as they come. Ends where the stream ends, which is no sign that the run has.
 *
 * @throws {ApiError} For any answer but a run; what `fetch` throws, when the network breaks.
 */
export async function* followRun(following: Following): AsyncGenerator<NumberedAguiEvent, void> {
  const { agent, threadId, runId, lastEventId, signal } = following;
  const response = await send(`/v1/agents/${encodeURIComponent(agent)}/agui/connect`, {
    method: "POST",
    headers: {
      accept: "text/event-stream",
      ...(lastEventId !== null && { "last-event-id": lastEventId }),
    },
    body: { threadId, runId, protocolVersion: "1.0.0", messages: [] },
    signal,
  });
  if (response.body === null) return;
  yield* aguiEventsOf(response.body);
}

/** Frames that are no JSON are passed over: a proxy may have put them there. */
export async function* aguiEventsOf(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<NumberedAguiEvent, void> {
  const frames = body
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream());
  const reader = frames.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const event = eventOf(value.data);
      if (event !== null) yield { id: value.id ?? null, event };
    }
  } finally {
    // Also when the consumer stops early: the connection is one of six that a page has.
    await reader.cancel().catch(() => {});
  }
}

function eventOf(data: string): AguiEvent | null {
  try {
    const value: unknown = JSON.parse(data);
    const isEvent = typeof value === "object" && value !== null && "type" in value;
    return isEvent ? (value as AguiEvent) : null;
  } catch {
    return null;
  }
}
