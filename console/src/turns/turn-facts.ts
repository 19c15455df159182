/**
 * What a row says of a turn, which turns are wanted, and the time line of its stages. Pure.
 *
 * @module
 */

import type { FeedGuardEvent, FeedStage, FeedTurn } from "../../../src/protocol/feed.ts";
import { countText, durationText } from "../ui/format.ts";
import { stageText } from "../ui/stages.ts";

export type Tone = "good" | "warn" | "bad" | "accent" | "";

export interface Verdict {
  readonly text: string;
  readonly tone: Tone;
}

/** How a turn stands or ended, in the words of an operator. */
export function verdictOf(turn: FeedTurn, guardEvents: readonly FeedGuardEvent[]): Verdict {
  const { outcome, stages } = turn;
  if (outcome === null) {
    const last = stages.at(-1);
    return { text: last === undefined ? "waits to start" : stageText(last), tone: "accent" };
  }
  switch (outcome.status) {
    case "completed":
      return { text: "completed", tone: "good" };
    case "limit_reached":
      return {
        text: outcome.detail === null ? "at its limit" : `no ${outcome.detail} left`,
        tone: "warn",
      };
    case "cancelled":
      return { text: CANCELLED[outcome.detail ?? ""] ?? "cancelled", tone: "" };
    case "failed":
      return failureOf(turn, guardEvents);
  }
}

const CANCELLED: Readonly<Record<string, string>> = {
  cancel_requested: "cancelled",
  client_gone: "cancelled: its client left",
  draining: "ended: the replica is shutting down",
};

function failureOf(turn: FeedTurn, guardEvents: readonly FeedGuardEvent[]): Verdict {
  const { detail } = turn.outcome ?? { detail: null };
  if (detail !== OUT_OF_MEMORY) return { text: `failed: ${detail ?? "internal"}`, tone: "bad" };
  const isByGuard = guardEvents.some(
    ({ what, turnId }) => what === "turn" && turnId === turn.turnId,
  );
  return { text: isByGuard ? "ended by the memory guard" : "ended: memory ran out", tone: "bad" };
}

const OUT_OF_MEMORY = "turn_out_of_memory";

/** e.g. `1 tool ended by the memory guard`; empty if none was. */
export function toolsEndedText({ toolsEnded, toolsKilled }: FeedTurn): string {
  return [
    ...(toolsEnded > 0 ? [`${countText(toolsEnded, "tool")} ended by the memory guard`] : []),
    ...(toolsKilled > 0 ? [`${countText(toolsKilled, "tool")} ended at the turn's ceiling`] : []),
  ].join(", ");
}

/** What turns can be asked for by how they stand. */
export const STATES = {
  "": "All",
  running: "Running",
  completed: "Completed",
  failed: "Failed",
  memory: "Ended for memory",
  limit_reached: "At a limit",
  cancelled: "Cancelled",
} as const;
export type StateFilter = keyof typeof STATES;

export interface TurnFilter {
  /** Empty for all, as are the others. */
  readonly agent: string;
  readonly tenant: string;
  readonly state: StateFilter;
}

export function filterFrom(query: URLSearchParams): TurnFilter {
  const state = query.get("state") ?? "";
  return {
    agent: query.get("agent") ?? "",
    tenant: query.get("tenant") ?? "",
    state: Object.hasOwn(STATES, state) ? (state as StateFilter) : "",
  };
}

export function isWanted(turn: FeedTurn, { agent, tenant, state }: TurnFilter): boolean {
  if (agent !== "" && turn.agent !== agent) return false;
  if (tenant !== "" && turn.tenant !== tenant) return false;
  if (state === "") return true;
  if (state === "running") return turn.outcome === null;
  if (state === "memory")
    return turn.toolsEnded + turn.toolsKilled > 0 || turn.outcome?.detail === OUT_OF_MEMORY;
  return turn.outcome?.status === state;
}

/** A stretch of a turn's time. */
export interface Span {
  readonly stage: Exclude<FeedStage["stage"], "ended">;
  readonly toolName: string | null;
  readonly ms: number;
  /** Of the whole, 0 to 1. */
  readonly from: number;
  readonly share: number;
}

/** @param nowMs By the clock of the server, for a turn that runs. */
export function spansOf({ stages, startedAtMs, endedAtMs }: FeedTurn, nowMs: number): Span[] {
  const endMs = Math.max(endedAtMs ?? nowMs, startedAtMs);
  const wholeMs = endMs - startedAtMs;
  if (wholeMs === 0) return [];
  // A clock may have been put back meanwhile: nothing begins before what came before it has ended.
  let atMs = startedAtMs;
  return stages.flatMap((one, index): Span[] => {
    if (one.stage === "ended") return [];
    const fromMs = clamped(one.sinceMs, atMs, endMs);
    const toMs = clamped(stages[index + 1]?.sinceMs ?? endMs, fromMs, endMs);
    atMs = toMs;
    if (toMs === fromMs) return [];
    return [
      {
        stage: one.stage,
        toolName: one.toolName ?? null,
        ms: toMs - fromMs,
        from: (fromMs - startedAtMs) / wholeMs,
        share: (toMs - fromMs) / wholeMs,
      },
    ];
  });
}

function clamped(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

/** Names of the stages, in the order in which they come. */
export const STAGE_NAMES: Readonly<Record<Span["stage"], string>> = {
  waiting: "waited",
  starting: "started",
  thinking: "thought",
  writing: "wrote",
  tool: "in tools",
  ending: "ended",
};

/** The time line in words, e.g. `started 420 ms, thought 1.2 s, in tools 2 s, wrote 800 ms`. */
export function timelineText(spans: readonly Span[]): string {
  const sums = new Map<Span["stage"], number>();
  for (const { stage, ms } of spans) sums.set(stage, (sums.get(stage) ?? 0) + ms);
  return [...sums].map(([stage, ms]) => `${STAGE_NAMES[stage]} ${durationText(ms)}`).join(", ");
}
