/**
 * The messages of a session as AG-UI has them, under the same ids as in the events of their turns.
 * What the model thought is not among them: a client keeps what it was streamed.
 *
 * @module
 */

import type { Message } from "@ag-ui/core";
import type { MessagePart, SessionMessage } from "../session/message.ts";

export function aguiMessagesOf(messages: readonly SessionMessage[]): Message[] {
  return messages.flatMap((message) =>
    message.role === "assistant" ? ofAssistant(message) : ofUser(message),
  );
}

/** Whether the user said it, rather than a tool that was called. */
export function isSaid({ role, parts }: SessionMessage): boolean {
  return role === "user" && parts.some(({ type }) => type !== "tool_result");
}

function ofUser(message: SessionMessage): Message[] {
  const results = message.parts.flatMap((part): Message[] =>
    part.type === "tool_result" ? [toolMessage(part)] : [],
  );
  if (!isSaid(message)) return results;
  const texts = message.parts.flatMap((part) => (part.type === "text" ? [part.text] : []));
  return [...results, { id: message.id, role: "user", content: texts.join("\n\n") }];
}

function toolMessage({
  toolCallId,
  content,
}: Extract<MessagePart, { type: "tool_result" }>): Message {
  return { id: toolResultId(toolCallId), role: "tool", toolCallId, content };
}

export function toolResultId(toolCallId: string): string {
  return `${toolCallId}:result`;
}

/** Each text of it is a message, as in the events; the calls belong to the first. */
function ofAssistant({ id, parts }: SessionMessage): Message[] {
  const texts = parts.flatMap((part) => (part.type === "text" ? [part.text] : []));
  const toolCalls = parts.flatMap((part) => {
    if (part.type !== "tool_call") return [];
    const call = { name: part.toolName, arguments: JSON.stringify(part.input ?? {}) };
    return [{ id: part.toolCallId, type: "function" as const, function: call }];
  });
  const [first, ...others] = texts;
  if (first === undefined && toolCalls.length === 0) return [];
  return [
    {
      id,
      role: "assistant",
      ...(first !== undefined && { content: first }),
      ...(toolCalls.length > 0 && { toolCalls }),
    },
    ...others.map((content, index): Message => {
      return { id: `${id}#${index + 2}`, role: "assistant", content };
    }),
  ];
}
