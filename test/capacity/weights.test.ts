import { describe, expect, it } from "vitest";
import type { MemoryLimit } from "../../src/capacity/memory-limit.ts";
import type { MemoryUse } from "../../src/capacity/memory-reading.ts";
import type { Permit } from "../../src/capacity/permit.ts";
import { MeasuredWeights } from "../../src/capacity/weights.ts";

const MiB = 2 ** 20;
const NOTHING = { turnsBytes: 0, cacheBytes: 0 };

/** Weights of a system that a test plays: what is read can be changed, and is counted. */
function system() {
  const seen = { limitMiB: 2048, useMiB: 100, parentMiB: 70 as number | null, reads: 0 };
  const cost = { timeMs: 0, readingMs: 0.1 };
  let covers: MemoryUse["covers"] = "group";
  const limit = (): MemoryLimit => {
    const bytes = seen.limitMiB * MiB;
    return { bytes, source: "a test", kind: "physical", group: null, notes: [] };
  };
  const weights = new MeasuredWeights({
    limit,
    readUse: () => {
      seen.reads += 1;
      cost.timeMs += cost.readingMs;
      return { bytes: seen.useMiB * MiB, covers, source: "a test" };
    },
    readParentBytes: () => (seen.parentMiB === null ? null : seen.parentMiB * MiB),
    safetyReserveBytes: () => 192 * MiB,
    footprints: {
      predict: (agentName, carried) => (agentName === "small" ? 100 : 200) * MiB + 12 * carried,
      poolBytes: (agentNames) => agentNames.length * MiB,
    },
    agentNames: ["small", "large"],
    clock: () => cost.timeMs,
  });
  return { weights, seen, cost, cover: (what: MemoryUse["covers"]) => (covers = what) };
}

describe("MeasuredWeights", () => {
  it("reads the use once for all questions of ten milliseconds", () => {
    const { weights, seen } = system();
    for (let nowMs = 0; nowMs < 100; nowMs += 1) weights.usedBytes(NOTHING, nowMs);
    expect(seen.reads).toBe(10);
  });

  it.each([
    [1, 5],
    // One that had to wait for a core makes nobody blind.
    [100, 2],
  ])("reads less often where a reading takes %d ms", (readingMs, reads) => {
    const { weights, seen, cost } = system();
    cost.readingMs = readingMs;
    for (let nowMs = 0; nowMs < 100; nowMs += 1) weights.usedBytes(NOTHING, nowMs);
    expect(seen.reads).toBe(reads);
  });

  it("reads again after the clock was set back", () => {
    const { weights, seen } = system();
    weights.usedBytes(NOTHING, 1e12);
    seen.useMiB = 300;
    expect(weights.usedBytes(NOTHING, 1000)).toBeGreaterThan(300 * MiB);
  });

  it("leaves the server room to grow, and as much as it once took", () => {
    const { weights, seen } = system();
    expect(weights.usedBytes(NOTHING, 0)).toBe((100 + 48) * MiB);
    seen.parentMiB = 90;
    seen.useMiB = 120;
    expect(weights.usedBytes(NOTHING, 100)).toBe((120 + 28) * MiB);
    seen.parentMiB = 170;
    seen.useMiB = 200;
    expect(weights.usedBytes(NOTHING, 200)).toBe(200 * MiB);
    seen.parentMiB = 80;
    seen.useMiB = 110;
    expect(weights.usedBytes(NOTHING, 200)).toBe(200 * MiB);
    const again = weights.usedBytes(NOTHING, 300) / MiB;
    expect(again).toBeGreaterThan(110 + 89.9);
    expect(again).toBeLessThanOrEqual(110 + 90);
    expect(weights.parentGrowthBytes() / MiB).toBe(again - 110);
    expect(weights.parentBytes()).toBe(80 * MiB);
  });

  it("forgets what the server once took, half of it in five minutes", () => {
    const { weights, seen } = system();
    seen.parentMiB = 1500;
    weights.usedBytes(NOTHING, 0);
    seen.parentMiB = 70;
    const growthAfter = (minutes: number): number => {
      weights.usedBytes(NOTHING, minutes * 60_000);
      return weights.parentGrowthBytes() / MiB;
    };
    // At least 118 MiB are expected of one that began with 70.
    expect(growthAfter(5)).toBeCloseTo(48 + (1500 - 118) / 2, 3);
    expect(growthAfter(10)).toBeCloseTo(48 + (1500 - 118) / 4, 3);
    expect(growthAfter(24 * 60)).toBe(48);
    // A clock that was set back makes it neither remember nor forget.
    expect(growthAfter(0)).toBe(48);
  });

  it("forgets as much however often it is asked", () => {
    const { weights, seen } = system();
    seen.parentMiB = 1500;
    weights.usedBytes(NOTHING, 0);
    seen.parentMiB = 70;
    for (let nowMs = 0; nowMs <= 300_000; nowMs += 100) weights.usedBytes(NOTHING, nowMs);
    expect(weights.parentGrowthBytes() / MiB).toBeCloseTo(48 + (1500 - 118) / 2, 1);
  });

  it("adds what its processes hold where the system tells of the server alone", () => {
    const { weights, seen, cover } = system();
    const own = { turnsBytes: 240 * MiB, cacheBytes: 60 * MiB };
    seen.useMiB = 400;
    expect(weights.usedBytes(own, 0)).toBe((400 + 48) * MiB);
    cover("process");
    seen.useMiB = 100;
    expect(weights.usedBytes(own, 100)).toBe((100 + 48 + 300) * MiB);
  });

  it.each<MemoryUse["covers"]>(["group", "machine"])(
    "does not believe a reading of the %s below what its processes were measured to hold",
    (covers) => {
      const { weights, seen, cover } = system();
      const own = { turnsBytes: 240 * MiB, cacheBytes: 60 * MiB };
      cover(covers);
      seen.useMiB = 0;
      expect(weights.usedBytes(own, 0)).toBe((70 + 300 + 48) * MiB);
      seen.parentMiB = null;
      // What the server once took it may take again.
      expect(weights.usedBytes(own, 100)).toBe((300 + 70 + 48) * MiB);
    },
  );

  it("works where the server itself cannot be measured", () => {
    const { weights, seen } = system();
    seen.parentMiB = null;
    expect(weights.usedBytes(NOTHING, 0)).toBe((100 + 70 + 48) * MiB);
  });

  it("predicts a turn in flight by what is known now", () => {
    const { weights } = system();
    const demand = { agentName: "large", carriedBytes: MiB };
    const permit = { bytes: 900 * MiB, demand, holder: null } as unknown as Permit;
    expect(weights.expectedBytes(permit)).toBe(212 * MiB);
    expect(weights.heldBytes(permit)).toBe(0);
    expect(weights.heldBytes({ ...permit, holder: { currentBytes: 7 } })).toBe(7);
    expect(weights.leastTurnBytes()).toBe(100 * MiB);
  });
});
