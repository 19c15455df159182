/**
 * Goal: whatever is told of a turn, and in whatever order, its view is one that can be shown.
 * Method: turns as they go, step by step; and any order of any news.
 */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { TurnEvent, TurnOutcome } from "../../src/turn/turn.ts";
import { feedSchemas } from "../../src/protocol/feed.ts";
import {
  advance,
  beginProgress,
  type TurnAdmitted,
  type TurnProgress,
  type TurnStep,
  type TurnView,
} from "../../src/turn/turn-view.ts";
import { USAGE } from "../protocol/turns.ts";

const ADMITTED: TurnAdmitted = {
  type: "turn_admitted",
  agent: "desk",
  tenant: "acme",
  caller: "ada",
  sessionId: "s",
  threadId: "t",
  startedAtMs: 1_000,
  predictedBytes: 200,
  carriedBytes: 3,
};

const COMPLETED: TurnOutcome = { status: "completed", usage: USAGE, stopReason: "end", text: "" };

const text = (kind: "text" | "reasoning", what: "started" | "ended"): TurnEvent => ({
  type: `${kind}_${what}`,
  messageId: "m",
});
const call = (toolCallId: string, toolName: string): TurnEvent => {
  return { type: "tool_call_started", toolCallId, toolName, messageId: "m" };
};
const result = (toolCallId: string): TurnEvent => {
  return { type: "tool_result", toolCallId, content: "", isError: false };
};

/** The view after the steps, each told 10 ms after the one before. */
function viewAfter(...steps: readonly TurnStep[]): TurnView {
  let progress = beginProgress("turn", ADMITTED);
  for (const [index, step] of steps.entries()) {
    progress = advance(progress, step, 1_010 + 10 * index);
  }
  return progress.view;
}

/** E.g. `waiting@0`, in milliseconds since the admission. */
function stagesOf({ stages }: TurnView): string[] {
  return stages.map(({ stage, sinceMs, toolName }) => {
    return `${stage}${toolName === undefined ? "" : ` ${toolName}`}@${sinceMs - 1_000}`;
  });
}

describe("the view of a turn", () => {
  it("begins with what it was admitted with", () => {
    const { type: _, ...facts } = ADMITTED;
    expect(viewAfter()).toMatchObject({ turnId: "turn", ...facts, outcome: null, endedAtMs: null });
    expect(stagesOf(viewAfter())).toEqual(["waiting@0"]);
  });

  it("goes through its start, what it says, and its end", () => {
    const view = viewAfter(
      { type: "process_taken", source: "started" },
      { type: "process_started" },
      text("text", "started"),
      { type: "text_delta", messageId: "m", delta: "Hello" },
      text("text", "ended"),
      { type: "turn_ending" },
      { type: "turn_measured", peakBytes: 7, toolsEnded: 0, toolsKilled: 2 },
      { type: "turn_ended", outcome: COMPLETED },
    );
    expect(stagesOf(view)).toEqual([
      "waiting@0",
      "starting@10",
      "thinking@20",
      "writing@30",
      "thinking@50",
      "ending@60",
      "ended@80",
    ]);
    expect(view).toMatchObject({
      processSource: "started",
      firstTokenMs: USAGE.firstTokenMs,
      endedAtMs: 1_080,
      peakBytes: 7,
      toolsKilled: 2,
      promptTokens: USAGE.inputTokens + USAGE.cacheReadTokens + USAGE.cacheWriteTokens,
      outputTokens: USAGE.outputTokens,
      costUsd: USAGE.costUsd,
      outcome: { status: "completed", detail: null, message: null },
    });
  });

  it("starts nothing where its process was there", () => {
    const view = viewAfter(
      { type: "process_taken", source: "resident" },
      { type: "process_started" },
      text("reasoning", "started"),
    );
    expect(stagesOf(view)).toEqual(["waiting@0", "thinking@10", "writing@30"]);
    expect(view.firstTokenMs).toBe(30);
  });

  it("is in the newest tool that has not returned", () => {
    const view = viewAfter(
      call("a", "Read"),
      call("b", "Bash"),
      result("b"),
      result("unknown"),
      result("a"),
    );
    expect(stagesOf(view)).toEqual([
      "waiting@0",
      "tool Read@10",
      "tool Bash@20",
      "tool Read@30",
      "thinking@50",
    ]);
    expect(view.toolCalls).toBe(2);
  });

  it("writes on while a tool works, and is in it after that", () => {
    const view = viewAfter(call("a", "Read"), text("text", "started"), text("text", "ended"));
    expect(stagesOf(view)).toEqual(["waiting@0", "tool Read@10", "writing@20", "tool Read@30"]);
    const returned = viewAfter(call("a", "Read"), text("text", "started"), result("a"));
    expect(stagesOf(returned)).toEqual(["waiting@0", "tool Read@10", "writing@20"]);
  });

  it("writes and works no more once it is ending", () => {
    const view = viewAfter(
      { type: "turn_ending" },
      text("text", "started"),
      call("a", "Read"),
      result("a"),
      { type: "process_started" },
      { type: "turn_ended", outcome: COMPLETED },
    );
    expect(stagesOf(view)).toEqual(["waiting@0", "ending@10", "ended@60"]);
    expect(view.toolCalls).toBe(1);
  });

  it("counts the tools that were ended, as the guard tells it and as it was found at the end", () => {
    const ended = { type: "tool_ended_by_guard" } as const;
    expect(viewAfter(ended, ended).toolsEnded).toBe(2);
    const measured = {
      type: "turn_measured",
      peakBytes: null,
      toolsEnded: 3,
      toolsKilled: 0,
    } as const;
    expect(viewAfter(ended, measured).toolsEnded).toBe(3);
    expect(viewAfter(ended, { ...measured, toolsEnded: 0 }).toolsEnded).toBe(1);
  });

  it.each([
    [{ status: "failed", code: "turn_timeout", message: "Too long" }, "turn_timeout", "Too long"],
    [{ status: "cancelled", cause: "client_gone" }, "client_gone", null],
    [{ status: "limit_reached", limit: "steps" }, "steps", null],
  ] as const)("says what an end was: %o", (outcome, detail, message) => {
    const view = viewAfter({ type: "turn_ended", outcome: { ...outcome, usage: USAGE } });
    expect(view.outcome).toEqual({ status: outcome.status, detail, message });
  });

  it("ends also where no event tells of it", () => {
    const view = viewAfter({ type: "turn_broke", code: "storage_failed", message: "Cannot" });
    expect(view).toMatchObject({
      endedAtMs: 1_010,
      promptTokens: null,
      outcome: { status: "failed", detail: "storage_failed", message: "Cannot" },
    });
  });

  it("has the tokens so far, and in the end what the process says, if it does", () => {
    const soFar = { type: "tokens_used", promptTokens: 900, outputTokens: 4 } as const;
    expect(viewAfter(soFar)).toMatchObject({ promptTokens: 900, outputTokens: 4 });
    const untold = { ...USAGE, inputTokens: 0, outputTokens: 0, cacheReadTokens: 0 };
    const killed = { status: "failed", code: "turn_out_of_memory", message: "Memory" } as const;
    const view = viewAfter(soFar, {
      type: "turn_ended",
      outcome: { ...killed, usage: { ...untold, cacheWriteTokens: 0 } },
    });
    expect(view).toMatchObject({ promptTokens: 900, outputTokens: 4 });
    const ended = viewAfter(soFar, { type: "turn_ended", outcome: { ...killed, usage: USAGE } });
    expect(ended.outputTokens).toBe(USAGE.outputTokens);
  });

  it("forgets its oldest stages, and cuts the name of a tool", () => {
    const steps = Array.from({ length: 100 }, (_, n) => [
      call(`${n}`, "x".repeat(500)),
      result(`${n}`),
    ]);
    const { stages, toolCalls } = viewAfter(...steps.flat());
    expect(toolCalls).toBe(100);
    expect(stages).toHaveLength(64);
    expect(stages.at(-1)?.stage).toBe("thinking");
    expect(stages.at(-2)?.toolName).toHaveLength(128);
  });

  it("is the same object when there is nothing to see", () => {
    const progress = beginProgress("turn", ADMITTED);
    const delta = { type: "text_delta", messageId: "m", delta: "Hello" } as const;
    expect(advance(progress, delta, 2_000)).toBe(progress);
    expect(advance(progress, { type: "process_started" }, 2_000)).toBe(progress);
    const writing = advance(progress, text("text", "started"), 2_000);
    expect(advance(writing, text("reasoning", "started"), 2_001)).toBe(writing);
  });
});

const anyId = fc.constantFrom("a", "b", "c");
const anyStep: fc.Arbitrary<TurnStep> = fc.oneof(
  fc.record({
    type: fc.constant("process_taken" as const),
    source: fc.constantFrom("started" as const, "resident" as const, "spare" as const),
  }),
  fc.constantFrom<TurnStep>(
    { type: "process_started" },
    { type: "tool_ended_by_guard" },
    { type: "turn_ending" },
    { type: "tokens_used", promptTokens: 12, outputTokens: 1 },
    text("text", "started"),
    text("text", "ended"),
    text("reasoning", "started"),
    text("reasoning", "ended"),
    { type: "text_delta", messageId: "m", delta: "x" },
    { type: "turn_measured", peakBytes: null, toolsEnded: 2, toolsKilled: 1 },
    { type: "turn_measured", peakBytes: 5, toolsEnded: 0, toolsKilled: 0 },
    { type: "notice", name: "compacted", data: {} },
  ),
  anyId.map((id) => call(id, `tool-${id}`)),
  anyId.map(result),
);
const anyEnd: fc.Arbitrary<TurnStep> = fc.constantFrom<TurnStep>(
  { type: "turn_ended", outcome: COMPLETED },
  { type: "turn_ended", outcome: { status: "cancelled", usage: USAGE, cause: "draining" } },
  { type: "turn_broke", code: "internal", message: "Cannot" },
);

describe("any news in any order", () => {
  it("gives a valid view: stages in order of time, one end as the last", () => {
    const anyTold = fc.array(
      fc.tuple(
        fc.oneof({ weight: 12, arbitrary: anyStep }, { weight: 1, arbitrary: anyEnd }),
        // The clock is set while the turn runs.
        fc.integer({ min: -50, max: 100 }),
      ),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(anyTold, (told) => {
        let progress: TurnProgress = beginProgress("turn", ADMITTED);
        let nowMs = ADMITTED.startedAtMs;
        let isOver = false;
        for (const [step, passedMs] of told) {
          nowMs += passedMs;
          const before = progress;
          progress = advance(progress, step, nowMs);
          if (isOver) expect(progress).toBe(before);
          isOver ||= step.type === "turn_ended" || step.type === "turn_broke";
          expectValid(progress.view, isOver);
        }
      }),
    );
  });
});

function expectValid(view: TurnView, isOver: boolean): void {
  feedSchemas.turn.parse({ type: "turn", turn: view });
  const { stages, endedAtMs, outcome, peakBytes, costUsd } = view;
  const since = stages.map(({ sinceMs }) => sinceMs);
  expect(since).toEqual(since.toSorted((one, other) => one - other));
  expect(stages.length).toBeGreaterThan(0);
  expect(stages.length).toBeLessThanOrEqual(64);
  expect(stages.findIndex(({ stage }) => stage === "ended")).toBe(isOver ? stages.length - 1 : -1);
  for (const { stage, toolName } of stages) expect(toolName === undefined).toBe(stage !== "tool");
  expect([endedAtMs !== null, outcome !== null]).toEqual([isOver, isOver]);
  if (isOver) expect(endedAtMs).toBe(since.at(-1));
  else expect([peakBytes, costUsd]).toEqual([null, null]);
  if (view.firstTokenMs !== null) expect(view.firstTokenMs).toBeGreaterThanOrEqual(0);
}
