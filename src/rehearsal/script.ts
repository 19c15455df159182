/**
 * What a rehearsal script may say. A script is a list of rules; the first whose conditions hold
 * makes the answer. Words count as tokens, so that times and usage can be told by counting.
 *
 * @module
 */

import { z } from "zod";
import { PLACEHOLDERS, unknownPlaceholders } from "./template.ts";

/** Longest text that `tokens` makes up: more is a mistake, not a load test. */
const MAX_TOKENS = 10_000_000;
const MAX_RULES = 1_000;
const PLACEHOLDER_NAMES = Object.keys(PLACEHOLDERS).join(", ");

const durationMs = z.number().min(0).max(86_400_000);
const tokenCount = z.int().min(0).max(MAX_TOKENS);
const ordinal = z.int().min(1);

const notAPlaceholder = (name: string): string =>
  `needs a known placeholder instead of {{${name}}}\nKnown are ${PLACEHOLDER_NAMES}`;

const template = z.string().superRefine((text, context) => {
  for (const name of unknownPlaceholders(text)) {
    context.addIssue({ code: "custom", message: notAPlaceholder(name) });
  }
});

const json = z.json().superRefine((value, context) => {
  for (const name of unknownPlaceholders(JSON.stringify(value))) {
    context.addIssue({ code: "custom", message: notAPlaceholder(name) });
  }
});

const pattern = z
  .string()
  .min(1)
  .refine((text) => isPattern(text), {
    error: "needs a valid regular expression between the slashes",
  });

const speed = {
  firstTokenMs: durationMs
    .optional()
    .describe("Time until the first byte of the answer, in milliseconds."),
  tokensPerSecond: z.number().min(0.001).optional().describe("Words streamed in a second."),
};

const Conditions = z.strictObject({
  userText: pattern
    .optional()
    .describe(
      "The last text of the user holds this, whatever the case; `/…/i` is a regular expression.",
    ),
  afterTool: z
    .union([z.boolean(), z.string().min(1)])
    .optional()
    .describe(
      "`true`: the last message is the result of a tool; `false`: it is not; a name: of that tool.",
    ),
  mentionsTool: z.boolean().optional().describe("The last text of the user names a declared tool."),
  declaresTool: z
    .string()
    .min(1)
    .optional()
    .describe("The request declares the tool of this name."),
  turnNumber: ordinal
    .optional()
    .describe("Place of the user's last text in the conversation, counted from 1."),
  requestNumber: ordinal
    .optional()
    .describe("Place of the request among all that the server has had, counted from 1."),
  model: pattern.optional().describe("The model asked for, matched as `userText` is."),
});

const ToolCall = z.strictObject({
  name: template.describe("Name of the tool, with or without `mcp__server__` before it."),
  input: z
    .record(z.string(), json)
    .optional()
    .describe("Input of the call; without it an example that fits the tool's schema."),
});

// One map with one key of these, and no union: a wrong key can then be named in a diagnostic.
const Part = z
  .strictObject({
    thinking: template
      .optional()
      .describe("Streams thoughts; left out when the request has thinking off."),
    text: template.optional().describe("Streams this text, word by word."),
    tokens: tokenCount.optional().describe("Streams so many made-up words, for load."),
    tool: ToolCall.optional().describe("Calls a declared tool; several calls run side by side."),
    structured: json
      .optional()
      .describe("Answers with this value as the structured output of the turn."),
  })
  .refine((part) => Object.keys(part).length === 1, {
    error: "needs exactly one of thinking, text, tokens, tool and structured",
  });

const ScriptedError = z.strictObject({
  status: z.literal([400, 401, 403, 404, 429, 500, 529]).describe("HTTP status of the answer."),
  type: z
    .string()
    .min(1)
    .optional()
    .describe("Error type; without it the usual one of the status."),
  message: z.string().min(1).optional().describe("Text of the error."),
  retryAfterSeconds: z.number().min(0).optional().describe("Value of the header `retry-after`."),
  times: ordinal
    .optional()
    .describe(
      "Fails so many requests of this rule, then sends the reply; without it, fails always.",
    ),
});

const Usage = z
  .strictObject({
    inputTokens: tokenCount
      .optional()
      .describe("Input neither read from nor written to the cache."),
    outputTokens: tokenCount.optional().describe("Output, thoughts included."),
    cacheReadTokens: tokenCount.optional().describe("Input read from the cache."),
    cacheCreationTokens: tokenCount.optional().describe("Input written to the cache."),
  })
  .describe("Token counts to report; without it they are counted from the request and the words.");

const Rule = z
  .strictObject({
    when: Conditions.optional().describe("All must hold; a rule without conditions always does."),
    reply: z.array(Part).min(1).optional().describe("Parts of the answer, in order."),
    ...speed,
    usage: Usage.optional(),
    stopReason: z
      .enum(["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "pause_turn"])
      .optional()
      .describe(
        "Why the reply ends; without it `tool_use` after a tool call and `end_turn` otherwise.",
      ),
    error: ScriptedError.optional().describe("Answers with an error of the API."),
    cutAfterTokens: tokenCount.optional().describe("Breaks the connection after so many words."),
    hangAfterTokens: tokenCount
      .optional()
      .describe("Falls silent after so many words and holds the connection open."),
  })
  .refine((rule) => rule.reply !== undefined || neverReplies(rule.error), {
    path: ["reply"],
    error: "needs parts, unless `error` has no `times`",
  })
  .refine((rule) => rule.cutAfterTokens === undefined || rule.hangAfterTokens === undefined, {
    path: ["hangAfterTokens"],
    error: "needs to stand without `cutAfterTokens`",
  });

/** A whole rehearsal script. */
export const RehearsalScriptSchema = z.strictObject({
  defaults: z.strictObject(speed).optional().describe("Speed of the rules that name none."),
  rules: z.array(Rule).min(1).max(MAX_RULES).describe("The first rule that fits answers."),
});

export type RehearsalScript = z.output<typeof RehearsalScriptSchema>;
export type RehearsalRule = z.output<typeof Rule>;
export type RuleConditions = z.output<typeof Conditions>;
export type ReplyPart = NonNullable<RehearsalRule["reply"]>[number];

/** Whether `text` holds `wanted`: a part of it in any case, or a `/regular expression/flags`. */
export function matchesPattern(text: string, wanted: string): boolean {
  const expression = asExpression(wanted);
  if (expression !== undefined) return expression.test(text);
  return text.toLowerCase().includes(wanted.toLowerCase());
}

function asExpression(wanted: string): RegExp | undefined {
  const [, source, flags] = /^\/(.+)\/([imsu]*)$/s.exec(wanted) ?? [];
  return source === undefined ? undefined : new RegExp(source, flags);
}

function isPattern(wanted: string): boolean {
  try {
    asExpression(wanted);
    return true;
  } catch {
    return false;
  }
}

function neverReplies(error: z.output<typeof ScriptedError> | undefined): boolean {
  return error !== undefined && error.times === undefined;
}
