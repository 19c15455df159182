import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LimitWatch } from "../../src/capacity/limit-watch.ts";
import type { MemoryLimit } from "../../src/capacity/memory-limit.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function watched() {
  const told: [number, number][] = [];
  const system = { bytes: 2048 };
  const read = (): MemoryLimit => {
    return { bytes: system.bytes, source: "a test", kind: "physical", group: null, notes: [] };
  };
  const onRead = (limit: MemoryLimit, before: MemoryLimit) =>
    told.push([before.bytes, limit.bytes]);
  return { watch: new LimitWatch({ read, onRead }), system, told };
}

describe("LimitWatch", () => {
  it("hears of a replica that is resized within ten seconds, though nobody asks", () => {
    const { watch, system, told } = watched();
    using _watch = watch;
    system.bytes = 4096;
    vi.advanceTimersByTime(9_999);
    expect(watch.current.bytes).toBe(2048);
    vi.advanceTimersByTime(1);
    expect(told).toEqual([[2048, 4096]]);
    expect(watch.current.bytes).toBe(4096);
  });

  it("reads anew for who asks after the timer was held up", () => {
    const { watch, system, told } = watched();
    watch[Symbol.dispose]();
    system.bytes = 1024;
    vi.advanceTimersByTime(60_000);
    expect(told).toEqual([]);
    expect(watch.current.bytes).toBe(1024);
    expect(told).toEqual([[2048, 1024]]);
  });
});
