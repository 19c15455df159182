/**
 * What whoever watches a replica sees of a turn: where it is, since when, and what came of it. A
 * pure reducer: the view before, a piece of news, the view after.
 *
 *     waiting ─▶ starting ─▶ thinking ◀─▶ writing, tool … ─▶ ending ─▶ ended
 *        └──────────┴────────────────────────────────────────────────────┘
 *
 * @module
 */

import type { ErrorCode } from "../lib/errors.ts";
import { promptTokens } from "../lib/tokens.ts";
import type { ProcessSource } from "../telemetry/values.ts";
import type { Tokens } from "./token-count.ts";
import type { TurnEvent, TurnOutcome } from "./turn.ts";

/**
 * `waiting` for room or its turn to start; `starting` its process; `thinking` until something is
 * written, or between two steps; `writing` text or reasoning; in a `tool`; `ending` its processes.
 */
export const TURN_STAGES = [
  "waiting",
  "starting",
  "thinking",
  "writing",
  "tool",
  "ending",
  "ended",
] as const;
export type TurnStage = (typeof TURN_STAGES)[number];

/** Stages that are remembered of one turn; beyond, the oldest are left out. */
const MAX_STAGES = 64;

/** Of the name of a tool, in characters: the model says it. */
const MAX_TOOL_NAME_LENGTH = 128;

export interface StageView {
  readonly stage: TurnStage;
  readonly sinceMs: number;
  /** In the stage `tool`. */
  readonly toolName?: string;
}

/** Times are milliseconds since 1970, sizes bytes. What is not known yet is null. */
export interface TurnView {
  readonly turnId: string;
  readonly agent: string;
  readonly tenant: string;
  readonly caller: string;
  readonly sessionId: string | null;
  readonly threadId: string | null;
  /** When it was admitted. */
  readonly startedAtMs: number;
  readonly processSource: ProcessSource | null;
  readonly predictedBytes: number;
  /** Of transcript and input. */
  readonly carriedBytes: number;
  /** One or more, in order; `ended` only as the last. */
  readonly stages: readonly StageView[];
  readonly firstTokenMs: number | null;
  readonly toolCalls: number;
  /** By the memory guard. */
  readonly toolsEnded: number;
  /** By the kernel, at the ceiling of the turn's own control group; known in the end. */
  readonly toolsKilled: number;
  /** So far; null until the model has begun to answer. */
  readonly promptTokens: number | null;
  readonly outputTokens: number | null;
  readonly endedAtMs: number | null;
  readonly peakBytes: number | null;
  readonly costUsd: number | null;
  readonly outcome: OutcomeView | null;
}

export interface OutcomeView {
  readonly status: TurnOutcome["status"];
  /** The code of a failure, the cause of a cancellation, the limit. */
  readonly detail: string | null;
  /** Of a failure, as its caller was told. */
  readonly message: string | null;
}

/** The first that is told of a turn. */
export interface TurnAdmitted extends Pick<
  TurnView,
  "agent" | "tenant" | "caller" | "startedAtMs" | "predictedBytes" | "carriedBytes"
> {
  readonly type: "turn_admitted";
  readonly sessionId: string;
  readonly threadId: string;
}

/** What is told of it after that: its events, and what they do not say. */
export type TurnStep =
  | TurnEvent
  /** It has its process, and need not wait any more. */
  | { readonly type: "process_taken"; readonly source: ProcessSource }
  | { readonly type: "process_started" }
  | { readonly type: "tool_ended_by_guard" }
  | ({ readonly type: "tokens_used" } & Tokens)
  /** Nothing more is awaited of the model. */
  | { readonly type: "turn_ending" }
  | {
      readonly type: "turn_measured";
      readonly peakBytes: number | null;
      readonly toolsEnded: number;
      readonly toolsKilled: number;
    }
  /** No event will tell of its end. */
  | { readonly type: "turn_broke"; readonly code: ErrorCode; readonly message: string };

export type TurnNews = TurnAdmitted | TurnStep;

/** Hears what happens in turns. Must not throw. */
export type TellTurn = (turnId: string, news: TurnNews) => void;

/** A view, and what is needed to go on with it. */
export interface TurnProgress {
  readonly view: TurnView;
  /** Tool calls that have no result, by id: their names, the newest last. */
  readonly openTools: ReadonlyMap<string, string>;
  /** Told before the end, shown with it. */
  readonly peakBytes: number | null;
}

export function beginProgress(turnId: string, admitted: TurnAdmitted): TurnProgress {
  const { type: _, startedAtMs, ...facts } = admitted;
  const view: TurnView = {
    turnId,
    ...facts,
    startedAtMs,
    processSource: null,
    stages: [{ stage: "waiting", sinceMs: startedAtMs }],
    firstTokenMs: null,
    toolCalls: 0,
    toolsEnded: 0,
    toolsKilled: 0,
    promptTokens: null,
    outputTokens: null,
    endedAtMs: null,
    peakBytes: null,
    costUsd: null,
    outcome: null,
  };
  return { view, openTools: new Map(), peakBytes: null };
}

/**
 * Any order of news gives a valid view: stages in order of time, and `ended` once, as the last.
 *
 * @param nowMs Since 1970; the clock may have been set.
 * @returns The same object where there is nothing new to see.
 */
export function advance(progress: TurnProgress, news: TurnStep, nowMs: number): TurnProgress {
  const { view } = progress;
  if (view.endedAtMs !== null) return progress;
  switch (news.type) {
    case "process_taken": {
      const stage = news.source === "started" ? "starting" : "thinking";
      return changed(progress, entered({ ...view, processSource: news.source }, { stage }, nowMs));
    }
    case "process_started":
      if (stageOf(view) !== "starting") return progress;
      return changed(progress, entered(view, { stage: "thinking" }, nowMs));
    case "text_started":
    case "reasoning_started":
      return changed(progress, entered(heard(view, nowMs), { stage: "writing" }, nowMs));
    case "text_ended":
    case "reasoning_ended":
      return changed(progress, entered(view, restOf(progress.openTools), nowMs));
    case "tool_call_started":
      return toolStarted(progress, news, nowMs);
    case "tool_result":
      return toolReturned(progress, news, nowMs);
    case "tool_ended_by_guard":
      return changed(progress, { ...view, toolsEnded: view.toolsEnded + 1 });
    case "tokens_used":
      return changed(progress, {
        ...view,
        promptTokens: news.promptTokens,
        outputTokens: news.outputTokens,
      });
    case "turn_ending":
      return changed(progress, entered(view, { stage: "ending" }, nowMs));
    case "turn_measured": {
      const toolsEnded = Math.max(view.toolsEnded, news.toolsEnded);
      const { peakBytes, toolsKilled } = news;
      return { ...progress, peakBytes, view: { ...view, toolsEnded, toolsKilled } };
    }
    case "turn_ended":
      return changed(progress, ended(progress, news.outcome, nowMs));
    case "turn_broke": {
      const { code, message } = news;
      const outcome = { status: "failed", detail: code, message } as const;
      return changed(progress, closed(progress, outcome, nowMs));
    }
    default:
      return progress;
  }
}

function changed(progress: TurnProgress, view: TurnView): TurnProgress {
  return view === progress.view ? progress : { ...progress, view };
}

type Place = Omit<StageView, "sinceMs">;

function stageOf({ stages }: TurnView): TurnStage | undefined {
  return stages.at(-1)?.stage;
}

/** Nothing but the end comes after `ending`. */
function entered(view: TurnView, place: Place, nowMs: number): TurnView {
  const last = view.stages.at(-1);
  if (last?.stage === "ending" && place.stage !== "ended") return view;
  if (last?.stage === place.stage && last.toolName === place.toolName) return view;
  const sinceMs = Math.max(nowMs, last?.sinceMs ?? nowMs);
  const stages = [...view.stages, { ...place, sinceMs }];
  return { ...view, stages: stages.slice(-MAX_STAGES) };
}

/** Where a turn is that writes nothing. */
function restOf(openTools: TurnProgress["openTools"]): Place {
  const toolName = [...openTools.values()].at(-1);
  return toolName === undefined ? { stage: "thinking" } : { stage: "tool", toolName };
}

/** The first of what a reader waits for. */
function heard(view: TurnView, nowMs: number): TurnView {
  if (view.firstTokenMs !== null) return view;
  return { ...view, firstTokenMs: Math.max(0, nowMs - view.startedAtMs) };
}

function toolStarted(
  { view, ...progress }: TurnProgress,
  { toolCallId, toolName }: Extract<TurnEvent, { type: "tool_call_started" }>,
  nowMs: number,
): TurnProgress {
  const openTools = new Map(progress.openTools).set(
    toolCallId,
    toolName.slice(0, MAX_TOOL_NAME_LENGTH),
  );
  const called = { ...heard(view, nowMs), toolCalls: view.toolCalls + 1 };
  return { ...progress, openTools, view: entered(called, restOf(openTools), nowMs) };
}

function toolReturned(
  progress: TurnProgress,
  { toolCallId }: Extract<TurnEvent, { type: "tool_result" }>,
  nowMs: number,
): TurnProgress {
  const openTools = new Map(progress.openTools);
  if (!openTools.delete(toolCallId)) return progress;
  const { view } = progress;
  // A call may be answered while the model writes on.
  const isInTool = stageOf(view) === "tool";
  return {
    ...progress,
    openTools,
    view: isInTool ? entered(view, restOf(openTools), nowMs) : view,
  };
}

function ended(progress: TurnProgress, outcome: TurnOutcome, nowMs: number): TurnView {
  const { usage, status } = outcome;
  const message = status === "failed" ? outcome.message : null;
  const view = closed(progress, { status, detail: detailOf(outcome), message }, nowMs);
  return {
    ...view,
    firstTokenMs: usage.firstTokenMs ?? view.firstTokenMs,
    // What the process says in the end is what counts, but one that was killed says nothing.
    ...(promptTokens(usage) + usage.outputTokens > 0 && {
      promptTokens: promptTokens(usage),
      outputTokens: usage.outputTokens,
    }),
    costUsd: usage.costUsd,
  };
}

function closed({ view, peakBytes }: TurnProgress, outcome: OutcomeView, nowMs: number): TurnView {
  const { stages, ...rest } = entered(view, { stage: "ended" }, nowMs);
  return { ...rest, stages, endedAtMs: stages.at(-1)?.sinceMs ?? nowMs, peakBytes, outcome };
}

function detailOf(outcome: TurnOutcome): string | null {
  switch (outcome.status) {
    case "completed":
      return null;
    case "limit_reached":
      return outcome.limit;
    case "cancelled":
      return outcome.cause;
    case "failed":
      return outcome.code;
  }
}
