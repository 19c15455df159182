/**
 * Our events to those of AG-UI 1.0.
 *
 *     RUN_STARTED ─▶ text, reasoning, tool calls, results, notices ─▶ RUN_FINISHED │ RUN_ERROR
 *
 * Emits what both clients take, 1.0 and 0.0.59; the exceptions are in `agui-0-0-59.ts`.
 *
 * @module
 */

import {
  type AGUIEvent,
  EventType,
  type Metadata,
  PROTOCOL_VERSION,
  type RunErrorEvent,
  type RunFinishedEvent,
  type TokenUsage,
} from "@ag-ui/core";
import { ERRORS, type ErrorCode } from "../lib/errors.ts";
import { promptTokens } from "../lib/tokens.ts";
import type { ModelUsage, TurnEvent, TurnOutcome, TurnUsage } from "../turn/turn.ts";
import { cancelledEndBefore1, isBefore1 } from "./agui-0-0-59.ts";
import type { AguiRun } from "./agui-decode.ts";
import { toolResultId } from "./agui-messages.ts";
import { type ReportError, withOneEnding } from "./ending.ts";
import { eventIdOf, type NumberedEvent } from "./event-id.ts";

/** An event as it is sent. One that only the stream has, such as its own failure, has no id. */
export interface AguiFrame {
  readonly event: AGUIEvent;
  readonly id?: string;
}

export interface AguiStream {
  readonly turnId: string;
  readonly run: AguiRun;
  readonly report: ReportError;
  /** Where the stream goes on that was cut; from the beginning without it. */
  readonly resume?: {
    /** Leave the encoder as if it had seen all that came before the first event. */
    readonly before: readonly TurnEvent[];
    /** Frames of the first event that were read. */
    readonly parts: number;
  };
}

/**
 * The events of a run. Exactly one `RUN_FINISHED` or `RUN_ERROR` comes last, also when the source
 * throws or breaks off: clients take a stream that merely stops for a success.
 */
export async function* encodeAgui(
  events: AsyncIterable<NumberedEvent>,
  { turnId, run, report, resume }: AguiStream,
): AsyncGenerator<AguiFrame, void, undefined> {
  const encoder = new AguiEncoder(run);
  for (const event of resume?.before ?? []) encoder.encode(event);
  let toSkip = resume?.parts ?? 0;
  for await (const { id, event } of withOneEnding(events, report)) {
    const frames = encoder.encode(event);
    for (const [index, frame] of frames.entries()) {
      // Of the frames of one event only the last says that it was read whole.
      const isLast = index === frames.length - 1;
      const place = isLast
        ? { after: id ?? 0, parts: 0 }
        : { after: (id ?? 0) - 1, parts: index + 1 };
      const named = id === null ? {} : { id: eventIdOf(turnId, place) };
      // The stream's own failure is news in any case.
      if (index >= toSkip || id === null) yield { event: frame, ...named };
    }
    toSkip = 0;
  }
}

/**
 * Holds, for any sequence of events:
 * - `RUN_STARTED` is the first event, and there is one;
 * - what was started is ended once, and before the run is;
 * - no delta is empty, and nothing is started that has no content;
 * - after the end of the run there is nothing.
 */
class AguiEncoder {
  readonly #run: AguiRun;
  #isStarted = false;
  #isEnded = false;
  /** What ends the things that are open now. */
  readonly #open = new Map<string, readonly AGUIEvent[]>();

  constructor(run: AguiRun) {
    this.#run = run;
  }

  encode(event: TurnEvent): readonly AGUIEvent[] {
    if (this.#isEnded) return [];
    if (this.#isStarted) return event.type === "turn_started" ? [] : this.#encodeNext(event);
    this.#isStarted = true;
    const start = this.#runStarted();
    if (event.type !== "turn_started") return [start, ...this.#encodeNext(event)];
    const { turnId, sessionId, agentName } = event;
    return [{ ...start, metadata: { turnId, sessionId, agentName } }];
  }

  #encodeNext(event: Exclude<TurnEvent, { type: "turn_started" }>): readonly AGUIEvent[] {
    switch (event.type) {
      case "text_started":
      case "reasoning_started":
        return []; // Started with the first delta, as there may be none.
      case "text_delta":
        return this.#textDelta(event.messageId, event.delta);
      case "reasoning_delta":
        return this.#reasoningDelta(event.messageId, event.delta);
      case "text_ended":
        return this.#end(`text ${event.messageId}`);
      case "reasoning_ended":
        return this.#end(`reasoning ${event.messageId}`);
      case "tool_call_started":
        return this.#toolCallStarted(event);
      case "tool_call_input_delta": {
        const { toolCallId, delta } = event;
        if (delta === "" || !this.#open.has(`tool call ${toolCallId}`)) return [];
        return [{ type: EventType.TOOL_CALL_ARGS, toolCallId, delta }];
      }
      case "tool_call_ended":
        return this.#end(`tool call ${event.toolCallId}`);
      case "tool_result":
        return [...this.#end(`tool call ${event.toolCallId}`), toolResult(event)];
      case "notice":
        return [{ type: EventType.CUSTOM, name: `plimsoll:${event.name}`, value: event.data }];
      case "turn_ended":
        this.#isEnded = true;
        return [...[...this.#open.values()].flat(), runEnd(event.outcome, this.#run)];
    }
  }

  #runStarted(): AGUIEvent {
    const { threadId, runId } = this.#run;
    return { type: EventType.RUN_STARTED, threadId, runId, protocolVersion: PROTOCOL_VERSION };
  }

  #textDelta(messageId: string, delta: string): AGUIEvent[] {
    if (delta === "") return [];
    const start = this.#start(
      `text ${messageId}`,
      [{ type: EventType.TEXT_MESSAGE_START, messageId, role: "assistant" }],
      [{ type: EventType.TEXT_MESSAGE_END, messageId }],
    );
    return [...start, { type: EventType.TEXT_MESSAGE_CONTENT, messageId, delta }];
  }

  #reasoningDelta(messageId: string, delta: string): AGUIEvent[] {
    if (delta === "") return [];
    const start = this.#start(
      `reasoning ${messageId}`,
      [
        { type: EventType.REASONING_START, messageId },
        { type: EventType.REASONING_MESSAGE_START, messageId, role: "reasoning" },
      ],
      [
        { type: EventType.REASONING_MESSAGE_END, messageId },
        { type: EventType.REASONING_END, messageId },
      ],
    );
    return [...start, { type: EventType.REASONING_MESSAGE_CONTENT, messageId, delta }];
  }

  #toolCallStarted(event: Extract<TurnEvent, { type: "tool_call_started" }>): AGUIEvent[] {
    const { toolCallId, toolName, messageId, serverName } = event;
    const start: AGUIEvent = {
      type: EventType.TOOL_CALL_START,
      toolCallId,
      toolCallName: toolName,
      parentMessageId: messageId,
      ...(serverName !== undefined && { metadata: { serverName } }),
    };
    const end: AGUIEvent = { type: EventType.TOOL_CALL_END, toolCallId };
    return this.#start(`tool call ${toolCallId}`, [start], [end]);
  }

  #start(key: string, start: AGUIEvent[], end: AGUIEvent[]): AGUIEvent[] {
    if (this.#open.has(key)) return [];
    this.#open.set(key, end);
    return start;
  }

  #end(key: string): readonly AGUIEvent[] {
    const end = this.#open.get(key) ?? [];
    this.#open.delete(key);
    return end;
  }
}

function toolResult(event: Extract<TurnEvent, { type: "tool_result" }>): AGUIEvent {
  const { toolCallId, content, isError } = event;
  return {
    type: EventType.TOOL_CALL_RESULT,
    messageId: toolResultId(toolCallId),
    toolCallId,
    content,
    role: "tool",
    ...(isError && { metadata: { isError } }),
  };
}

/**
 * AG-UI has no outcome for a turn that used up its steps or budget: what the user asked for was
 * not done, so it is an error, `limit_reached`. So is a turn ended by a drain: nobody cancelled it.
 */
function runEnd(outcome: TurnOutcome, run: AguiRun): RunFinishedEvent | RunErrorEvent {
  switch (outcome.status) {
    case "completed":
      return completedEnd(outcome, run);
    case "limit_reached":
      return errorEnd(outcome, "limit_reached", `Cannot finish the turn: no ${outcome.limit} left`);
    case "cancelled":
      if (outcome.cause !== "draining") return cancelledEnd(outcome, run);
      return errorEnd(outcome, "draining", "Cannot finish the turn: the replica is shutting down");
    case "failed":
      return errorEnd(outcome, outcome.code, outcome.message);
  }
}

function completedEnd(
  outcome: Extract<TurnOutcome, { status: "completed" }>,
  run: AguiRun,
): RunFinishedEvent {
  const { structuredOutput, stopReason, usage } = outcome;
  return {
    type: EventType.RUN_FINISHED,
    threadId: run.threadId,
    runId: run.runId,
    outcome: { type: "success" },
    // A result of null is malformed in AG-UI, and says no more than none.
    ...(structuredOutput !== undefined &&
      structuredOutput !== null && { result: structuredOutput }),
    ...tokenUsage(usage),
    metadata: { stopReason, ...figures(usage) },
  };
}

function cancelledEnd(
  outcome: Extract<TurnOutcome, { status: "cancelled" }>,
  run: AguiRun,
): RunFinishedEvent | RunErrorEvent {
  const end: RunFinishedEvent = {
    type: EventType.RUN_FINISHED,
    threadId: run.threadId,
    runId: run.runId,
    outcome: { type: "cancelled" },
    ...tokenUsage(outcome.usage),
    metadata: { cause: outcome.cause, ...figures(outcome.usage) },
  };
  return isBefore1(run.protocolVersion) ? cancelledEndBefore1(end) : end;
}

function errorEnd(
  outcome: TurnOutcome,
  code: ErrorCode | "limit_reached",
  message: string,
): RunErrorEvent {
  const { retryable, remedy } = code === "limit_reached" ? LIMIT_REACHED : ERRORS[code];
  return {
    type: EventType.RUN_ERROR,
    message,
    code,
    ...tokenUsage(outcome.usage),
    metadata: { retryable, remedy, ...figures(outcome.usage) },
  };
}

/** No error with us, so not in the table of errors. */
const LIMIT_REACHED = {
  retryable: false,
  remedy: "Ask for less in one turn, or raise `limits` of the agent; the session can be continued",
};

/** What AG-UI has no field for. */
function figures(usage: TurnUsage): Metadata {
  const { costUsd, steps, durationMs, firstTokenMs } = usage;
  return { costUsd, steps, durationMs, firstTokenMs };
}

/** Absent when the turn used no model. */
function tokenUsage(usage: TurnUsage): { usage?: TokenUsage[] } {
  if (usage.byModel.length === 0) return {};
  return { usage: usage.byModel.map(modelTokenUsage) };
}

function modelTokenUsage(usage: ModelUsage): TokenUsage {
  const { model, outputTokens, cacheReadTokens, cacheWriteTokens } = usage;
  const inputTokens = promptTokens(usage);
  return {
    model,
    inputTokens,
    outputTokens,
    totalTokens: inputTokens + outputTokens,
    cachedInputTokens: cacheReadTokens,
    cacheWriteInputTokens: cacheWriteTokens,
  };
}
