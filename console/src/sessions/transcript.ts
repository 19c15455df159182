/**
 * A stored session as a conversation. Its parts get the ids that they have in the events of their
 * turns, so that a run which is still going on finds its own.
 *
 * @module
 */

import type { SessionMessage as StoredMessage } from "../../../src/session/message.ts";
import type { Conversation, Item, ShownFile, ToolItem } from "../chat/conversation.ts";

/** By which Claude Code has an answer given that has a form: no tool of the agent's. */
const FORM_TOOL = "StructuredOutput";

export interface SessionSummary {
  readonly sessionId: string;
  readonly threadId: string;
  readonly agent: string;
  readonly createdAt: string;
  readonly lastTurnAt: string;
  readonly turns: number;
  readonly transcriptBytes: number;
  readonly costUsd: number;
  readonly isBusy: boolean;
  readonly isOnHold: boolean;
}

export interface SessionBody extends SessionSummary {
  readonly messages: readonly SessionMessage[];
  /** False when older messages were left out. */
  readonly isComplete: boolean;
  readonly skippedLines: number;
}

export interface SessionMessage extends Omit<StoredMessage, "atMs"> {
  readonly at: string | null;
}

export function conversationOf({ messages }: Pick<SessionBody, "messages">): Conversation {
  const items: Item[] = [];
  const calls = new Map<string, number>();
  for (const message of messages) {
    const said = message.role === "user" ? saidOf(message) : answerOf(message);
    for (const item of said) {
      if (item.kind === "tool") calls.set(item.id, items.length);
      items.push(item);
    }
    for (const part of message.parts) {
      if (part.type !== "tool_result") continue;
      const { toolCallId, content, isError } = part;
      const index = calls.get(toolCallId);
      if (index === undefined) continue;
      items[index] = {
        ...(items[index] as ToolItem),
        result: { content, isError, ...cutOf(part) },
      };
    }
  }
  return { items, run: null };
}

/** None for a message that only brings the results of tools. */
function saidOf({ id, at, parts }: SessionMessage): Item[] {
  const texts = parts.flatMap((part) => (part.type === "text" ? [part.text] : []));
  const files = parts.flatMap((part): ShownFile[] => {
    if (part.type !== "image" && part.type !== "document") return [];
    return [{ mediaType: part.mediaType, name: null, base64: null }];
  });
  if (texts.length === 0 && files.length === 0) return [];
  return [{ kind: "user", id, text: texts.join("\n\n"), files, at }];
}

function answerOf({ id, parts }: SessionMessage): Item[] {
  const counts = { text: 0, reasoning: 0 };
  return parts.flatMap((part): Item[] => {
    switch (part.type) {
      case "text": {
        const textId = numbered(id, (counts.text += 1));
        const { text } = part;
        return [{ kind: "text", id: textId, text, isOpen: false, ...cutOf(part) }];
      }
      case "reasoning": {
        const reasoningId = numbered(`${id}#reasoning`, (counts.reasoning += 1));
        const { text } = part;
        return [{ kind: "reasoning", id: reasoningId, text, isOpen: false, ...cutOf(part) }];
      }
      case "tool_call": {
        const { toolCallId, serverName = null, input } = part;
        const toolName = part.toolName === FORM_TOOL ? "answer" : part.toolName;
        const json = part.isCut === true ? "" : JSON.stringify(input ?? {});
        const call = { name: toolName, server: serverName, input: json, ...cutOf(part) };
        return [{ kind: "tool", id: toolCallId, ...call, isOpen: false, result: null }];
      }
      default:
        return [];
    }
  });
}

function cutOf({ isCut }: { readonly isCut?: true }): { readonly isCut?: true } {
  return isCut === true ? { isCut } : {};
}

/** The first has the id itself. */
function numbered(stem: string, n: number): string {
  return n === 1 ? stem : `${stem}#${n}`;
}
