import type { SDKResultMessage } from "@anthropic-ai/claude-agent-sdk";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { NO_TOTALS, type SessionTotals } from "../../src/session/session-record.ts";
import type { ModelUsage } from "../../src/turn/turn.ts";
import { difference, totalsOf } from "../../src/turn/usage.ts";

function model(name: string, tokens: number, costUsd: number): ModelUsage {
  return {
    model: name,
    inputTokens: tokens,
    outputTokens: 2 * tokens,
    cacheReadTokens: 3 * tokens,
    cacheWriteTokens: 4 * tokens,
    costUsd,
  };
}

function totals(...byModel: ModelUsage[]): SessionTotals {
  return { costUsd: byModel.reduce((sum, { costUsd }) => sum + costUsd, 0), byModel };
}

function result(costUsd: number, turns = 1): SDKResultMessage {
  const usage = {
    inputTokens: 1,
    outputTokens: 2,
    cacheReadInputTokens: 3,
    cacheCreationInputTokens: 4,
    costUSD: costUsd,
  };
  const told = { num_turns: turns, total_cost_usd: costUsd, modelUsage: { "model-a": usage } };
  return told as unknown as SDKResultMessage;
}

describe("totalsOf", () => {
  it("reads what the SDK has counted so far", () => {
    expect(totalsOf(result(0.5), NO_TOTALS)).toEqual({
      costUsd: 0.5,
      byModel: [{ ...model("model-a", 1, 0.5) }],
    });
  });

  it("does not take the zeros of a failed start for totals", () => {
    expect(totalsOf(result(0, 0), NO_TOTALS)).toBeNull();
    expect(totalsOf(result(0), totals(model("model-a", 1, 0.5)))).toBeNull();
    expect(totalsOf(result(0), NO_TOTALS)).toMatchObject({ costUsd: 0 });
  });
});

describe("difference", () => {
  it("is all of a session's first turn", () => {
    const first = totals(model("model-a", 10, 0.1));
    expect(difference(first, NO_TOTALS)).toEqual({
      inputTokens: 10,
      outputTokens: 20,
      cacheReadTokens: 30,
      cacheWriteTokens: 40,
      costUsd: 0.1,
      byModel: [model("model-a", 10, 0.1)],
    });
  });

  it("is what a later turn added, with a model that is new and without one that rested", () => {
    const before = totals(model("model-a", 10, 0.1), model("model-b", 5, 0.7));
    const after = totals(
      model("model-a", 14, 0.3),
      model("model-b", 5, 0.7),
      model("model-c", 1, 0.01),
    );
    expect(difference(after, before)).toEqual({
      inputTokens: 5,
      outputTokens: 10,
      cacheReadTokens: 15,
      cacheWriteTokens: 20,
      costUsd: 0.21,
      byModel: [model("model-a", 4, 0.2), model("model-c", 1, 0.01)],
    });
  });

  it("is all there is when the totals were counted afresh", () => {
    const before = totals(model("model-a", 100, 1));
    const after = totals(model("model-a", 3, 0.03));
    expect(difference(after, before)).toMatchObject({ inputTokens: 3, costUsd: 0.03 });
  });

  it("is nothing when nothing is known", () => {
    const before = totals(model("model-a", 100, 1));
    expect(difference(before, before)).toMatchObject({ inputTokens: 0, costUsd: 0, byModel: [] });
  });

  it("keeps a model that only wrote to the cache", () => {
    const wrote = { ...model("model-a", 0, 0.1), cacheWriteTokens: 7 };
    expect(difference(totals(wrote), NO_TOTALS)).toMatchObject({ cacheWriteTokens: 7 });
  });

  it("adds up over the turns to the session's total, and is never negative", () => {
    const turn = fc.array(
      fc.record({ name: fc.constantFrom("a", "b"), tokens: fc.nat(1000), cents: fc.nat(500) }),
      { maxLength: 3 },
    );
    fc.assert(
      fc.property(fc.array(turn, { maxLength: 6 }), (turns) => {
        let before: SessionTotals = NO_TOTALS;
        let billedUsd = 0;
        let billedTokens = 0;
        for (const calls of turns) {
          const byModel = new Map(before.byModel.map((usage) => [usage.model, usage]));
          for (const { name, tokens, cents } of calls) {
            const old = byModel.get(name) ?? model(name, 0, 0);
            byModel.set(name, model(name, old.inputTokens + tokens, old.costUsd + cents / 100));
          }
          const after = totals(...byModel.values());
          const share = difference(after, before);
          expect(share.costUsd).toBeGreaterThanOrEqual(-1e-9);
          billedUsd += share.costUsd;
          billedTokens += share.inputTokens;
          before = after;
        }
        expect(billedUsd).toBeCloseTo(before.costUsd, 6);
        expect(billedTokens).toBe(
          before.byModel.reduce((sum, { inputTokens }) => sum + inputTokens, 0),
        );
      }),
    );
  });
});
