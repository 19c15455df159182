/**
 * Goal: a row says how a turn ended as an operator would, and its time line adds up.
 * Method: turns as the feed has them, and random stages.
 */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import {
  filterFrom,
  isWanted,
  spansOf,
  timelineText,
  toolsEndedText,
  verdictOf,
} from "../../console/src/turns/turn-facts.ts";
import type { FeedGuardEvent, FeedStage, FeedTurn } from "../../src/protocol/feed.ts";
import { turn as sampleTurn } from "./samples.ts";

const TURN = sampleTurn("turn-1", {
  agent: "helper",
  tenant: "acme",
  startedAtMs: 1_000,
  predictedBytes: 200,
  stages: [{ stage: "waiting", sinceMs: 1_000 }],
});

function ended(
  status: "completed" | "limit_reached" | "cancelled" | "failed",
  detail: string | null,
) {
  return { ...TURN, outcome: { status, detail, message: null } };
}

const GUARD: FeedGuardEvent = {
  type: "guard",
  by: "guard",
  atMs: 2_000,
  what: "turn",
  turnId: "turn-1",
  bytes: 300,
  text: "ended a turn",
};

describe("how a turn ended", () => {
  it.each([
    [ended("completed", null), "completed", "good"],
    [ended("limit_reached", "budget"), "no budget left", "warn"],
    [ended("cancelled", "client_gone"), "cancelled: its client left", ""],
    [ended("cancelled", "cancel_requested"), "cancelled", ""],
    [ended("failed", "model_overloaded"), "failed: model_overloaded", "bad"],
    [ended("failed", "turn_out_of_memory"), "ended by the memory guard", "bad"],
    [TURN, "waits to start", "accent"],
  ])("is said in words: %#", (turn, text, tone) => {
    expect(verdictOf(turn, [GUARD])).toEqual({ text, tone });
  });

  it("is not said of the guard where it was not the guard", () => {
    const turn = ended("failed", "turn_out_of_memory");
    expect(verdictOf(turn, [{ ...GUARD, turnId: "other" }]).text).toBe("ended: memory ran out");
    expect(verdictOf(turn, [{ ...GUARD, what: "tool" }]).text).toBe("ended: memory ran out");
  });

  it("names the tools that were ended", () => {
    expect(toolsEndedText(TURN)).toBe("");
    expect(toolsEndedText({ ...TURN, toolsEnded: 2 })).toBe("2 tools ended by the memory guard");
    expect(toolsEndedText({ ...TURN, toolsKilled: 1 })).toBe("1 tool ended at the turn's ceiling");
  });
});

describe("which turns are wanted", () => {
  const wanted = (query: string, turn: FeedTurn) =>
    isWanted(turn, filterFrom(new URLSearchParams(query)));

  it("is in the address", () => {
    expect(wanted("", TURN)).toBe(true);
    expect(wanted("agent=helper&tenant=acme&state=running", TURN)).toBe(true);
    expect(wanted("agent=other", TURN)).toBe(false);
    expect(wanted("tenant=other", TURN)).toBe(false);
    expect(wanted("state=completed", TURN)).toBe(false);
    expect(wanted("state=completed", ended("completed", null))).toBe(true);
    expect(wanted("state=memory", ended("failed", "turn_out_of_memory"))).toBe(true);
    expect(wanted("state=memory", { ...TURN, toolsEnded: 1 })).toBe(true);
    expect(wanted("state=nonsense", TURN)).toBe(true);
  });
});

describe("the time line", () => {
  const stage = fc.record({
    stage: fc.constantFrom<FeedStage["stage"][]>("waiting", "starting", "writing", "tool", "ended"),
    sinceMs: fc.integer({ min: 0, max: 5_000 }),
  });

  it("lies within the turn, in order and without an overlap, whatever clocks say", () => {
    fc.assert(
      fc.property(fc.array(stage, { maxLength: 8 }), fc.nat(5_000), (stages, nowMs) => {
        const spans = spansOf({ ...TURN, stages }, nowMs);
        let atShare = 0;
        for (const { from, share, ms } of spans) {
          expect(ms).toBeGreaterThan(0);
          expect(share).toBeGreaterThan(0);
          expect(from).toBeGreaterThanOrEqual(atShare - 1e-9);
          atShare = from + share;
        }
        expect(atShare).toBeLessThanOrEqual(1 + 1e-9);
      }),
    );
  });

  it("is said in words, each stage once", () => {
    const stages: FeedStage[] = [
      { stage: "starting", sinceMs: 1_000 },
      { stage: "writing", sinceMs: 1_400 },
      { stage: "tool", sinceMs: 2_000, toolName: "Bash" },
      { stage: "writing", sinceMs: 4_000 },
      { stage: "ended", sinceMs: 5_000 },
    ];
    const spans = spansOf({ ...TURN, stages, endedAtMs: 5_000 }, 9_000);
    expect(timelineText(spans)).toBe("started 400 ms, wrote 1.6 s, in tools 2 s");
    expect(spans.map(({ toolName }) => toolName)).toEqual([null, null, "Bash", null]);
  });
});
