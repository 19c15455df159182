/**
 * Goal: what has happened is kept within its limits, and a flood of decisions is told in part and
 * counted in whole.
 */

import { describe, expect, it } from "vitest";

import type { GateDecision } from "../../src/capacity/shed.ts";
import type { FeedDecision, FeedGuardEvent } from "../../src/protocol/feed.ts";
import { FeedBook } from "../../src/server/feed-book.ts";
import type { TurnOutcome } from "../../src/turn/turn.ts";
import type { TurnAdmitted } from "../../src/turn/turn-view.ts";
import { USAGE } from "../protocol/turns.ts";

const ADMITTED: TurnAdmitted = {
  type: "turn_admitted",
  agent: "desk",
  tenant: "acme",
  caller: "ada",
  sessionId: "s",
  threadId: "t",
  startedAtMs: Date.now(),
  predictedBytes: 200,
  carriedBytes: 3,
};
const COMPLETED: TurnOutcome = { status: "completed", usage: USAGE, stopReason: "end", text: "" };
const SHED: GateDecision = { reason: "memory", text: "full", tenant: "acme", agentName: "desk" };

/** A book with one who writes down what he hears. */
function open() {
  const book = new FeedBook();
  const heard = {
    admitted: 0,
    turns: [] as string[],
    firstTokens: [] as number[],
    decisions: [] as FeedDecision[],
    guard: [] as FeedGuardEvent[],
  };
  book.listen({
    turnAdmitted: () => (heard.admitted += 1),
    turnChanged: (turnId) => heard.turns.push(turnId),
    firstToken: (firstTokenMs) => heard.firstTokens.push(firstTokenMs),
    decided: (decision) => heard.decisions.push(decision),
    guardActed: (event) => heard.guard.push(event),
  });
  return { book, heard };
}

describe("turns", () => {
  it("are there while they run and after, those that run last", () => {
    const { book, heard } = open();
    book.tell("one", ADMITTED);
    book.tell("two", ADMITTED);
    book.tell("one", { type: "text_started", messageId: "m" });
    book.tell("one", { type: "text_delta", messageId: "m", delta: "Hello" });
    book.tell("one", { type: "turn_ended", outcome: COMPLETED });
    expect(heard.admitted).toBe(2);
    expect(heard.turns).toEqual(["one", "two", "one", "one"]);
    expect(heard.firstTokens).toHaveLength(1);
    expect(book.recent().turns.map(({ turnId }) => turnId)).toEqual(["one", "two"]);
    expect(book.turn("one")?.outcome?.status).toBe("completed");
    expect(book.turn("two")?.outcome).toBeNull();
  });

  it("that were never admitted are none", () => {
    const { book, heard } = open();
    book.tell("refused", { type: "turn_broke", code: "session_not_found", message: "Cannot" });
    expect([heard.turns, book.recent().turns]).toEqual([[], []]);
  });

  it("are forgotten a hundred turns later, and never while they run", () => {
    const { book } = open();
    book.tell("runs", ADMITTED);
    for (let n = 0; n < 150; n += 1) {
      book.tell(`${n}`, ADMITTED);
      book.tell(`${n}`, { type: "turn_ended", outcome: COMPLETED });
    }
    const ids = book.recent().turns.map(({ turnId }) => turnId);
    expect(ids).toEqual([...Array.from({ length: 100 }, (_, n) => `${n + 50}`), "runs"]);
  });

  it("have the tools that the guard has ended", () => {
    const { book, heard } = open();
    book.tell("one", ADMITTED);
    book.guardActed({ what: "tool", turnId: "one", bytes: 5, text: "ended a tool" });
    book.guardActed({ what: "cache", turnId: null, bytes: 6, text: "ended a spare" });
    expect(book.turn("one")?.toolsEnded).toBe(1);
    expect(heard.guard.map(({ what }) => what)).toEqual(["tool", "cache"]);
    expect(book.recent().guard).toEqual(heard.guard);
  });

  it("have those that the kernel has ended, which nobody tells before the turn is over", () => {
    const { book, heard } = open();
    book.tell("one", ADMITTED);
    const measured = { type: "turn_measured", peakBytes: 9, toolsEnded: 0 } as const;
    book.tell("one", { ...measured, toolsKilled: 0 });
    expect(heard.guard).toEqual([]);
    book.tell("one", { ...measured, toolsKilled: 2 });
    expect(book.turn("one")).toMatchObject({ toolsEnded: 0, toolsKilled: 2 });
    expect(heard.guard).toMatchObject([{ by: "kernel", what: "tool", turnId: "one" }]);
    expect(book.recent().guard).toEqual(heard.guard);
  });
});

describe("decisions", () => {
  it("are told in the words of the gate", () => {
    const { book, heard } = open();
    book.decided(SHED, 0);
    book.decided({ ...SHED, reason: null, text: "admitted" }, 1);
    expect(heard.decisions).toMatchObject([
      { admitted: false, reason: "memory", text: "full", agent: "desk", tenant: "acme" },
      { admitted: true, reason: null, text: "admitted" },
    ]);
  });

  it("of a flood are told twenty times a second, and all are counted", () => {
    const { book, heard } = open();
    const perSecond = 3_000;
    for (let n = 0; n < 10 * perSecond; n += 1) book.decided(SHED, (1_000 * n) / perSecond);
    expect(heard.decisions.length).toBeGreaterThan(200);
    expect(heard.decisions.length).toBeLessThanOrEqual(220);
    // The next one that is told brings what is left.
    book.decided(SHED, 20_000);
    const untold = heard.decisions.reduce((sum, decision) => sum + decision.untold, 0);
    expect(untold + heard.decisions.length).toBe(10 * perSecond + 1);
  });

  it("are kept, fifty of them, as are the ends by the guard", () => {
    const { book, heard } = open();
    for (let n = 0; n < 120; n += 1) {
      book.decided({ ...SHED, text: `${n}` }, n * 1_000);
      book.guardActed({ what: "turn", turnId: `${n}`, bytes: n, text: "" });
    }
    expect(book.recent().decisions).toEqual(heard.decisions.slice(-50));
    expect(book.recent().guard).toEqual(heard.guard.slice(-50));
  });
});
