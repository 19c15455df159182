/**
 * What a turn needs to know of the SDK's messages besides their text, which is `translate.ts`.
 *
 * @module
 */

import type { SDKMessage } from "@anthropic-ai/claude-agent-sdk";

/** Each turn begins with it. */
export function isInit(message: SDKMessage): message is Extract<SDKMessage, { subtype: "init" }> {
  return message.type === "system" && message.subtype === "init";
}

/** The id of the model's message that begins with this one, or that it belongs to. */
export function modelMessageOf(message: SDKMessage): string | null {
  if (message.type === "stream_event") {
    const { event, parent_tool_use_id: parent } = message;
    return event.type === "message_start" && parent === null ? event.message.id : null;
  }
  if (message.type !== "assistant" || message.error !== undefined) return null;
  return message.parent_tool_use_id === null ? message.message.id : null;
}

/** Characters of a provider's words on an error: enough to act on, and no place for a conversation. */
const MAX_ERROR_TEXT = 500;

/** What Claude Code says of an error of the model provider, with the provider's own words. */
export function errorTextOf({ message }: Extract<SDKMessage, { type: "assistant" }>): string {
  const texts = message.content.flatMap((block) => (block.type === "text" ? [block.text] : []));
  return texts.join("\n").slice(0, MAX_ERROR_TEXT);
}
