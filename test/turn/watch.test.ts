import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { StopCause } from "../../src/turn/outcome.ts";
import { deadlineIn, watchTurn, type TurnWatch } from "../../src/turn/watch.ts";

const LONG_MS = 60_000;
let watch: TurnWatch | undefined;
beforeEach(
  () =>
    void vi.useFakeTimers({
      toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "hrtime"],
    }),
);
afterEach(() => {
  watch?.[Symbol.dispose]();
  vi.useRealTimers();
});

function watched(limits: Partial<Parameters<typeof watchTurn>[0]>): StopCause[] {
  const stops: StopCause[] = [];
  const all = { startTimeoutMs: LONG_MS, stallTimeMs: LONG_MS, ...limits };
  watch = watchTurn(all, (cause) => stops.push(cause));
  return stops;
}

describe("watchTurn", () => {
  it("stops a turn that does not start", () => {
    const stops = watched({ startTimeoutMs: 30, stallTimeMs: 10 });
    vi.advanceTimersByTime(29);
    expect(stops).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(stops).toMatchObject([{ kind: "failed", code: "agent_start_failed" }]);
  });

  it("stops a turn that falls silent, once", () => {
    const stops = watched({ startTimeoutMs: 30, stallTimeMs: 40 });
    watch?.started();
    vi.advanceTimersByTime(39);
    expect(stops).toEqual([]);
    vi.advanceTimersByTime(LONG_MS);
    expect(stops).toMatchObject([{ kind: "failed", code: "turn_stalled" }]);
  });

  it("measures silence from the last word", () => {
    const stops = watched({ stallTimeMs: 150 });
    watch?.started();
    const talk = setInterval(() => watch?.heard(), 20);
    vi.advanceTimersByTime(400);
    clearInterval(talk);
    vi.advanceTimersByTime(149);
    expect(stops).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(stops).toMatchObject([{ kind: "failed", code: "turn_stalled" }]);
  });

  it("stops nothing once it is disposed", () => {
    const stops = watched({ startTimeoutMs: 20, stallTimeMs: 20 });
    watch?.started();
    watch?.[Symbol.dispose]();
    vi.advanceTimersByTime(LONG_MS);
    expect(stops).toEqual([]);
  });
});

describe("deadlineIn", () => {
  it("aborts when the time is over, and never once it is disposed", () => {
    using deadline = deadlineIn(20);
    const other = deadlineIn(20);
    other[Symbol.dispose]();
    vi.advanceTimersByTime(19);
    expect(deadline.signal.aborted).toBe(false);
    vi.advanceTimersByTime(LONG_MS);
    expect(deadline.signal.reason).toMatchObject({ code: "turn_timeout" });
    expect(other.signal.aborted).toBe(false);
  });
});
