/**
 * Goal: what benchmarks say of the turns they offered is what the callers saw.
 * Method: answers made by hand.
 */
import { describe, expect, it } from "vitest";

import type { TurnAnswer } from "../../bench/turn-client.ts";
import { inFlightOver, sampled, stalledSeconds } from "../../bench/turn-load.ts";

function answer(given: Partial<TurnAnswer>): TurnAnswer {
  return {
    askedAtMs: 0,
    status: 200,
    headers: {},
    shed: null,
    turnId: "",
    startedAtMs: 0,
    textAtMs: [],
    text: "",
    toolResults: [],
    endedAtMs: 10_000,
    outcome: "completed",
    ...given,
  };
}

/** Text every 100 ms, but for a gap. */
function textBetween(fromMs: number, toMs: number, gap: readonly [number, number] = [0, 0]) {
  const times = Array.from({ length: (toMs - fromMs) / 100 }, (_, at) => fromMs + at * 100);
  return times.filter((at) => at < gap[0] || at >= gap[1]);
}

describe("inFlightOver", () => {
  it("counts a turn from its admission to its end, and a refused one never", () => {
    const steps = inFlightOver([
      answer({ startedAtMs: 100, endedAtMs: 400 }),
      answer({ startedAtMs: 200, endedAtMs: 300 }),
      answer({ startedAtMs: null, shed: "memory", outcome: "shed" }),
    ]);
    expect(sampled(steps, { fromMs: 50, toMs: 500, everyMs: 100 })).toEqual([0, 1, 2, 1, 0]);
  });
});

describe("stalledSeconds", () => {
  it("is none while all receive text", () => {
    const turns = [answer({ textAtMs: textBetween(500, 9_500) })];
    expect(stalledSeconds(turns, 0, 10_000)).toBe(0);
  });

  it("counts the whole seconds in which half of the turns received nothing", () => {
    const silent = answer({ textAtMs: textBetween(500, 9_500, [3_000, 5_000]) });
    const lively = answer({ textAtMs: textBetween(500, 9_500) });
    expect(stalledSeconds([silent, lively], 0, 10_000)).toBe(2);
    expect(stalledSeconds([silent, lively, lively], 0, 10_000)).toBe(0);
  });

  it("counts the silence of a turn that never completed, up to its end", () => {
    const lost = answer({ textAtMs: textBetween(500, 2_000), outcome: "broken" });
    expect(stalledSeconds([lost], 0, 10_000)).toBe(8);
  });
});
