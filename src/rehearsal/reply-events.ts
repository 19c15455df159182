/**
 * A planned reply as the Messages API sends it: the events of a stream, each with the time it is
 * due, or one JSON message. Pure and lazy: a long reply is never held whole.
 *
 *     message_start (content_block_start content_block_delta* content_block_stop)*
 *     message_delta message_stop
 *
 * @module
 */

import type { MessageReply, ReplyBlock, ReplyUsage } from "./reply.ts";

export interface TimedEvent {
  /** Time since the request came, in milliseconds. */
  readonly dueMs: number;
  /** The event as a frame of `text/event-stream`. */
  readonly frame: string;
}

/** Marks thoughts as the rehearsal's; Claude Code hands it back with the history. */
const SIGNATURE = Buffer.from("rehearsal").toString("base64");

/** The events in order. A reply that is cut or hangs just ends early: the sender does the rest. */
export function* replyEvents(reply: MessageReply): Generator<TimedEvent, void, undefined> {
  const lastToken = reply.ending.type === "complete" ? Infinity : reply.ending.afterTokens;
  let sentCount = 0;
  const due = (frame: string): TimedEvent => ({ dueMs: tokenDueMs(reply, sentCount), frame });

  yield due(encodeEvent("message_start", { message: messageHead(reply) }));
  if (lastToken === 0) return;
  for (const [index, block] of reply.blocks.entries()) {
    yield due(encodeEvent("content_block_start", { index, content_block: blockHead(block) }));
    for (const token of block.tokens) {
      yield due(encodeEvent("content_block_delta", { index, delta: tokenDelta(block, token) }));
      sentCount += 1;
      if (sentCount >= lastToken) return;
    }
    if (block.type === "thinking") {
      const delta = { type: "signature_delta", signature: SIGNATURE };
      yield due(encodeEvent("content_block_delta", { index, delta }));
    }
    yield due(encodeEvent("content_block_stop", { index }));
  }
  if (reply.ending.type !== "complete") return;

  const delta = { stop_reason: reply.stopReason, stop_sequence: null };
  yield due(encodeEvent("message_delta", { delta, usage: encodeUsage(reply.usage) }));
  yield due(encodeEvent("message_stop", {}));
}

/** When a reply that is not streamed is due: with its last token. */
export function replyDueMs(reply: MessageReply): number {
  const tokenCount = reply.blocks.reduce((sum, block) => sum + block.tokens.length, 0);
  const lastToken = reply.ending.type === "complete" ? Infinity : reply.ending.afterTokens;
  return tokenDueMs(reply, Math.min(tokenCount, lastToken));
}

/** The whole reply as one JSON message, for a request that does not stream. */
export function encodeMessage(reply: MessageReply): string {
  return JSON.stringify({
    ...messageHead(reply),
    content: reply.blocks.map(wholeBlock),
    stop_reason: reply.stopReason,
    usage: encodeUsage(reply.usage),
  });
}

/** Counted from the start of the reply, so that late timers never add up. */
function tokenDueMs(reply: MessageReply, sentCount: number): number {
  return reply.firstTokenMs + (sentCount * 1_000) / reply.tokensPerSecond;
}

function messageHead(reply: MessageReply): Record<string, unknown> {
  return {
    id: reply.id,
    type: "message",
    role: "assistant",
    model: reply.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: encodeUsage({ ...reply.usage, outputTokens: 1 }),
  };
}

function blockHead(block: ReplyBlock): Record<string, unknown> {
  switch (block.type) {
    case "thinking":
      return { type: "thinking", thinking: "", signature: "" };
    case "text":
      return { type: "text", text: "" };
    default:
      return { type: "tool_use", id: block.id, name: block.name, input: {} };
  }
}

function wholeBlock(block: ReplyBlock): Record<string, unknown> {
  switch (block.type) {
    case "thinking":
      return { type: "thinking", thinking: [...block.tokens].join(""), signature: SIGNATURE };
    case "text":
      return { type: "text", text: [...block.tokens].join("") };
    default:
      return { type: "tool_use", id: block.id, name: block.name, input: block.input };
  }
}

function tokenDelta(block: ReplyBlock, token: string): Record<string, unknown> {
  switch (block.type) {
    case "thinking":
      return { type: "thinking_delta", thinking: token };
    case "text":
      return { type: "text_delta", text: token };
    default:
      return { type: "input_json_delta", partial_json: token };
  }
}

function encodeUsage(usage: ReplyUsage): Record<string, number> {
  return {
    input_tokens: usage.inputTokens,
    cache_creation_input_tokens: usage.cacheCreationTokens,
    cache_read_input_tokens: usage.cacheReadTokens,
    output_tokens: usage.outputTokens,
  };
}

function encodeEvent(type: string, data: Record<string, unknown>): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
}
