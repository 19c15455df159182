import { afterEach, describe, expect, it, vi } from "vitest";

import type { StopCause } from "../../src/turn/outcome.ts";
import { deadlineIn, watchTurn, type TurnWatch } from "../../src/turn/watch.ts";

const LONG_MS = 60_000;
let watch: TurnWatch | undefined;
afterEach(() => watch?.[Symbol.dispose]());

function watched(limits: Partial<Parameters<typeof watchTurn>[0]>): StopCause[] {
  const stops: StopCause[] = [];
  const all = { startTimeoutMs: LONG_MS, stallTimeMs: LONG_MS, ...limits };
  watch = watchTurn(all, (cause) => stops.push(cause));
  return stops;
}

describe("watchTurn", () => {
  it("stops a turn that does not start", async () => {
    const stops = watched({ startTimeoutMs: 30, stallTimeMs: 10 });
    await vi.waitFor(() => expect(stops).toHaveLength(1), { timeout: 10_000 });
    expect(stops).toMatchObject([{ kind: "failed", code: "agent_start_failed" }]);
  });

  it("stops a turn that falls silent, once", async () => {
    const stops = watched({ startTimeoutMs: 30, stallTimeMs: 40 });
    watch?.started();
    await vi.waitFor(() => expect(stops).toHaveLength(1), { timeout: 10_000 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(stops).toMatchObject([{ kind: "failed", code: "turn_stalled" }]);
  });

  it("measures silence from the last word", async () => {
    const stops = watched({ stallTimeMs: 150 });
    watch?.started();
    const beganMs = performance.now();
    const talk = setInterval(() => watch?.heard(), 20);
    await new Promise((resolve) => setTimeout(resolve, 400));
    clearInterval(talk);
    expect(stops).toEqual([]);
    await vi.waitFor(() => expect(stops).toHaveLength(1), { timeout: 10_000 });
    expect(performance.now() - beganMs).toBeGreaterThan(500);
  });

  it("stops nothing once it is disposed", async () => {
    const stops = watched({ startTimeoutMs: 20, stallTimeMs: 20 });
    watch?.started();
    watch?.[Symbol.dispose]();
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(stops).toEqual([]);
  });
});

describe("deadlineIn", () => {
  it("aborts when the time is over, and never once it is disposed", async () => {
    using deadline = deadlineIn(20);
    const other = deadlineIn(20);
    other[Symbol.dispose]();
    await vi.waitFor(() => expect(deadline.signal.aborted).toBe(true), { timeout: 10_000 });
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(deadline.signal.reason).toMatchObject({ code: "turn_timeout" });
    expect(other.signal.aborted).toBe(false);
  });
});
