/**
 * The bytes of AG-UI events: Server-Sent Events, or protobuf for a client that asks for it.
 * What the events say is `agui-encode.ts`, what a client asks is `agui-decode.ts`.
 *
 * @module
 */

import { type AGUIEvent, EventType } from "@ag-ui/core";
import type { AppError } from "../lib/errors.ts";
import { brokenRun } from "./agui-connect.ts";
import type { AguiFrame } from "./agui-encode.ts";
import type { StreamEnding } from "./ending.ts";
import { preferredMediaType } from "./negotiate.ts";
import { encodeSseFrame, SSE_MEDIA_TYPE, type SseFrame } from "./sse.ts";

export type AguiFormat = "sse" | "proto";

/** To be sent as they are: the client compares the protobuf one without looking at parameters. */
export const AGUI_MEDIA_TYPES = {
  sse: SSE_MEDIA_TYPE,
  proto: "application/vnd.ag-ui.event+proto",
} as const satisfies Record<AguiFormat, string>;

/**
 * Keeps a silent `proto` stream open: its frames hold events only, and an empty one is malformed. Of a
 * custom event without a meaning clients make nothing.
 */
export const AGUI_HEARTBEAT: AguiFrame = {
  event: { type: EventType.CUSTOM, name: "heartbeat", value: {} },
};

/** The format the client prefers, `sse` among equals; null when it takes neither. */
export function negotiateAgui(accept: string | undefined): AguiFormat | null {
  const offered = [AGUI_MEDIA_TYPES.sse, AGUI_MEDIA_TYPES.proto];
  const preferred = preferredMediaType(accept, offered);
  if (preferred === null) return null;
  return preferred === AGUI_MEDIA_TYPES.sse ? "sse" : "proto";
}

/** One chunk an event. Protobuf has no place for ids. */
export async function* encodeAguiBytes(
  frames: AsyncIterable<AguiFrame>,
  format: AguiFormat,
): AsyncGenerator<string | Uint8Array, void, undefined> {
  const encode = format === "sse" ? encodeAguiFrame : await loadProtobufEncoder();
  for await (const { event, id } of frames) yield encode(event, id);
}

function encodeAguiFrame(event: AGUIEvent, id: string | undefined): string {
  return encodeSseFrame({ ...(id !== undefined && { id }), data: JSON.stringify(event) });
}

export const AGUI_ENDING: StreamEnding = { isLast: isLastAguiFrame, brokenBy: encodeBrokenRun };

const LAST_TYPES: readonly unknown[] = [EventType.RUN_FINISHED, EventType.RUN_ERROR];

function isLastAguiFrame({ data }: SseFrame): boolean {
  try {
    return LAST_TYPES.includes((JSON.parse(data) as { readonly type?: unknown } | null)?.type);
  } catch {
    return false; // Whatever it is, it ends no run.
  }
}

async function* encodeBrokenRun(error: AppError): AsyncGenerator<string, void, undefined> {
  const { event, id } = brokenRun(error);
  yield encodeAguiFrame(event, id);
}

/** Loaded on demand: hardly any client asks for protobuf. */
async function loadProtobufEncoder(): Promise<(event: AGUIEvent) => Uint8Array> {
  const { EventEncoder } = await import("@ag-ui/encoder");
  const encoder = new EventEncoder({ accept: AGUI_MEDIA_TYPES.proto });
  return (event) => encoder.encodeBinary(event);
}
