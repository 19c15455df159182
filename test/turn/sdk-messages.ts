/**
 * The SDK's messages as the real Claude Code sends them (0.3.330), reduced to what is read of them.
 *
 * @module
 */

import type { SDKMessage } from "@anthropic-ai/claude-agent-sdk";

export function system(subtype: string, fields: object = {}): SDKMessage {
  return { type: "system", subtype, ...fields } as unknown as SDKMessage;
}

export function streamed(event: object, parent: string | null = null): SDKMessage {
  return { type: "stream_event", event, parent_tool_use_id: parent } as unknown as SDKMessage;
}

export function messageStart(id: string): SDKMessage {
  return streamed({ type: "message_start", message: { id } });
}

export function blockStart(index: number, block: object): SDKMessage {
  return streamed({ type: "content_block_start", index, content_block: block });
}

export function blockDelta(index: number, delta: object): SDKMessage {
  return streamed({ type: "content_block_delta", index, delta });
}

export function blockStop(index: number): SDKMessage {
  return streamed({ type: "content_block_stop", index });
}

export function assistant(id: string, content: readonly object[], more: object = {}): SDKMessage {
  const message = { id, model: "claude-sonnet-5", content };
  return { type: "assistant", message, parent_tool_use_id: null, ...more } as unknown as SDKMessage;
}

export function user(content: string | readonly object[], more: object = {}): SDKMessage {
  const message = { role: "user", content };
  return { type: "user", message, parent_tool_use_id: null, ...more } as unknown as SDKMessage;
}

export function toolResult(id: string, content: unknown, isError = false): SDKMessage {
  return user([{ type: "tool_result", tool_use_id: id, content, is_error: isError }]);
}

/** A block as it is sent: in pieces, then whole, then stopped. */
export function textBlock(id: string, index: number, ...pieces: string[]): SDKMessage[] {
  return [
    blockStart(index, { type: "text", text: "" }),
    ...pieces.map((text) => blockDelta(index, { type: "text_delta", text })),
    assistant(id, [{ type: "text", text: pieces.join("") }]),
    blockStop(index),
  ];
}

export function thinkingBlock(id: string, index: number, ...pieces: string[]): SDKMessage[] {
  return [
    blockStart(index, { type: "thinking", thinking: "", signature: "" }),
    ...pieces.flatMap((thinking) => [
      system("thinking_tokens"),
      blockDelta(index, { type: "thinking_delta", thinking }),
    ]),
    blockDelta(index, { type: "signature_delta", signature: "c2lnbmVk" }),
    assistant(id, [{ type: "thinking", thinking: pieces.join(""), signature: "c2lnbmVk" }]),
    blockStop(index),
  ];
}

export interface Call {
  readonly id: string;
  readonly name: string;
  readonly pieces: readonly string[];
}

export function toolBlock(messageId: string, index: number, call: Call): SDKMessage[] {
  const { id, name, pieces } = call;
  const input: unknown = pieces.length === 0 ? {} : JSON.parse(pieces.join(""));
  return [
    blockStart(index, { type: "tool_use", id, name, input: {} }),
    ...pieces.map((json) => blockDelta(index, { type: "input_json_delta", partial_json: json })),
    assistant(messageId, [{ type: "tool_use", id, name, input }]),
    blockStop(index),
  ];
}

/** A whole message of the model around its blocks. */
export function modelMessage(id: string, ...blocks: SDKMessage[][]): SDKMessage[] {
  return [
    messageStart(id),
    ...blocks.flat(),
    streamed({ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: {} }),
    streamed({ type: "message_stop" }),
  ];
}
