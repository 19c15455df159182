/**
 * Goal: a hint is followed only where it costs nobody anything, and each no says why.
 * Method: the pure decision, fact by fact.
 */

import { describe, expect, it } from "vitest";

import { type HintFacts, isWarm, judgeHint, WARM_REASONS } from "../../src/turn/warm-session.ts";

const FREE: HintFacts = {
  isKept: false,
  isLocked: false,
  isLeaving: false,
  wasInVain: false,
  hasPlace: true,
  roomBytes: 100,
  predictedBytes: 100,
  hasIdleSlot: true,
};

describe("judgeHint", () => {
  it.each<[reason: string, what: string, facts: Partial<HintFacts>]>([
    ["started", "room for just one more", {}],
    ["already_warm", "a process, whatever else there is", { isKept: true, roomBytes: 0 }],
    ["busy", "a turn", { isLocked: true }],
    [
      "busy",
      "a process on its way out, though it was in vain",
      { isLeaving: true, wasInVain: true },
    ],
    ["too_soon", "one that was in vain", { wasInVain: true }],
    ["no_room", "no place among those that stay", { hasPlace: false }],
    ["no_room", "a byte too little", { roomBytes: 99 }],
    ["no_room", "every slot taken by starts", { hasIdleSlot: false }],
  ])("says %s with %s", (reason, _what, facts) => {
    expect(judgeHint({ ...FREE, ...facts })).toBe(reason);
  });

  it("promises a process for two of its answers alone", () => {
    const reasons = Object.keys(WARM_REASONS) as (keyof typeof WARM_REASONS)[];
    expect(reasons.filter(isWarm)).toEqual(["started", "already_warm"]);
  });
});
