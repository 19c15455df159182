/**
 * Goal: the history goes on where the server's ends, in its steps, and is an hour long at most.
 * Method: histories and live events with times of their own; no clock.
 */
import { describe, expect, it } from "vitest";
import type { FeedHistory } from "../../src/protocol/feed.ts";
import {
  historyFrom,
  NO_HISTORY,
  timesOf,
  withCapacity,
  withFirstToken,
} from "../../console/src/feed/history.ts";
import { summaryOf, windowOf } from "../../console/src/history/window.ts";
import { capacityEvent, MIB, turn } from "./samples.ts";

const FROM_MS = 1_800_000_000_000;
const STEP_MS = 10_000;

function toldHistory(inflight: (number | null)[]): FeedHistory {
  const column = () => inflight.map((value) => (value === null ? null : value * MIB));
  return {
    type: "history",
    stepMs: STEP_MS,
    fromMs: FROM_MS,
    limitBytes: column(),
    loadLineBytes: column(),
    committedBytes: column(),
    usedBytes: column(),
    inflight,
    turnsThatFit: inflight,
    shed: inflight.map(() => 0),
    firstTokenMs: inflight.map(() => null),
  };
}

describe("live figures", () => {
  it("of a step that is told already raise what is its most", () => {
    const told = historyFrom(toldHistory([1, 5]));
    const history = withCapacity(told, capacityEvent(FROM_MS + 15_000, { inflight: 3 }));
    expect(history.inflight).toEqual([1, 5]);
    expect(withCapacity(told, capacityEvent(FROM_MS + 15_000, { inflight: 8 })).inflight).toEqual([
      1, 8,
    ]);
  });

  it("after a pause leave the steps between empty", () => {
    const told = historyFrom(toldHistory([1]));
    const history = withCapacity(told, capacityEvent(FROM_MS + 35_000, { inflight: 2 }));
    expect(history.inflight).toEqual([1, null, null, 2]);
    expect(timesOf(history)[3]).toBe(FROM_MS + 35_000);
  });

  it("push out what is older than an hour", () => {
    const told = historyFrom(toldHistory(Array<number>(360).fill(1)));
    const history = withCapacity(told, capacityEvent(FROM_MS + 3_605_000, { inflight: 7 }));
    expect(history.inflight).toHaveLength(360);
    expect(history.inflight.at(-1)).toBe(7);
    expect(history.fromMs).toBe(FROM_MS + STEP_MS);
    expect(timesOf(history).at(-1)).toBe(FROM_MS + 3_605_000);
  });

  it("after more than an hour begin anew", () => {
    const told = historyFrom(toldHistory([1, 1]));
    const history = withCapacity(told, capacityEvent(FROM_MS + 9_000_000, { inflight: 7 }));
    expect(history.inflight).toHaveLength(360);
    expect(history.inflight.filter((value) => value !== null)).toEqual([7]);
    expect(timesOf(history).at(-1)).toBe(FROM_MS + 9_005_000);
  });

  it("count refusals since the last ones, and none that were before", () => {
    let history = withCapacity(NO_HISTORY, capacityEvent(FROM_MS, { shed: { memory: 40 } }));
    expect(history.shed).toEqual([0]);
    history = withCapacity(
      history,
      capacityEvent(FROM_MS + 1000, { shed: { memory: 42, start: 1 } }),
    );
    expect(history.shed).toEqual([3]);
  });
});

describe("first tokens", () => {
  it("are the median of those that came in the step", () => {
    const times = [100, 900, 300, 500];
    const history = times.reduce(
      (known, firstTokenMs) =>
        withFirstToken(known, turn("a", { startedAtMs: FROM_MS, firstTokenMs })),
      NO_HISTORY,
    );
    expect(history.firstTokenMs).toEqual([400]);
  });
});

describe("what is shown of it", () => {
  const history = historyFrom(toldHistory(Array.from({ length: 100 }, (_, index) => index)));
  const shown = windowOf(history, 5, FROM_MS + 1_000_000);

  it("is its end", () => {
    expect(shown.timesMs).toHaveLength(30);
    expect(shown.inflight[0]).toBe(70);
    expect(shown.inflight.at(-1)).toBe(99);
  });

  it("is said in words, also where nothing is known", () => {
    expect(summaryOf(shown).turns).toBe("At most 99 turns at once; 99 turns would fit now.");
    expect(summaryOf(shown).shed).toBe("No turn was shed.");
    expect(summaryOf(windowOf(NO_HISTORY, 5, FROM_MS)).memory).toMatch(/^Nothing is known/);
  });
});
