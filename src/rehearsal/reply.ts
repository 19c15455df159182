/**
 * Decides the answer to a request: script and request in, plan out. Pure; the same request gets
 * the same words. How a plan becomes events is `reply-events.ts`, when they are sent `server.ts`.
 *
 * @module
 */

import { STRUCTURED_OUTPUT_TOOL } from "../agent/sdk-options.ts";
import { type ApiError, apiError } from "./api-error.ts";
import {
  type Conversation,
  type DeclaredTool,
  findTool,
  isToolNamed,
  type MessagesBody,
  readConversation,
} from "./conversation.ts";
import { exampleValue } from "./example-value.ts";
import {
  matchesPattern,
  type RehearsalRule,
  type RehearsalScript,
  type ReplyPart,
  type RuleConditions,
} from "./script.ts";
import { fillTemplate, fillTemplates, type PlaceholderValues } from "./template.ts";

export type ReplyPlan =
  | MessageReply
  /** `ruleIndex` is the place of the rule in the script: the server counts its failures. */
  | { readonly kind: "error"; readonly error: ApiError; readonly ruleIndex: number };

export interface MessageReply {
  readonly kind: "message";
  readonly id: string;
  readonly model: string;
  readonly blocks: readonly ReplyBlock[];
  readonly stopReason: string;
  readonly usage: ReplyUsage;
  readonly firstTokenMs: number;
  readonly tokensPerSecond: number;
  /** How the stream ends: whole, or broken or silent after so many tokens. */
  readonly ending:
    | { readonly type: "complete" }
    | { readonly type: "cut" | "hang"; readonly afterTokens: number };
}

export type ReplyBlock =
  | { readonly type: "thinking" | "text"; readonly tokens: TokenSequence }
  | {
      readonly type: "tool_use";
      readonly id: string;
      readonly name: string;
      readonly input: unknown;
      readonly tokens: TokenSequence;
    };

/** The tokens of a block in order; they can be walked more than once. */
export interface TokenSequence extends Iterable<string> {
  readonly length: number;
}

export interface ReplyUsage {
  readonly inputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheCreationTokens: number;
  readonly outputTokens: number;
}

export interface ReplyRequest {
  readonly body: MessagesBody;
  /** Length of the body as it was sent. */
  readonly bodyBytes: number;
  /** Unique: Claude Code tells messages and tool calls apart by their ids, also after a resume. */
  readonly id: string;
  /** Counted from 1 since the server started. */
  readonly requestNumber: number;
  /** Errors each rule has answered with so far, by its place in the script. */
  readonly failureCounts: readonly number[];
}

const DEFAULT_FIRST_TOKEN_MS = 200;
const DEFAULT_TOKENS_PER_SECOND = 40;

const NO_RULE: RehearsalRule = {
  reply: [{ text: "No rule of the rehearsal script fits this request." }],
};

export function planReply(script: RehearsalScript, request: ReplyRequest): ReplyPlan {
  const conversation = readConversation(request.body);
  const ruleIndex = script.rules.findIndex((rule) =>
    conditionsHold(rule.when ?? {}, conversation, request.requestNumber),
  );
  const rule = script.rules[ruleIndex] ?? NO_RULE;
  const { error } = rule;
  const failureCount = request.failureCounts[ruleIndex] ?? 0;
  if (error !== undefined && failureCount < (error.times ?? Infinity)) {
    return { kind: "error", error: apiError(error.status, error), ruleIndex };
  }
  return messageReply(script, rule, conversation, request);
}

/** Tokens of a request as the rehearsal counts them: four bytes are one. */
export function countInputTokens(bodyBytes: number): number {
  return Math.ceil(bodyBytes / 4);
}

function conditionsHold(
  when: RuleConditions,
  conversation: Conversation,
  requestNumber: number,
): boolean {
  const { userText, model, answeredTools, tools } = conversation;
  const isMentioned = conversation.mentionedTool !== undefined;
  return (
    (when.userText === undefined || matchesPattern(userText, when.userText)) &&
    (when.model === undefined || matchesPattern(model, when.model)) &&
    (when.afterTool === undefined || followsTool(answeredTools, when.afterTool)) &&
    (when.mentionsTool === undefined || when.mentionsTool === isMentioned) &&
    (when.declaresTool === undefined || findTool(tools, when.declaresTool) !== undefined) &&
    (when.turnNumber === undefined || when.turnNumber === conversation.turnCount) &&
    (when.requestNumber === undefined || when.requestNumber === requestNumber)
  );
}

function followsTool(answeredTools: readonly string[], wanted: boolean | string): boolean {
  if (typeof wanted === "boolean") return wanted === answeredTools.length > 0;
  return answeredTools.some((name) => isToolNamed(name, wanted));
}

function messageReply(
  script: RehearsalScript,
  rule: RehearsalRule,
  conversation: Conversation,
  request: ReplyRequest,
): MessageReply {
  const parts = (rule.reply ?? []).filter(
    (part) => conversation.isThinkingOn || part.thinking === undefined,
  );
  const blocks = parts.map((part, index) =>
    replyBlock(part, conversation, `toolu_${request.id}_${index}`),
  );
  const isCalling = blocks.some((block) => block.type === "tool_use");
  return {
    kind: "message",
    id: `msg_${request.id}`,
    model: conversation.model,
    blocks,
    stopReason: rule.stopReason ?? (isCalling ? "tool_use" : "end_turn"),
    usage: usageOf(rule, blocks, conversation, request.bodyBytes),
    firstTokenMs: rule.firstTokenMs ?? script.defaults?.firstTokenMs ?? DEFAULT_FIRST_TOKEN_MS,
    tokensPerSecond:
      rule.tokensPerSecond ?? script.defaults?.tokensPerSecond ?? DEFAULT_TOKENS_PER_SECOND,
    ending: endingOf(rule),
  };
}

function replyBlock(part: ReplyPart, conversation: Conversation, toolCallId: string): ReplyBlock {
  const values = placeholderValues(conversation);
  if (part.tokens !== undefined) return { type: "text", tokens: fillerWords(part.tokens) };
  if (part.text !== undefined) return textBlock(fillTemplate(part.text, values));
  if (part.thinking !== undefined) {
    return { type: "thinking", tokens: words(fillTemplate(part.thinking, values)) };
  }
  const name = fillTemplate(part.tool?.name ?? STRUCTURED_OUTPUT_TOOL, values);
  const tool = findTool(conversation.tools, name);
  if (tool === undefined) return textBlock(`The tool ${name} is not declared in this request.`);
  return toolCall(toolCallId, tool, part.tool?.input ?? part.structured, conversation);
}

function toolCall(
  id: string,
  tool: DeclaredTool,
  scripted: unknown,
  conversation: Conversation,
): ReplyBlock {
  const input =
    scripted === undefined
      ? exampleValue(tool.input_schema, conversation.userText)
      : fillTemplates(scripted, placeholderValues(conversation));
  // The real API streams an input in small pieces of JSON, too.
  const tokens = JSON.stringify(input).match(/.{1,12}/gsu) ?? [];
  return { type: "tool_use", id, name: tool.name, input, tokens };
}

function placeholderValues(conversation: Conversation): PlaceholderValues {
  return {
    userText: conversation.userText,
    firstUserText: conversation.firstUserText,
    turnCount: String(conversation.turnCount),
    toolResult: conversation.toolResult,
    toolName: conversation.answeredTools.at(-1) ?? "",
    mentionedTool: conversation.mentionedTool?.name ?? "",
    toolNames: conversation.tools.map((tool) => tool.name).join(", "),
    model: conversation.model,
  };
}

function textBlock(text: string): ReplyBlock {
  return { type: "text", tokens: words(text) };
}

/** A text as its words, each with the blanks after it; joined they are the text again. */
function words(text: string): TokenSequence {
  return text.match(/^\s+|\S+\s*/g) ?? [];
}

/** So many words without holding them all. */
function fillerWords(length: number): TokenSequence {
  return {
    length,
    *[Symbol.iterator]() {
      for (let number = 1; number <= length; number += 1) yield `word${number} `;
    },
  };
}

function usageOf(
  rule: RehearsalRule,
  blocks: readonly ReplyBlock[],
  conversation: Conversation,
  bodyBytes: number,
): ReplyUsage {
  const total = countInputTokens(bodyBytes);
  const fresh = Math.min(total, countInputTokens(conversation.newLength));
  return {
    inputTokens: rule.usage?.inputTokens ?? fresh,
    cacheReadTokens: rule.usage?.cacheReadTokens ?? total - fresh,
    cacheCreationTokens: rule.usage?.cacheCreationTokens ?? 0,
    outputTokens:
      rule.usage?.outputTokens ?? blocks.reduce((sum, block) => sum + block.tokens.length, 0),
  };
}

function endingOf(rule: RehearsalRule): MessageReply["ending"] {
  if (rule.cutAfterTokens !== undefined) return { type: "cut", afterTokens: rule.cutAfterTokens };
  if (rule.hangAfterTokens !== undefined) {
    return { type: "hang", afterTokens: rule.hangAfterTokens };
  }
  return { type: "complete" };
}
