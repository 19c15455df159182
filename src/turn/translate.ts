/**
 * SDK messages to turn events. A state machine without I/O: the same messages give the same
 * events, and whatever was started can be ended at any point, so that no cut of the SDK's stream
 * leaves a reader with something open.
 *
 * The SDK sends each block twice: as deltas (`stream_event`) and, before the block's stop, as a
 * complete `assistant` message. The deltas are what we follow; a complete message counts only if
 * its deltas never came (an answer that was not streamed).
 *
 * @module
 */

import type { SDKMessage } from "@anthropic-ai/claude-agent-sdk";
import { STRUCTURED_OUTPUT_TOOL } from "../agent/sdk-options.ts";
import { parseToolName } from "../lib/tool-name.ts";
import type { TurnEvent } from "./turn.ts";

type Content = Extract<SDKMessage, { type: "assistant" }>["message"]["content"][number];
type StreamEvent = Extract<SDKMessage, { type: "stream_event" }>["event"];

/** A block that is being streamed; `id` is what its events carry. */
interface OpenBlock {
  readonly kind: "text" | "reasoning" | "tool_call";
  readonly id: string;
  /** Text and reasoning are first told of with their first character: empty ones stay unseen. */
  hasContent: boolean;
}

export class Translator {
  readonly #open = new Map<number, OpenBlock>();
  /** Ids that were given out, to keep every id of a turn unique. */
  readonly #usedIds = new Set<string>();
  readonly #streamedMessages = new Set<string>();
  /** Calls shown to the reader: only their results are shown too. */
  readonly #shownToolCalls = new Set<string>();
  readonly #answeredToolCalls = new Set<string>();
  #messageId = "";
  #text = { messageId: "", soFar: "" };

  /** What the last message that had text said: all its blocks, where the SDK's result has one. */
  get text(): string {
    return this.#text.soFar;
  }

  /** Id of that message, which its first text has too; empty if there was none. */
  get textMessageId(): string {
    return this.#text.messageId;
  }

  /** The events a message stands for, in order; none for most. */
  next(message: SDKMessage): TurnEvent[] {
    const events = this.#translate(message);
    for (const event of events) if (event.type === "text_delta") this.#remember(event.delta);
    return events;
  }

  #remember(text: string): void {
    const messageId = this.#messageId;
    const before = this.#text.messageId === messageId ? this.#text.soFar : "";
    this.#text = { messageId, soFar: before + text };
  }

  #translate(message: SDKMessage): TurnEvent[] {
    // What a subagent says belongs to the tool call that started it, whose result is shown.
    if ("parent_tool_use_id" in message && message.parent_tool_use_id) return [];
    switch (message.type) {
      case "stream_event":
        return this.#streamed(message.event);
      case "assistant":
        // An error of the model arrives as a message too; it is told by the outcome instead.
        if (message.error !== undefined) return [];
        return this.#complete(message.message.id, message.message.content);
      case "user":
        return this.#toolResults(message.message.content);
      case "system":
        return notices(message);
      default:
        return [];
    }
  }

  /** Ends whatever is still open. Idempotent. */
  close(): TurnEvent[] {
    const events = [...this.#open.values()].flatMap(ended);
    this.#open.clear();
    return events;
  }

  #streamed(event: StreamEvent): TurnEvent[] {
    switch (event.type) {
      case "message_start": {
        // A stream that broke is asked for again: its blocks never stop by themselves.
        const left = this.close();
        this.#messageId = event.message.id;
        this.#streamedMessages.add(event.message.id);
        return left;
      }
      case "content_block_start":
        return this.#started(event.index, event.content_block);
      case "content_block_delta":
        return this.#grown(event.index, event.delta);
      case "content_block_stop": {
        const block = this.#open.get(event.index);
        this.#open.delete(event.index);
        return block === undefined ? [] : ended(block);
      }
      case "message_stop":
        return this.close();
      default:
        return [];
    }
  }

  #started(
    index: number,
    block: Extract<StreamEvent, { type: "content_block_start" }>["content_block"],
  ): TurnEvent[] {
    const left = this.#open.get(index);
    const events = left === undefined ? [] : ended(left);
    this.#open.delete(index);
    if (block.type === "text" || block.type === "thinking") {
      const kind = block.type === "text" ? "text" : "reasoning";
      this.#open.set(index, { kind, id: this.#newId(kind), hasContent: false });
    } else if (block.type === "tool_use" && this.#isNewCall(block)) {
      this.#open.set(index, { kind: "tool_call", id: block.id, hasContent: false });
      events.push(this.#toolCallStarted(block.id, block.name));
    }
    return events;
  }

  #grown(
    index: number,
    delta: Extract<StreamEvent, { type: "content_block_delta" }>["delta"],
  ): TurnEvent[] {
    const block = this.#open.get(index);
    if (block === undefined) return [];
    if (delta.type === "text_delta" && block.kind === "text") return grown(block, delta.text);
    if (delta.type === "thinking_delta" && block.kind === "reasoning") {
      return grown(block, delta.thinking);
    }
    if (delta.type === "input_json_delta" && block.kind === "tool_call") {
      return grown(block, delta.partial_json);
    }
    return [];
  }

  #complete(messageId: string, content: readonly Content[]): TurnEvent[] {
    if (this.#streamedMessages.has(messageId)) return [];
    const left = messageId === this.#messageId ? [] : this.close();
    this.#messageId = messageId;
    return [...left, ...content.flatMap((block) => this.#wholeBlock(block))];
  }

  #wholeBlock(block: Content): TurnEvent[] {
    if (block.type === "text" || block.type === "thinking") {
      const kind = block.type === "text" ? "text" : "reasoning";
      const whole: OpenBlock = { kind, id: this.#newId(kind), hasContent: false };
      const text = block.type === "text" ? block.text : block.thinking;
      return [...grown(whole, text), ...ended(whole)];
    }
    if (block.type === "tool_use" && this.#isNewCall(block)) {
      const call: OpenBlock = { kind: "tool_call", id: block.id, hasContent: false };
      const start = this.#toolCallStarted(block.id, block.name);
      return [start, ...grown(call, JSON.stringify(block.input)), ...ended(call)];
    }
    return [];
  }

  /** Whether the call is one to show, and not shown yet; callers see no plumbing of the SDK. */
  #isNewCall({ id, name }: { readonly id: string; readonly name: string }): boolean {
    return name !== STRUCTURED_OUTPUT_TOOL && !this.#shownToolCalls.has(id);
  }

  #toolCallStarted(toolCallId: string, name: string): TurnEvent {
    this.#shownToolCalls.add(toolCallId);
    const tool = parseToolName(name);
    return { type: "tool_call_started", toolCallId, ...tool, messageId: this.#messageId };
  }

  /** A call that has a result is made, even if the stream that made it broke off. */
  #endToolCall(toolCallId: string): TurnEvent[] {
    const open = [...this.#open].filter(([, { id }]) => id === toolCallId);
    return open.flatMap(([index, block]) => {
      this.#open.delete(index);
      return ended(block);
    });
  }

  #toolResults(content: unknown): TurnEvent[] {
    if (!Array.isArray(content)) return [];
    return (content as readonly ToolResultLike[]).flatMap((block) => {
      const toolCallId = block.tool_use_id;
      if (block.type !== "tool_result" || toolCallId === undefined) return [];
      if (!this.#shownToolCalls.has(toolCallId)) return [];
      if (this.#answeredToolCalls.has(toolCallId)) return [];
      this.#answeredToolCalls.add(toolCallId);
      const isError = block.is_error === true;
      const result = textOf(block.content);
      return [
        ...this.#endToolCall(toolCallId),
        { type: "tool_result", toolCallId, content: result, isError } as const,
      ];
    });
  }

  /** The message's own id for its first text, numbered ones after it: the same on every run. */
  #newId(kind: "text" | "reasoning"): string {
    const stem = kind === "text" ? this.#messageId : `${this.#messageId}#reasoning`;
    let id = stem;
    for (let n = 2; this.#usedIds.has(id); n++) id = `${stem}#${n}`;
    this.#usedIds.add(id);
    return id;
  }
}

function grown(block: OpenBlock, delta: string): TurnEvent[] {
  if (delta === "") return [];
  const isFirst = !block.hasContent;
  block.hasContent = true;
  const { id } = block;
  switch (block.kind) {
    case "text": {
      const events: TurnEvent[] = [{ type: "text_delta", messageId: id, delta }];
      return isFirst ? [{ type: "text_started", messageId: id }, ...events] : events;
    }
    case "reasoning": {
      const events: TurnEvent[] = [{ type: "reasoning_delta", messageId: id, delta }];
      return isFirst ? [{ type: "reasoning_started", messageId: id }, ...events] : events;
    }
    case "tool_call":
      return [{ type: "tool_call_input_delta", toolCallId: id, delta }];
  }
}

function ended(block: OpenBlock): TurnEvent[] {
  const { id } = block;
  switch (block.kind) {
    case "text":
      return block.hasContent ? [{ type: "text_ended", messageId: id }] : [];
    case "reasoning":
      return block.hasContent ? [{ type: "reasoning_ended", messageId: id }] : [];
    case "tool_call": {
      // A call without input streams no JSON at all; readers expect an object.
      const input = block.hasContent ? [] : grown(block, "{}");
      return [...input, { type: "tool_call_ended", toolCallId: id }];
    }
  }
}

function notices(message: Extract<SDKMessage, { type: "system" }>): TurnEvent[] {
  switch (message.subtype) {
    case "api_retry": {
      const { attempt, max_retries, retry_delay_ms, error_status } = message;
      const data = {
        attempt,
        maxRetries: max_retries,
        delayMs: retry_delay_ms,
        status: error_status,
      };
      return [{ type: "notice", name: "model_retry", data }];
    }
    case "permission_denied": {
      const data = { toolCallId: message.tool_use_id, ...parseToolName(message.tool_name) };
      return [{ type: "notice", name: "permission_denied", data }];
    }
    case "compact_boundary": {
      const { trigger, pre_tokens } = message.compact_metadata;
      return [{ type: "notice", name: "compacted", data: { trigger, tokensBefore: pre_tokens } }];
    }
    default:
      return [];
  }
}

interface ToolResultLike {
  readonly type?: string;
  readonly tool_use_id?: string;
  readonly content?: unknown;
  readonly is_error?: boolean;
}

/** A tool's result as text; what is not text is named, so that nothing disappears in silence. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return (content as readonly { type?: string; text?: string }[])
    .map((part) => (part.type === "text" ? (part.text ?? "") : `[${part.type ?? "unknown"}]`))
    .join("\n");
}
