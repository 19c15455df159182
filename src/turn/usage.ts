/**
 * What one turn used. The SDK reports running totals of its process, which begins with those that
 * the transcript has (`session/counted-totals.ts`), so a turn's own share is a difference. Pure.
 *
 * @module
 */

import type { SDKResultMessage } from "@anthropic-ai/claude-agent-sdk";
import { totalsFrom } from "../session/counted-totals.ts";
import { promptTokens } from "../lib/tokens.ts";
import { roundUsd, type SessionTotals } from "../session/session-record.ts";
import type { ModelUsage } from "./turn.ts";

/**
 * The process's totals as a result tells them, after a turn that began at `before`; null when it
 * does not: a process that failed to start reports zeros.
 */
export function totalsOf(result: SDKResultMessage, before: SessionTotals): SessionTotals | null {
  if (result.num_turns === 0) return null;
  if (result.total_cost_usd === 0 && before.costUsd > 0) return null;
  return totalsFrom(result.total_cost_usd, result.modelUsage);
}

export type TokensAndCost = Omit<ModelUsage, "model"> & { readonly byModel: readonly ModelUsage[] };

/** The share of the turn that took the process's totals from `before` to `after`. */
export function difference(after: SessionTotals, before: SessionTotals): TokensAndCost {
  // Totals that shrank were counted afresh, e.g. because the transcript had lost its counters.
  const startedAfresh = after.costUsd < before.costUsd;
  const byModel = after.byModel
    .map((total) => {
      const earlier = before.byModel.find((usage) => usage.model === total.model);
      return startedAfresh || earlier === undefined ? total : minus(total, earlier);
    })
    .filter((usage) => promptTokens(usage) + usage.outputTokens + usage.costUsd > 0);
  const sum = (of: (usage: ModelUsage) => number) => byModel.reduce((n, usage) => n + of(usage), 0);
  return {
    inputTokens: sum((usage) => usage.inputTokens),
    outputTokens: sum((usage) => usage.outputTokens),
    cacheReadTokens: sum((usage) => usage.cacheReadTokens),
    cacheWriteTokens: sum((usage) => usage.cacheWriteTokens),
    costUsd: roundUsd(startedAfresh ? after.costUsd : after.costUsd - before.costUsd),
    byModel,
  };
}

function minus(total: ModelUsage, earlier: ModelUsage): ModelUsage {
  return {
    model: total.model,
    inputTokens: Math.max(0, total.inputTokens - earlier.inputTokens),
    outputTokens: Math.max(0, total.outputTokens - earlier.outputTokens),
    cacheReadTokens: Math.max(0, total.cacheReadTokens - earlier.cacheReadTokens),
    cacheWriteTokens: Math.max(0, total.cacheWriteTokens - earlier.cacheWriteTokens),
    costUsd: roundUsd(Math.max(0, total.costUsd - earlier.costUsd)),
  };
}
