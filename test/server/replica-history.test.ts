/**
 * Goal: the last hour of a replica, true for each step, whenever somebody comes to end one.
 */

import { expect, it } from "vitest";

import { feedSchemas } from "../../src/protocol/feed.ts";
import { ReplicaHistory, type HistoryFigures } from "../../src/server/replica-history.ts";

const STEP_MS = 5_000;
/** Of the clock that nobody sets. */
const BEGAN_MS = 123.4;
const WALL_MS = 1_800_000_000_000;

function figures(changes: Partial<HistoryFigures> = {}): HistoryFigures {
  return {
    limitBytes: 100,
    loadLineBytes: 90,
    committedBytes: 50.4,
    usedBytes: 40,
    inflight: 2,
    turnsThatFit: 5,
    shed: { memory: 0, max_turns: 0, share: 0, start: 0, pressure: 0, draining: 0 },
    ...changes,
  };
}

function shed(memory: number, share = 0): HistoryFigures {
  return figures({ shed: { ...figures().shed, memory, share } });
}

/** What it tells at the end of that step. */
function told(history: ReplicaHistory, steps: number) {
  const event = history.event(BEGAN_MS + steps * STEP_MS, WALL_MS);
  feedSchemas.history.parse(event);
  return event;
}

const atEnd = (step: number) => BEGAN_MS + step * STEP_MS;

it("is an hour of nothing before the first step is over", () => {
  const history = new ReplicaHistory(BEGAN_MS);
  const { stepMs, fromMs, inflight, shed: shedColumn } = told(history, 0);
  expect([stepMs, inflight.length, shedColumn.length]).toEqual([STEP_MS, 720, 720]);
  expect(fromMs).toBe(WALL_MS - 720 * STEP_MS);
  expect(new Set(inflight)).toEqual(new Set([null]));
});

it("has the newest step last, whole numbers, and says when the first began", () => {
  const history = new ReplicaHistory(BEGAN_MS);
  history.endStep(figures(), atEnd(1));
  history.endStep(figures({ inflight: 3 }), atEnd(2));
  const { inflight, committedBytes, fromMs } = told(history, 2);
  expect(inflight.slice(-3)).toEqual([null, 2, 3]);
  expect(committedBytes.at(-1)).toBe(50);
  expect(fromMs).toBe(WALL_MS - 720 * STEP_MS);
  // In the middle of a step, the last one that is over ended half a step ago.
  expect(told(history, 2.5).fromMs).toBe(WALL_MS - 720.5 * STEP_MS);
});

it("has the most that was seen in the step of what comes and goes, and the end of all else", () => {
  const history = new ReplicaHistory(BEGAN_MS);
  history.saw(figures({ inflight: 9, committedBytes: 80, turnsThatFit: 9, loadLineBytes: 60 }));
  history.saw(figures({ inflight: 4, usedBytes: 70 }));
  history.endStep(figures(), atEnd(1));
  history.endStep(figures(), atEnd(2));
  const { inflight, committedBytes, usedBytes, turnsThatFit, loadLineBytes } = told(history, 2);
  expect(inflight.slice(-2)).toEqual([9, 2]);
  expect(committedBytes.slice(-2)).toEqual([80, 50]);
  expect(usedBytes.slice(-2)).toEqual([70, 40]);
  expect([turnsThatFit.at(-2), loadLineBytes.at(-2)]).toEqual([5, 90]);
});

it("counts what was shed in the step, for whatever reason", () => {
  const history = new ReplicaHistory(BEGAN_MS);
  history.endStep(shed(3), atEnd(1));
  history.endStep(shed(10, 5), atEnd(2));
  history.endStep(shed(10, 5), atEnd(3));
  expect(told(history, 3).shed.slice(-4)).toEqual([null, 3, 12, 0]);
});

it("has the median of the first tokens of the step", () => {
  const history = new ReplicaHistory(BEGAN_MS);
  for (const firstTokenMs of [900, 100, 300]) history.firstToken(firstTokenMs);
  history.endStep(figures(), atEnd(1));
  for (const firstTokenMs of [200, 101]) history.firstToken(firstTokenMs);
  history.endStep(figures(), atEnd(2));
  history.endStep(figures(), atEnd(3));
  expect(told(history, 3).firstTokenMs.slice(-4)).toEqual([null, 300, 151, null]);
});

it("leaves out steps that nobody came to end, and takes one a little early or late", () => {
  const history = new ReplicaHistory(BEGAN_MS);
  history.endStep(figures({ inflight: 1 }), atEnd(1) - 3);
  history.endStep(figures({ inflight: 9 }), atEnd(1));
  history.endStep(figures({ inflight: 4 }), atEnd(4) + 700);
  expect(told(history, 4).inflight.slice(-5)).toEqual([null, 1, null, null, 4]);
});

it("holds an hour and no more, also after a day of sleep", () => {
  const history = new ReplicaHistory(BEGAN_MS);
  for (let step = 1; step <= 1_000; step += 1) {
    history.endStep(figures({ inflight: step }), atEnd(step));
  }
  const { inflight } = told(history, 1_000);
  expect(inflight).toEqual(Array.from({ length: 720 }, (_, n) => 281 + n));
  history.endStep(figures({ inflight: 7 }), atEnd(20_000));
  const slept = told(history, 20_000).inflight;
  expect(slept).toHaveLength(720);
  expect(slept.filter((value) => value !== null)).toEqual([7]);
  expect(slept.at(-1)).toBe(7);
});

it("says how long the step that runs still takes", () => {
  const history = new ReplicaHistory(BEGAN_MS);
  expect(history.leftMs(BEGAN_MS)).toBe(STEP_MS);
  expect(history.leftMs(BEGAN_MS + 12_000)).toBeCloseTo(3_000);
});
