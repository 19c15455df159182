/**
 * Goal: what the page knows is what the feed has told, and never more than its limits.
 * Method: events through the reducer; a week of them for what must not grow.
 */
import { describe, expect, it } from "vitest";
import type { CapacityView } from "../../src/http/server-parts.ts";
import type { Capacity } from "../../console/src/feed/capacity.ts";
import { reduceAll } from "../../console/src/feed/reduce.ts";
import { EMPTY, type FeedEvent, type FeedState, LIMITS } from "../../console/src/feed/state.ts";
import { capacityEvent, decision, ended, hello, START_MS, turn } from "./samples.ts";

function told(...events: FeedEvent[]): FeedState {
  return reduceAll(EMPTY, events, START_MS);
}

describe("what the page reads of /capacity", () => {
  it("is there in what the server says", () => {
    // That this compiles is the test.
    const read = (view: CapacityView): Capacity => view;
    expect(read).toBeTypeOf("function");
  });
});

describe("turns", () => {
  it("are live from their first event to their end", () => {
    const running = told(hello(), { type: "turn", turn: turn("a") });
    expect([...running.liveTurns.keys()]).toEqual(["a"]);
    const over = reduceAll(running, [{ type: "turn", turn: ended("a") }], START_MS);
    expect([...over.liveTurns.keys()]).toEqual([]);
    expect(over.endedTurns.map(({ turnId }) => turnId)).toEqual(["a"]);
    expect([...running.liveTurns.keys()], "a state is never changed").toEqual(["a"]);
  });

  it("that have ended are listed with the newest first", () => {
    const state = told({ type: "turn", turn: ended("a") }, { type: "turn", turn: ended("b") });
    expect(state.endedTurns.map(({ turnId }) => turnId)).toEqual(["b", "a"]);
  });
});

describe("a turn that is told of once more", () => {
  const known = ended("known", { firstTokenMs: 300 });
  const recalled: FeedEvent = { type: "recent", turns: [known], decisions: [], guard: [] };
  const later = ended("known", { firstTokenMs: 300, costUsd: 0.5 });
  const again: FeedEvent = { type: "turn", turn: later };
  const other: FeedEvent = { type: "turn", turn: ended("other") };

  it.each([
    ["with what is recalled", [recalled, again, other], []],
    ["after what is recalled", [recalled], [again, other]],
    ["after all else", [recalled, other], [again]],
  ])("stays in its place, as it is told last: %s", (_when, first, second) => {
    const state = reduceAll(told(hello(), ...first), second, START_MS);
    expect(state.endedTurns.map(({ turnId }) => turnId)).toEqual(["other", "known"]);
    expect(state.endedTurns[1]).toBe(later);
    expect(state.liveTurns.size).toBe(0);
    expect(state.history, "the last hour has it already").toEqual(EMPTY.history);
  });

  it("does not run again", () => {
    const state = told(hello(), recalled, { type: "turn", turn: turn("known") });
    expect(state.liveTurns.size).toBe(0);
    expect(state.endedTurns).toEqual([known]);
  });
});

describe("a connection that came back", () => {
  it("to the same replica knows what it is told now, and nothing twice", () => {
    const before = told(hello(), { type: "turn", turn: turn("gone") }, decision(START_MS));
    const recalled: FeedEvent = {
      type: "recent",
      turns: [ended("gone"), turn("here")],
      decisions: [decision(START_MS), decision(START_MS + 1)],
      guard: [],
    };
    const after = reduceAll(before, [hello(), recalled], START_MS);
    expect([...after.liveTurns.keys()]).toEqual(["here"]);
    expect(after.endedTurns.map(({ turnId }) => turnId)).toEqual(["gone"]);
    expect(after.decisions.map(({ atMs }) => atMs)).toEqual([START_MS + 1, START_MS]);
    expect(after.restartedAtMs).toBeNull();
  });

  it("to a replica that has started again forgets the one before, and says when", () => {
    const before = told(
      hello(),
      { type: "turn", turn: turn("lost") },
      { type: "turn", turn: ended("old") },
      capacityEvent(START_MS),
    );
    const after = reduceAll(before, [hello(START_MS + 9000, START_MS + 9500)], START_MS);
    expect(after).toMatchObject({ endedTurns: [], capacity: null, restartedAtMs: START_MS + 9500 });
    expect(after.liveTurns.size).toBe(0);
    expect(after.history.inflight).toEqual([]);
  });

  it("goes by the clock of the server", () => {
    expect(reduceAll(EMPTY, [hello(START_MS, START_MS + 70)], START_MS).clockOffsetMs).toBe(70);
  });
});

describe("a week of events", () => {
  it("leaves no more than the limits", () => {
    let state = told(hello());
    const stepMs = 60_000;
    for (let minute = 0; minute < 7 * 24 * 60; minute += 1) {
      const atMs = START_MS + minute * stepMs;
      state = reduceAll(
        state,
        [
          { type: "turn", turn: turn(`never ended ${minute}`) },
          {
            type: "turn",
            turn: ended(`ended ${minute}`, { startedAtMs: atMs, firstTokenMs: 300 }),
          },
          decision(atMs),
          { type: "guard", by: "guard", atMs, what: "tool", turnId: null, bytes: null, text: "" },
          capacityEvent(atMs),
        ],
        atMs,
      );
    }
    expect(state.liveTurns.size).toBe(LIMITS.liveTurns);
    expect(state.endedTurns).toHaveLength(LIMITS.endedTurns);
    expect(state.decisions).toHaveLength(LIMITS.decisions);
    expect(state.guardEvents).toHaveLength(LIMITS.guardEvents);
    expect(state.history.inflight).toHaveLength(3600 / 5);
    expect(state.history.firstTokens.length).toBeLessThanOrEqual(500);
  });
});

describe("an event", () => {
  it("leaves what it does not touch as the same object", () => {
    const before = told(hello(), { type: "turn", turn: turn("a") }, decision(START_MS));
    const after = reduceAll(before, [capacityEvent(START_MS)], START_MS);
    expect(after.liveTurns).toBe(before.liveTurns);
    expect(after.endedTurns).toBe(before.endedTurns);
    expect(after.decisions).toBe(before.decisions);
  });
});
