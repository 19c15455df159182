/**
 * What a replica tells whoever watches it: one stream of Server-Sent Events at `/v1/feed`, each a
 * JSON object whose `type` is also the name of the event. The console reads nothing else live.
 *
 *     hello ─▶ history ─▶ recent ─▶ capacity, once a second … decision, turn and guard as they happen
 *
 * Times are milliseconds since 1970 by the clock of the server, sizes are bytes, money is USD.
 *
 * @module
 */

import { z } from "zod";
import { TURN_STAGES } from "../turn/turn-view.ts";
import { capacitySchema } from "./capacity.ts";
import { encodeSseFrame } from "./sse.ts";
import { GUARD_TARGETS, PROCESS_SOURCES, SHED_REASONS } from "../telemetry/values.ts";

const atMs = z.int();

/** First of all; again after a new connection, since the replica may be another. */
const helloSchema = z.object({
  type: z.literal("hello"),
  nowMs: atMs,
  /** What its operator calls it, or its host name. */
  replica: z.string(),
  version: z.string(),
  startedAtMs: atMs,
});

/**
 * The last hour in columns, one value a step, the oldest first; null where nothing is known of a
 * step, e.g. before the start.
 */
const historySchema = z.object({
  type: z.literal("history"),
  stepMs: z.int(),
  /** When the first step began. */
  fromMs: atMs,
  limitBytes: z.array(z.number().nullable()),
  loadLineBytes: z.array(z.number().nullable()),
  committedBytes: z.array(z.number().nullable()),
  usedBytes: z.array(z.number().nullable()),
  inflight: z.array(z.number().nullable()),
  turnsThatFit: z.array(z.number().nullable()),
  /** In the step. */
  shed: z.array(z.number().nullable()),
  /** Median of the turns whose first token came in the step. */
  firstTokenMs: z.array(z.number().nullable()),
});

const stageSchema = z.object({
  stage: z.enum(TURN_STAGES),
  sinceMs: atMs,
  /** In the stage `tool`. */
  toolName: z.string().optional(),
});

const turnSchema = z.object({
  turnId: z.string(),
  agent: z.string(),
  tenant: z.string(),
  caller: z.string(),
  sessionId: z.string().nullable(),
  threadId: z.string().nullable(),
  /** When it was admitted. */
  startedAtMs: atMs,
  /** Null until its process is there. */
  processSource: z.enum(PROCESS_SOURCES).nullable(),
  /** What it was admitted with: the reserve, and what it carries of a transcript. */
  predictedBytes: z.number(),
  carriedBytes: z.number(),
  /** The stages so far, the last one being where it is; the oldest are left out beyond 64. */
  stages: z.array(stageSchema).readonly(),
  /** From the admission. */
  firstTokenMs: z.number().nullable(),
  toolCalls: z.int(),
  /** Tools of it that the memory guard has ended. */
  toolsEnded: z.int(),
  /** Tools of it that the kernel has ended at the ceiling of its own group; known in the end. */
  toolsKilled: z.int(),
  /** So far, of all prompts, what went through the cache too; null until the model answers. */
  promptTokens: z.int().nullable(),
  outputTokens: z.int().nullable(),
  /** Null until it has ended, as all below. */
  endedAtMs: atMs.nullable(),
  peakBytes: z.number().nullable(),
  costUsd: z.number().nullable(),
  outcome: z
    .object({
      status: z.enum(["completed", "limit_reached", "cancelled", "failed"]),
      /** What it was: the code of a failure, the cause of a cancellation, the limit. */
      detail: z.string().nullable(),
      /** What a failure was, in words that its caller was told. */
      message: z.string().nullable(),
    })
    .nullable(),
});

/** A turn that was admitted, whenever something of it has changed, at most every 100 ms. */
const turnEventSchema = z.object({ type: z.literal("turn"), turn: turnSchema });

/** The gate has decided, in its own words. */
const decisionSchema = z.object({
  type: z.literal("decision"),
  atMs,
  admitted: z.boolean(),
  reason: z.enum(SHED_REASONS).nullable(),
  text: z.string(),
  agent: z.string(),
  tenant: z.string(),
  /** Decisions since the last one that was told, which were too many to tell. */
  untold: z.int(),
});

/** The memory guard has ended something, or the kernel a tool in the control group of its turn. */
const guardEventSchema = z.object({
  type: z.literal("guard"),
  atMs,
  by: z.enum(["guard", "kernel"]),
  what: z.enum(GUARD_TARGETS),
  turnId: z.string().nullable(),
  bytes: z.number().nullable(),
  text: z.string(),
});

/** The turns that run, and the last that have ended; decisions and ends, the oldest first. */
const recentSchema = z.object({
  type: z.literal("recent"),
  turns: z.array(turnSchema).readonly(),
  decisions: z.array(decisionSchema).readonly(),
  guard: z.array(guardEventSchema).readonly(),
});

/**
 * Sessions that are kept and at rest: they have no process, and no memory is held for them. All
 * figures are as they were last counted, with what this replica has begun and deleted since; null
 * before the first count.
 */
const sessionsSchema = z.object({
  /** Whether they are in a store, where other replicas begin, use and delete some, too. */
  isShared: z.boolean(),
  /** Without a turn and without a process on this replica. */
  idle: z.int().nullable(),
  /** What the transcripts of all sessions take of the disk or the store, those in use included. */
  transcriptBytes: z.int().nullable(),
  /** When all of them were last looked at. */
  countedAtMs: atMs.nullable(),
});

/** The answer of `/capacity`, and whether turns should be sent here, apart from being full. */
const capacityEventSchema = z.object({
  type: z.literal("capacity"),
  atMs,
  capacity: capacitySchema,
  readiness: z.object({
    state: z.enum(["starting", "ready", "draining", "broken"]),
    /** Why, in words. */
    reason: z.string(),
  }),
  sessions: sessionsSchema,
});

export const feedSchemas = {
  hello: helloSchema,
  history: historySchema,
  recent: recentSchema,
  capacity: capacityEventSchema,
  turn: turnEventSchema,
  decision: decisionSchema,
  guard: guardEventSchema,
} as const;

export type FeedHello = z.infer<typeof helloSchema>;
export type FeedHistory = z.infer<typeof historySchema>;
export type FeedRecent = z.infer<typeof recentSchema>;
export type FeedTurn = z.infer<typeof turnSchema>;
export type FeedTurnEvent = z.infer<typeof turnEventSchema>;
export type FeedStage = z.infer<typeof stageSchema>;
export type FeedDecision = z.infer<typeof decisionSchema>;
export type FeedSessions = z.infer<typeof sessionsSchema>;
export type FeedGuardEvent = z.infer<typeof guardEventSchema>;

/** @typeParam Capacity What a replica says of its load; whoever makes it knows it more exactly. */
export interface FeedCapacity<Capacity = z.infer<typeof capacitySchema>> {
  readonly type: "capacity";
  readonly atMs: number;
  readonly capacity: Capacity;
  readonly readiness: z.infer<typeof capacityEventSchema>["readiness"];
  readonly sessions: FeedSessions;
}

export type FeedEvent<Capacity = z.infer<typeof capacitySchema>> =
  | FeedHello
  | FeedHistory
  | FeedRecent
  | FeedCapacity<Capacity>
  | FeedTurnEvent
  | FeedDecision
  | FeedGuardEvent;

/** The event as a frame of its own, for all who read. */
export function encodeFeedEvent<Capacity>(event: FeedEvent<Capacity>): string {
  return encodeSseFrame({ event: event.type, data: JSON.stringify(event) });
}
