/**
 * Stages and outcomes of a turn in words. Pure.
 *
 * @module
 */

import type { FeedStage, FeedTurn } from "../../../src/protocol/feed.ts";

const STAGE_TEXTS = {
  waiting: "waits to start",
  starting: "its process starts",
  thinking: "thinks",
  writing: "writes",
  tool: "in a tool",
  ending: "its processes end",
  ended: "ended",
} satisfies Record<FeedStage["stage"], string>;

/** e.g. `in the tool Bash`. */
export function stageText({ stage, toolName }: FeedStage): string {
  return stage === "tool" && toolName !== undefined
    ? `in the tool ${toolName}`
    : STAGE_TEXTS[stage];
}

/** Where the turn is now, e.g. `thinks`. */
export function nowText(turn: FeedTurn): string {
  const stage = turn.stages.at(-1);
  return stage === undefined ? STAGE_TEXTS.waiting : stageText(stage);
}

const OUTCOME_TEXTS = {
  completed: "completed",
  limit_reached: "ended at a limit",
  cancelled: "cancelled",
  failed: "failed",
} satisfies Record<NonNullable<FeedTurn["outcome"]>["status"], string>;

/** e.g. `failed (model_overloaded)`; empty while the turn runs. */
export function outcomeText({ outcome }: FeedTurn): string {
  if (outcome === null) return "";
  const text = OUTCOME_TEXTS[outcome.status];
  return outcome.detail === null ? text : `${text} (${outcome.detail})`;
}
