/**
 * A turn read to its end and kept, for callers that want one answer instead of events.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import type { TurnEvent, TurnOutcome } from "../turn/turn.ts";

export interface CollectedTurn {
  readonly turnId: string;
  readonly sessionId: string;
  readonly threadId: string;
  readonly agentName: string;
  /**
   * The text of the last message that had some; what there was of it when the turn did not complete.
   */
  readonly text: string;
  /** In the order in which they were made. */
  readonly toolCalls: readonly CollectedToolCall[];
  readonly outcome: TurnOutcome;
}

export interface CollectedToolCall {
  readonly id: string;
  readonly name: string;
  readonly serverName?: string;
  /** JSON text, perhaps cut short; empty when the call has no input. */
  readonly inputText: string;
  /** Absent when the turn ended before the tool did. */
  readonly result?: { readonly content: string; readonly isError: boolean };
}

/** What may be held of one turn unless the caller of {@link collectTurn} says otherwise. */
const DEFAULT_LIMIT_LENGTH = 8 * 1024 * 1024;

/**
 * Reads a turn to its end.
 *
 * @param limitLength Most text held, in UTF-16 code units: text, inputs and results together.
 * @throws {AppError} What the source throws; `turn_output_too_large`; `internal` when the source
 *   stops before `turn_ended`. A turn that failed is not an error here but an outcome.
 */
export async function collectTurn(
  events: AsyncIterable<TurnEvent>,
  limitLength: number = DEFAULT_LIMIT_LENGTH,
): Promise<CollectedTurn> {
  const turn = new TurnInProgress(limitLength);
  for await (const event of events) turn.take(event);
  return turn.finish();
}

class TurnInProgress {
  readonly #limitLength: number;
  #length = 0;
  #started: Extract<TurnEvent, { type: "turn_started" }> | undefined;
  #outcome: TurnOutcome | undefined;
  #textOf: string | undefined;
  #text = "";
  readonly #toolCalls = new Map<
    string,
    { -readonly [Key in keyof CollectedToolCall]: CollectedToolCall[Key] }
  >();

  constructor(limitLength: number) {
    this.#limitLength = limitLength;
  }

  take(event: TurnEvent): void {
    switch (event.type) {
      case "turn_started":
        this.#started = event;
        return;
      case "text_delta":
        this.#takeText(event.messageId, event.delta);
        return;
      case "tool_call_started":
        this.#toolCalls.set(event.toolCallId, {
          id: event.toolCallId,
          name: event.toolName,
          ...(event.serverName !== undefined && { serverName: event.serverName }),
          inputText: "",
        });
        return;
      case "tool_call_input_delta":
      case "tool_result":
        this.#takeToolCall(event);
        return;
      case "turn_ended":
        this.#outcome ??= event.outcome;
        return;
      case "text_started":
      case "text_ended":
      case "reasoning_started":
      case "reasoning_delta":
      case "reasoning_ended":
      case "tool_call_ended":
      case "notice":
        return;
    }
  }

  finish(): CollectedTurn {
    const [started, outcome] = [this.#started, this.#outcome];
    if (started === undefined || outcome === undefined) {
      throw new AppError("internal", "Cannot finish the turn: its events just stopped");
    }
    const { turnId, sessionId, threadId, agentName } = started;
    const text = outcome.status === "completed" ? outcome.text : this.#text;
    const toolCalls = [...this.#toolCalls.values()];
    return { turnId, sessionId, threadId, agentName, text, toolCalls, outcome };
  }

  #takeText(messageId: string, delta: string): void {
    if (messageId !== this.#textOf) {
      this.#textOf = messageId;
      this.#text = "";
    }
    this.#hold(delta);
    this.#text += delta;
  }

  #takeToolCall(
    event: Extract<TurnEvent, { type: "tool_call_input_delta" | "tool_result" }>,
  ): void {
    const call = this.#toolCalls.get(event.toolCallId);
    // A result can belong to a call of an earlier turn.
    if (call === undefined) return;
    if (event.type === "tool_result") {
      this.#hold(event.content);
      call.result = { content: event.content, isError: event.isError };
    } else {
      this.#hold(event.delta);
      call.inputText += event.delta;
    }
  }

  #hold(text: string): void {
    this.#length += text.length;
    if (this.#length <= this.#limitLength) return;
    throw new AppError(
      "turn_output_too_large",
      "Cannot answer with the whole turn: it wrote more than can be held; read its events instead",
    );
  }
}
