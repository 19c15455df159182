/**
 * Goal: decisions, a load that is tried and a fleet are told in words that are true.
 * Method: the pure parts of those views, with made-up figures.
 */
import { describe, expect, it } from "vitest";
import { linesOf } from "../../console/src/decisions/lines.ts";
import { NO_HISTORY, withCapacity } from "../../console/src/feed/history.ts";
import { MOST_OPEN, openOf } from "../../console/src/fleet/fleet-feeds.ts";
import { fleetText, shedLately, shedText } from "../../console/src/fleet/fleet-sum.ts";
import {
  isOver,
  newTrial,
  promptFor,
  againText,
  trialText,
  withEnds,
  withTurn,
} from "../../console/src/try-load/trial.ts";
import { bytesText, durationText } from "../../console/src/ui/format.ts";
import { capacityEvent, decision, MIB, START_MS } from "./samples.ts";

describe("decisions", () => {
  it("of gate and guard are one list, the newest first", () => {
    const shed = decision(START_MS + 2, {
      admitted: false,
      reason: "max_turns",
      text: "shed (max_turns): 4 of 4",
      untold: 3,
    });
    const guard = {
      type: "guard",
      by: "guard",
      what: "tool",
      turnId: null,
      bytes: 1,
      text: "ended",
    } as const;
    const lines = linesOf([shed, decision(START_MS)], [{ ...guard, atMs: START_MS + 1 }], 9);
    expect(lines.map(({ word }) => word)).toEqual(["shed: max turns", "guard: tool", "admitted"]);
    expect(lines[0]).toMatchObject({
      text: "hello: 4 of 4",
      untold: "and 3 decisions more before it",
    });
    expect(new Set(lines.map(({ key }) => key)).size).toBe(3);
  });

  it("of the same moment have keys of their own", () => {
    const lines = linesOf([decision(START_MS), decision(START_MS)], [], 9);
    expect(new Set(lines.map(({ key }) => key)).size).toBe(2);
  });
});

describe("a load that is tried", () => {
  const shed = (seconds: number, retryAtMs: number | null = null) =>
    ({ state: "shed", code: "at_capacity", retryAfterSeconds: seconds, retryAtMs }) as const;

  it("counts refusals, also of what was admitted later, with the span of Retry-After", () => {
    let trial = withTurn(newTrial(3), 0, shed(9, START_MS));
    trial = withTurn(trial, 1, shed(3));
    trial = withTurn(trial, 0, { state: "running", turnId: "a", sessionId: null });
    expect(trialText(trial)).toBe(
      "1 on their way, 1 on board, 1 shed. 2 refusals in all, each at once and with Retry-After: 3 to 9 s.",
    );
  });

  it("counts down to those that come again", () => {
    const once = withTurn(newTrial(3), 0, shed(9, START_MS + 8_001));
    expect(againText(once, START_MS)).toBe("1 comes again in 9 s.");
    const twice = withTurn(once, 1, shed(3, START_MS + 3_000));
    expect(againText(twice, START_MS)).toBe("2 come again, the first in 3 s.");
    expect(againText(twice, START_MS + 60_000)).toBe("2 come again, the first in 0 s.");
    expect(againText(withTurn(newTrial(1), 0, shed(3)), START_MS)).toBe("");
  });

  it("is over when nothing of it runs or will be sent again", () => {
    const running = withTurn(newTrial(1), 0, { state: "running", turnId: "a", sessionId: null });
    expect(isOver(running)).toBe(false);
    expect(isOver(withTurn(newTrial(1), 0, shed(3, START_MS)))).toBe(false);
    expect(isOver(withTurn(newTrial(1), 0, shed(3)))).toBe(true);
    expect(isOver(withEnds(running, (turnId) => turnId === "a"))).toBe(true);
    expect(withEnds(running, () => false)).toBe(running);
  });

  it("asks for as many words as take so long", () => {
    expect(promptFor(8).split(" ")).toHaveLength(320);
  });
});

describe("a fleet", () => {
  const history = withCapacity(
    withCapacity(NO_HISTORY, capacityEvent(START_MS)),
    capacityEvent(START_MS + 1000, { shed: { memory: 7 } }),
  );
  const one = {
    name: "one",
    isDown: false,
    capacity: capacityEvent(START_MS, { inflight: 5, usedBytes: 800 * MIB }),
    shed: shedLately(history, START_MS + 2000),
  };
  const down = { ...one, name: "two", isDown: true, shed: 0 };

  it("carries what those carry that are up", () => {
    expect(fleetText([one, down])).toBe(
      "1 replica of 2: 5 turns in flight, 7 more fit; 800 MiB of 1,867 MiB committed.",
    );
  });

  it("says who sheds", () => {
    expect(shedText([down, one])).toBe("Shed in the last 5 minutes: one 7.");
    expect(shedText([down])).toMatch(/^Nobody/);
  });

  it("of many is looked at in turns, so that each has its turn", () => {
    const names = ["a", "b", "c", "d", "e", "f", "g"];
    expect(openOf(names.slice(0, MOST_OPEN), 5)).toEqual(["a", "b", "c"]);
    const seen = [0, 1, 2].flatMap((round) => openOf(names, round));
    expect(new Set(seen)).toEqual(new Set(names));
  });
});

describe("figures", () => {
  it.each([
    [0, "0 KiB"],
    [800 * 1024, "800 KiB"],
    [1867 * MIB, "1,867 MiB"],
    [23.4 * 1024 * MIB, "23.4 GiB"],
  ])("of %d bytes are %s", (bytes, text) => {
    expect(bytesText(bytes)).toBe(text);
  });

  it.each([
    [850, "850 ms"],
    [4200, "4.2 s"],
    [59_990, "60 s"],
    [200_000, "3 min 20 s"],
    [3_600_000, "1 h"],
    [7_500_000, "2 h 5 min"],
    [-5, "0 ms"],
  ])("of %d ms are %s", (ms, text) => {
    expect(durationText(ms)).toBe(text);
  });
});
