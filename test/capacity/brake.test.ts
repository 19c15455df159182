import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Brake } from "../../src/capacity/brake.ts";

describe("Brake", () => {
  it("holds nothing and sets no ceiling until memory ran short", () => {
    const brake = new Brake();
    brake.completed(5, 1000);
    expect(brake.holdMs(2000)).toBe(0);
    expect(brake.ceiling).toBeNull();
  });

  it("admits nothing for 5 s, then 0.7 of the turns there were", () => {
    const brake = new Brake();
    brake.pull(10, 1000);
    expect(brake.holdMs(1000)).toBe(5000);
    expect(brake.holdMs(5999)).toBe(1);
    expect(brake.holdMs(6000)).toBe(0);
    expect(brake.ceiling).toBe(7);
  });

  it("holds twice as long when it happens again, and not for ever", () => {
    const brake = new Brake();
    const holds = [0, 1, 2, 3, 4, 5].map((times) => {
      brake.pull(10, times * 30_000);
      return brake.holdMs(times * 30_000);
    });
    expect(holds).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  });

  it("begins anew after a quiet minute", () => {
    const brake = new Brake();
    brake.pull(10, 0);
    brake.pull(10, 60_000);
    expect(brake.holdMs(60_000)).toBe(5_000);
  });

  it("lets in one more for each turn that ends at the ceiling, and is off where it began", () => {
    const brake = new Brake();
    brake.pull(4, 0);
    const seen: (number | null)[] = [brake.ceiling];
    for (const inflight of [2, 3, 4]) {
      brake.completed(inflight, 20_000);
      seen.push(brake.ceiling);
    }
    expect(seen).toEqual([2, 3, 4, null]);
  });

  it("takes no proof from turns that end below the ceiling, or right after", () => {
    const brake = new Brake();
    brake.pull(10, 0);
    brake.completed(10, 9_999);
    brake.completed(6, 20_000);
    expect(brake.ceiling).toBe(7);
  });

  it("does not hold for longer than it may when the clock is set back", () => {
    const brake = new Brake();
    brake.pull(10, 1e12);
    expect(brake.holdMs(0)).toBe(0);
  });

  it("always lets one in, whatever happened", () => {
    const step = fc.oneof(
      fc.record({ pull: fc.nat(30), afterMs: fc.nat(90_000) }),
      fc.record({ completed: fc.nat(30), afterMs: fc.nat(90_000) }),
    );
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const brake = new Brake();
        let nowMs = 0;
        for (const each of steps) {
          nowMs += each.afterMs;
          const before = brake.ceiling;
          if ("pull" in each) brake.pull(each.pull, nowMs);
          else {
            brake.completed(each.completed, nowMs);
            if (before !== null)
              expect(brake.ceiling ?? before + 1).toBeLessThanOrEqual(before + 1);
          }
          expect(brake.ceiling ?? 1).toBeGreaterThanOrEqual(1);
          expect(brake.holdMs(nowMs)).toBeLessThanOrEqual(60_000);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
