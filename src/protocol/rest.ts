/**
 * Our own REST protocol: a turn as a small JSON body; its answer as one JSON body, or as
 * Server-Sent Events that are the {@link TurnEvent}s themselves.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { z } from "zod";
import { AppError } from "../lib/errors.ts";
import type { ReplayedTurn } from "../turn/kept-turn.ts";
import type { InputPart, SessionTarget, TurnEvent } from "../turn/turn.ts";
import type { CollectedToolCall, CollectedTurn } from "./collect.ts";
import { failedEnding, type ReportError, type StreamEnding, withOneEnding } from "./ending.ts";
import { eventIdOf, type NumberedEvent } from "./event-id.ts";
import {
  clientIdSchema,
  INPUT_LIMITS,
  inputPartSchema,
  invalidBody,
  textSchema,
  checkInput,
} from "./input.ts";
import { encodeSseFrame, type SseFrame } from "./sse.ts";

export const restTurnSchema = z
  .strictObject({
    input: z
      .union([textSchema, z.array(inputPartSchema).min(1).max(INPUT_LIMITS.parts)])
      .describe("What the user says: text, or parts in the order in which they are read."),
    threadId: clientIdSchema
      .optional()
      .describe("Your own name for the conversation; the first turn with it starts a session."),
    sessionId: z
      .uuid("needs a UUID")
      .optional()
      .describe("A session that exists. Without either, a new conversation is started."),
  })
  .refine((body) => body.threadId === undefined || body.sessionId === undefined, {
    path: ["sessionId"],
    error: "needs to be left out when there is a threadId",
    // Also when other places do not fit, so that every problem is named at once.
    when: ({ value }) => typeof value === "object" && value !== null,
  });

export interface RestTurn {
  readonly session: SessionTarget;
  readonly input: readonly InputPart[];
}

/**
 * @param body The parsed JSON of the request.
 * @throws {AppError} `invalid_request`, with every place that does not fit.
 */
export function decodeRestTurn(body: unknown, newThreadId: () => string = randomUUID): RestTurn {
  const checked = checkInput(restTurnSchema, body);
  if (!checked.ok) throw invalidBody(checked.errors);
  const { input, threadId, sessionId } = checked.value;
  return {
    session:
      sessionId === undefined
        ? { by: "thread", threadId: threadId ?? newThreadId(), expectsHistory: false }
        : { by: "session", sessionId },
    input: typeof input === "string" ? [{ type: "text", text: input }] : input,
  };
}

/** One event as Server-Sent Event: its type as the name, the whole of it as the data. */
function encodeRestEvent({ id, event }: NumberedEvent, turnId: string): string {
  return encodeSseFrame({
    ...(id !== null && { id: eventIdOf(turnId, { after: id, parts: 0 }) }),
    event: event.type,
    data: JSON.stringify(event),
  });
}

/** The frames of a turn; the last one is always `turn_ended`, also when the source breaks off. */
export async function* encodeRestEvents(
  events: AsyncIterable<NumberedEvent>,
  turnId: string,
  report: ReportError,
): AsyncGenerator<string, void, undefined> {
  for await (const each of withOneEnding(events, report)) yield encodeRestEvent(each, turnId);
}

export const REST_ENDING: StreamEnding = { isLast: isLastRestFrame, brokenBy: encodeBrokenTurn };

function isLastRestFrame({ event }: SseFrame): boolean {
  const last: TurnEvent["type"] = "turn_ended";
  return event === last;
}

async function* encodeBrokenTurn(error: AppError): AsyncGenerator<string, void, undefined> {
  yield encodeRestEvent({ id: null, event: failedEnding(error) }, "");
}

const count = z.int().min(0);

const modelUsageSchema = z.object({
  model: z.string(),
  inputTokens: count,
  outputTokens: count,
  cacheReadTokens: count,
  cacheWriteTokens: count,
  costUsd: z.number(),
});

export const restOutcomeSchema = z.object({
  turnId: z.string(),
  sessionId: z.string(),
  threadId: z.string(),
  agent: z.string(),
  status: z.enum(["completed", "limit_reached", "cancelled"]),
  text: z.string().describe("The last message; what there is of it when not completed."),
  structuredOutput: z.unknown().optional().describe("Fits the schema of the agent file."),
  stopReason: z
    .string()
    .describe("Of the model when completed, else the limit reached or the cause."),
  toolCalls: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      server: z.string().optional().describe("The MCP server; absent for built-in tools."),
      input: z.unknown(),
      result: z.string().optional().describe("Absent when the turn ended before the tool did."),
      isError: z.boolean(),
    }),
  ),
  isCut: z
    .literal(true)
    .optional()
    .describe("The turn ran before, and only a part of its answer was kept."),
  usage: z.object({
    ...modelUsageSchema.omit({ model: true }).shape,
    steps: count,
    durationMs: z.number(),
    firstTokenMs: z.number().nullable(),
    byModel: z.array(modelUsageSchema).readonly(),
  }),
});

export type RestOutcome = z.output<typeof restOutcomeSchema>;

/**
 * The JSON body of a finished turn.
 *
 * @throws {AppError} With the code of the failure, when the turn failed: nothing has been sent
 *   yet, so the HTTP side can still answer with its status. Also `draining`, when the server ended
 *   the turn to shut down: a caller who did not cancel must not read a success.
 */
export function restOutcomeBody(turn: CollectedTurn): RestOutcome {
  const { turnId, sessionId, threadId, agentName, outcome } = turn;
  if (outcome.status === "failed") {
    throw new AppError(outcome.code, outcome.message, { extensions: { turnId, sessionId } });
  }
  if (outcome.status === "cancelled" && outcome.cause === "draining") {
    throw new AppError("draining", "Cannot finish the turn: the replica is shutting down", {
      retryAfterSeconds: 1,
      extensions: { turnId, sessionId },
    });
  }
  const structuredOutput = outcome.status === "completed" ? outcome.structuredOutput : undefined;
  return {
    turnId,
    sessionId,
    threadId,
    agent: agentName,
    status: outcome.status,
    text: turn.text,
    ...(structuredOutput !== undefined && { structuredOutput }),
    stopReason: stopReasonOf(outcome),
    toolCalls: turn.toolCalls.map(toolCallBody),
    usage: outcome.usage,
  };
}

/** The JSON body of a turn that ran before: its last words, without what it did on the way. */
export function restEndedBody({ isCut, ...turn }: ReplayedTurn): RestOutcome {
  return { ...restOutcomeBody({ ...turn, toolCalls: [] }), ...(isCut && { isCut }) };
}

function stopReasonOf(outcome: Exclude<CollectedTurn["outcome"], { status: "failed" }>): string {
  switch (outcome.status) {
    case "completed":
      return outcome.stopReason;
    case "limit_reached":
      return outcome.limit;
    case "cancelled":
      return outcome.cause;
  }
}

function toolCallBody(call: CollectedToolCall): RestOutcome["toolCalls"][number] {
  return {
    id: call.id,
    name: call.name,
    ...(call.serverName !== undefined && { server: call.serverName }),
    input: parseInput(call.inputText),
    ...(call.result !== undefined && { result: call.result.content }),
    isError: call.result?.isError ?? false,
  };
}

/** The text itself when it is no JSON: a turn can end in the middle of a call. */
function parseInput(text: string): unknown {
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
