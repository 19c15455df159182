/**
 * Turns as the rest of the server would emit them, one a scenario.
 *
 * @module
 */

import type { AguiRun } from "../../src/protocol/agui-decode.ts";
import { type AguiFrame, encodeAgui } from "../../src/protocol/agui-encode.ts";
import { unnumbered } from "../../src/protocol/event-id.ts";
import type { TurnEvent, TurnOutcome, TurnUsage } from "../../src/turn/turn.ts";

export const STARTED = {
  type: "turn_started",
  turnId: "0b7e1c1e-0000-4000-8000-000000000001",
  sessionId: "0b7e1c1e-0000-5000-8000-000000000002",
  threadId: "thread-1",
  agentName: "helper",
} as const satisfies TurnEvent;

export const USAGE: TurnUsage = {
  inputTokens: 10,
  outputTokens: 20,
  cacheReadTokens: 300,
  cacheWriteTokens: 4000,
  costUsd: 0.25,
  steps: 2,
  durationMs: 1500,
  firstTokenMs: 300,
  byModel: [
    {
      model: "claude-test",
      inputTokens: 10,
      outputTokens: 20,
      cacheReadTokens: 300,
      cacheWriteTokens: 4000,
      costUsd: 0.25,
    },
  ],
};

export function ended(outcome: TurnOutcome): TurnEvent {
  return { type: "turn_ended", outcome };
}

export function completed(lastText: string, structuredOutput?: unknown): TurnEvent {
  const base = {
    status: "completed",
    usage: USAGE,
    stopReason: "end_turn",
    text: lastText,
  } as const;
  return ended(structuredOutput === undefined ? base : { ...base, structuredOutput });
}

export function text(messageId: string, ...deltas: string[]): TurnEvent[] {
  return [
    { type: "text_started", messageId },
    ...deltas.map((delta): TurnEvent => ({ type: "text_delta", messageId, delta })),
    { type: "text_ended", messageId },
  ];
}

export function reasoning(messageId: string, ...deltas: string[]): TurnEvent[] {
  return [
    { type: "reasoning_started", messageId },
    ...deltas.map((delta): TurnEvent => ({ type: "reasoning_delta", messageId, delta })),
    { type: "reasoning_ended", messageId },
  ];
}

export function toolCall(toolCallId: string, messageId: string, ...input: string[]): TurnEvent[] {
  return [
    { type: "tool_call_started", toolCallId, toolName: "search", serverName: "docs", messageId },
    ...input.map((delta): TurnEvent => ({ type: "tool_call_input_delta", toolCallId, delta })),
    { type: "tool_call_ended", toolCallId },
  ];
}

export function toolResult(toolCallId: string, content: string, isError = false): TurnEvent {
  return { type: "tool_result", toolCallId, content, isError };
}

const cut = text("m1", "Once upon").slice(0, -1);

export const TURNS = {
  text: [STARTED, ...text("m1", "Hel", "lo"), completed("Hello")],
  reasoning: [STARTED, ...reasoning("m1:r0", "Hmm", "."), ...text("m1", "Yes"), completed("Yes")],
  "tool call": [
    STARTED,
    ...text("m1", "Let me look."),
    ...toolCall("t1", "m1", '{"q":', '"x"}'),
    toolResult("t1", "found"),
    ...text("m2", "It is there."),
    completed("It is there."),
  ],
  "parallel tool calls": [
    STARTED,
    ...toolCall("t1", "m1", "{}"),
    ...toolCall("t2", "m1"),
    toolResult("t2", "boom", true),
    toolResult("t1", ""),
    ...text("m2", "Done"),
    completed("Done"),
  ],
  "structured output": [STARTED, completed("", { answer: 42, why: null })],
  notice: [
    STARTED,
    { type: "notice", name: "model_retry", data: { attempt: 1, status: 529, final: false } },
    ...text("m1", "ok"),
    completed("ok"),
  ],
  "limit reached": [
    STARTED,
    ...text("m1", "Half"),
    ended({ status: "limit_reached", usage: USAGE, limit: "steps" }),
  ],
  cancelled: [
    STARTED,
    ...text("m1", "Half"),
    ended({ status: "cancelled", usage: USAGE, cause: "cancel_requested" }),
  ],
  draining: [STARTED, ended({ status: "cancelled", usage: USAGE, cause: "draining" })],
  failed: [
    STARTED,
    ...text("m1", "Half"),
    ended({
      status: "failed",
      usage: USAGE,
      code: "agent_crashed",
      message: "Cannot finish the turn: the agent process ended",
    }),
  ],
  truncated: [STARTED, ...cut],
  empty: [],
} as const satisfies Record<string, readonly TurnEvent[]>;

export type Scenario = keyof typeof TURNS;

export async function* stream(
  events: readonly TurnEvent[],
  thrown?: Error,
): AsyncGenerator<TurnEvent, void, undefined> {
  yield* events;
  if (thrown !== undefined) throw thrown;
}

export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** A run of AG-UI, from events that have no numbers. */
export function aguiFrames(
  events: AsyncIterable<TurnEvent>,
  run: AguiRun,
): AsyncGenerator<AguiFrame, void, undefined> {
  return encodeAgui(unnumbered(events), { turnId: "turn-1", run, report: () => undefined });
}
