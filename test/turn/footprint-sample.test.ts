import { describe, expect, it } from "vitest";
import { FootprintBook } from "../../src/capacity/footprint.ts";
import { type MeasuredTurn, footprintSampleOf } from "../../src/turn/footprint-sample.ts";
import type { TurnOutcome } from "../../src/turn/turn.ts";

const MiB = 2 ** 20;
const USAGE = {} as TurnOutcome["usage"];
const COMPLETED: TurnOutcome = {
  status: "completed",
  stopReason: "end_turn",
  text: "",
  usage: USAGE,
};
const OUT_OF_MEMORY: TurnOutcome = {
  status: "failed",
  code: "turn_out_of_memory",
  message: "",
  usage: USAGE,
};
const CANCELLED: TurnOutcome = { status: "cancelled", cause: "cancel_requested", usage: USAGE };

/** Predicted 130 MiB. */
function ended(outcome: TurnOutcome, peakMiB: number, toolsEndedForMemory = 0): MeasuredTurn {
  const figures = { carriedBytes: 0, predictedBytes: 130 * MiB };
  return { outcome, peakBytes: peakMiB * MiB, toolsEndedForMemory, ...figures };
}

const sample = (peakMiB: number, endedForMemory = false) => ({
  carriedBytes: 0,
  peakBytes: peakMiB * MiB,
  endedForMemory,
  atMs: 7,
});

describe("footprintSampleOf", () => {
  it.each([
    ["a turn that completed", ended(COMPLETED, 120), sample(120)],
    ["one that was ended for memory", ended(OUT_OF_MEMORY, 300), sample(300, true)],
    ["nothing of one cut short", ended(CANCELLED, 120), null],
    ["one cut short that had outgrown its prediction", ended(CANCELLED, 140), sample(140)],
    ["nothing of one that was not measured", { ...ended(COMPLETED, 1), peakBytes: null }, null],
    ["nothing of one with a tool that was ended", ended(COMPLETED, 1000, 1), null],
    ["nor when it was cut short", ended(CANCELLED, 1000, 1), null],
    // How much of the peak was the tool's is not known; that the turn was to be ended is.
    ["no peak of one ended after its tool", ended(OUT_OF_MEMORY, 1000, 1), sample(130, true)],
  ])("takes %s", (_what, turn, expected) => {
    expect(footprintSampleOf(turn, 7)).toEqual(expected);
  });

  it("keeps the prediction where a tool that ballooned was ended", () => {
    const book = new FootprintBook({ priorBytes: 500 * MiB, versionOf: () => "1" });
    book.calibrate(95 * MiB);
    const learn = (turn: MeasuredTurn, atMs: number) => {
      const learned = footprintSampleOf(turn, atMs);
      if (learned !== null) book.learn("desk", learned);
    };
    for (let count = 0; count < 20; count += 1) learn(ended(COMPLETED, 122 + (count % 9)), count);
    const weigh = () => [book.predict("desk", 0), book.poolBytes(["desk", "desk"])];
    const before = weigh();
    learn(ended(COMPLETED, 1000, 1), 21);
    expect(weigh()).toEqual(before);
    learn(ended(OUT_OF_MEMORY, 1000, 1), 22);
    expect(book.predict("desk", 0)).toBeGreaterThan(before[0] ?? 0);
    expect(book.predict("desk", 0)).toBeLessThan(150 * MiB);
  });
});
