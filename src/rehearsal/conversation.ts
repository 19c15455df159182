/**
 * Reads what a Messages API request says: who spoke last, about what, with which tools at hand.
 * It takes the body as the `claude` binary sends it, which also puts reminders of its own between
 * the words of the user; those are not the user's and are left out here.
 *
 * @module
 */

import { STRUCTURED_OUTPUT_TOOL } from "../agent/sdk-options.ts";
import { isObject } from "../lib/is-object.ts";
import { parseToolName } from "../lib/tool-name.ts";

/** A body of `POST /v1/messages`, checked only as far as the rehearsal reads it. */
export interface MessagesBody {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly system?: unknown;
  readonly tools?: readonly DeclaredTool[];
  readonly thinking?: { readonly type?: string };
  readonly stream?: boolean;
}

export interface Message {
  readonly role: string;
  readonly content: string | readonly ContentBlock[];
}

export interface ContentBlock {
  readonly type: string;
  readonly text?: string;
  readonly id?: string;
  readonly name?: string;
  readonly tool_use_id?: string;
  readonly content?: unknown;
}

export interface DeclaredTool {
  readonly name: string;
  readonly input_schema?: unknown;
}

/** What rules match on and templates quote. Texts are at most {@link MAX_QUOTE_LENGTH} long. */
export interface Conversation {
  readonly model: string;
  readonly userText: string;
  readonly firstUserText: string;
  readonly turnCount: number;
  readonly tools: readonly DeclaredTool[];
  /** The declared tool that the last text of the user names. */
  readonly mentionedTool?: DeclaredTool;
  /** Names of the tools whose results are the last message; empty when it is none. */
  readonly answeredTools: readonly string[];
  readonly toolResult: string;
  readonly isThinkingOn: boolean;
  /** Characters that no earlier request of the conversation carried; all when it is the first. */
  readonly newLength: number;
}

/** Longest text that a reply quotes, in characters: a long prompt must not come back whole. */
export const MAX_QUOTE_LENGTH = 2_000;

/** Whether a parsed JSON body has the shape that the rehearsal relies on. */
export function isMessagesBody(value: unknown): value is MessagesBody {
  if (!isObject(value) || typeof value["model"] !== "string") return false;
  const { messages, tools } = value;
  return isListOf(messages, isMessage) && (tools === undefined || isListOf(tools, hasName));
}

export function readConversation(body: MessagesBody): Conversation {
  // Reminders may stand as messages of the role `system` after the one that matters.
  const messages = body.messages.filter((message) => message.role !== "system");
  const texts = messages.map(userTextOf).filter((text) => text !== "");
  const results = toolResultsOf(messages.at(-1));
  const tools = body.tools ?? [];
  const userText = texts.at(-1) ?? "";
  const words = tools.length === 0 ? "" : wordsOf(userText);
  const mentionedTool = tools.find((tool) => mentions(words, tool.name));
  return {
    model: body.model,
    userText: quote(userText),
    firstUserText: quote(texts[0] ?? ""),
    turnCount: texts.length,
    tools,
    ...(mentionedTool !== undefined && { mentionedTool }),
    answeredTools: results.map((result) => calledToolName(messages, result)),
    toolResult: quote(results.map((result) => textOf(result.content)).join("\n")),
    isThinkingOn: ["adaptive", "enabled"].includes(body.thinking?.type ?? ""),
    newLength: newLength(body.messages),
  };
}

/** The tool that a script means: by its full name, or without the `mcp__server__` before it. */
export function findTool(tools: readonly DeclaredTool[], name: string): DeclaredTool | undefined {
  return (
    tools.find((tool) => tool.name === name) ?? tools.find((tool) => isToolNamed(tool.name, name))
  );
}

export function isToolNamed(toolName: string, name: string): boolean {
  return toolName === name || parseToolName(toolName).toolName === name;
}

function mentions(words: string, toolName: string): boolean {
  if (toolName === STRUCTURED_OUTPUT_TOOL) return false;
  return words.includes(wordsOf(parseToolName(toolName).toolName));
}

/** In lower case, with one blank between them and around them. */
function wordsOf(text: string): string {
  return ` ${text
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .join(" ")} `;
}

function userTextOf(message: Message): string {
  if (message.role !== "user") return "";
  const texts =
    typeof message.content === "string"
      ? [message.content]
      : message.content.map((block) => (block.type === "text" ? (block.text ?? "") : ""));
  return texts.filter((text) => text !== "" && !isFromClaudeCode(text)).join("\n");
}

/** Claude Code speaks in the user's place for reminders and after an interruption. */
export function isFromClaudeCode(text: string): boolean {
  return text.startsWith("<system-reminder>") || text.startsWith("[Request interrupted by user");
}

function toolResultsOf(message: Message | undefined): readonly ContentBlock[] {
  if (message === undefined || typeof message.content === "string") return [];
  return message.content.filter((block) => block.type === "tool_result");
}

function calledToolName(messages: readonly Message[], result: ContentBlock): string {
  for (const { content } of messages.toReversed()) {
    if (typeof content === "string") continue;
    const call = content.find(
      (block) => block.type === "tool_use" && block.id === result.tool_use_id,
    );
    if (call?.name !== undefined) return call.name;
  }
  return "";
}

/** The text of a tool result, which is a string or a list of blocks. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content
    .map((block: unknown) =>
      isObject(block) && typeof block["text"] === "string" ? block["text"] : "",
    )
    .join("");
}

function newLength(messages: readonly Message[]): number {
  const lastReply = messages.findLastIndex((message) => message.role === "assistant");
  return lastReply === -1 ? Infinity : JSON.stringify(messages.slice(lastReply + 1)).length;
}

function quote(text: string): string {
  return text.length <= MAX_QUOTE_LENGTH ? text : `${text.slice(0, MAX_QUOTE_LENGTH)}…`;
}

function isMessage(value: unknown): boolean {
  if (!isObject(value) || typeof value["role"] !== "string") return false;
  return typeof value["content"] === "string" || isListOf(value["content"], isContentBlock);
}

function isContentBlock(value: unknown): boolean {
  return isObject(value) && typeof value["type"] === "string";
}

function hasName(value: unknown): boolean {
  return isObject(value) && typeof value["name"] === "string";
}

function isListOf(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isItem);
}
