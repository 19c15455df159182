/**
 * What the journal has to know of an event: what it opens or ends, and what it costs to hold.
 *
 * @module
 */

import type { TurnEvent } from "./turn.ts";

/** What an event costs beside its text. */
const EVENT_OVERHEAD_BYTES = 128;

export function isStart({ type }: TurnEvent): boolean {
  return type.endsWith("_started");
}

export function isEnd({ type }: TurnEvent): boolean {
  return type.endsWith("_ended");
}

/** The same for the start, the content and the end of one thing. */
export function keyOf(event: TurnEvent): string {
  const kind = event.type.replace(/_(?:started|delta|input_delta|ended)$/, "");
  if ("toolCallId" in event) return `${kind} ${event.toolCallId}`;
  return "messageId" in event ? `${kind} ${event.messageId}` : kind;
}

/** About the bytes an event holds: its texts at two bytes a character. */
export function sizeOf(event: TurnEvent): number {
  return EVENT_OVERHEAD_BYTES + 2 * lengthOf(event);
}

function lengthOf(event: TurnEvent): number {
  if ("delta" in event) return event.delta.length;
  if (event.type === "tool_result") return event.content.length;
  if (event.type !== "turn_ended" || event.outcome.status !== "completed") return 0;
  const { text, structuredOutput } = event.outcome;
  return text.length + (JSON.stringify(structuredOutput) ?? "").length;
}
