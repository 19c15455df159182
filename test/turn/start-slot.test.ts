import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { StartLane } from "../../src/capacity/start-lane.ts";
import { releaseWhenIdle } from "../../src/turn/start-slot.ts";

describe("the start slot of a process", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "hrtime"] });
  });
  afterEach(() => void vi.useRealTimers());

  /** A start that has used so much CPU each time it was looked at. */
  async function startOf(...cpuMs: readonly (number | null)[]) {
    const lane = new StartLane({ cpus: 1, maxWaitMs: 0 });
    const slot = await lane.enter(new AbortController().signal);
    const looks = [...cpuMs];
    const starting = releaseWhenIdle(slot, () => looks.shift() ?? null);
    vi.advanceTimersByTime(500 * cpuMs.length);
    return { lane, starting };
  }

  it("is another's when the process has stopped to use CPU", async () => {
    const { lane, starting } = await startOf(200, 400, 410);
    expect(lane.starting).toBe(0);
    starting[Symbol.dispose]();
    expect(lane.starting).toBe(0);
  });

  it.each([
    ["while it does", [200, 400, 600, 640]],
    ["while nobody can tell", [null, null, null, null]],
    ["while it was looked at once", [200]],
    ["when one of its processes has ended", [400, 300]],
  ])("is its own %s, until it is initialised", async (_when, looks) => {
    const { lane, starting } = await startOf(...looks);
    expect(lane.starting).toBe(1);
    starting[Symbol.dispose]();
    expect(lane.starting).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
