/**
 * The SDK's streaming input: messages of the user as they come, open between them until it is
 * closed, because callbacks to in-process tools travel over the same channel.
 *
 * @module
 */

import type { SDKUserMessage } from "@anthropic-ai/claude-agent-sdk";
import type { InputPart } from "./turn.ts";

export interface OpenInput {
  readonly messages: AsyncIterable<SDKUserMessage>;
  /** Begins a turn: one message of the user. */
  say(parts: readonly InputPart[]): void;
  /** Ends the input, after which the agent process ends by itself. Idempotent. */
  close(): void;
}

export function openInput(): OpenInput {
  const waiting: SDKUserMessage[] = [];
  let isClosed = false;
  let wake = () => {};
  async function* messages(): AsyncGenerator<SDKUserMessage> {
    for (;;) {
      const next = waiting.shift();
      if (next !== undefined) yield next;
      else if (isClosed) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  return {
    messages: messages(),
    say(parts) {
      waiting.push({
        type: "user",
        message: { role: "user", content: parts.map(toContentBlock) },
        parent_tool_use_id: null,
      });
      wake();
    },
    close() {
      isClosed = true;
      wake();
    },
  };
}

type ContentBlock = Exclude<SDKUserMessage["message"]["content"], string>[number];

function toContentBlock(part: InputPart): ContentBlock {
  switch (part.type) {
    case "text":
      return { type: "text", text: part.text };
    case "image":
      return {
        type: "image",
        // The decoder let only the media types pass that the provider takes.
        source: { type: "base64", media_type: part.mediaType as "image/png", data: part.base64 },
      };
    case "document":
      return {
        type: "document",
        source: { type: "base64", media_type: "application/pdf", data: part.base64 },
      };
  }
}
