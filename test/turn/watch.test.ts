import { afterEach, describe, expect, it, vi } from "vitest";

import type { StopCause } from "../../src/turn/outcome.ts";
import { watchTurn, type TurnWatch } from "../../src/turn/watch.ts";

const LONG_MS = 60_000;
let watch: TurnWatch | undefined;
afterEach(() => watch?.[Symbol.dispose]());

function watched(limits: Partial<Parameters<typeof watchTurn>[0]>): StopCause[] {
  const stops: StopCause[] = [];
  const all = { startTimeoutMs: LONG_MS, stallTimeMs: LONG_MS, turnTimeMs: LONG_MS, ...limits };
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

  it("stops a turn that talks for too long", async () => {
    const stops = watched({ turnTimeMs: 60 });
    watch?.started();
    const talk = setInterval(() => watch?.heard(), 10);
    await vi.waitFor(() => expect(stops).toHaveLength(1), { timeout: 10_000 });
    clearInterval(talk);
    expect(stops).toMatchObject([{ kind: "failed", code: "turn_timeout" }]);
  });

  it("stops nothing once it is disposed", async () => {
    const stops = watched({ startTimeoutMs: 20, stallTimeMs: 20, turnTimeMs: 20 });
    watch?.started();
    watch?.[Symbol.dispose]();
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(stops).toEqual([]);
  });
});
