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
    let nowMs = 0;
    const holds = [0, 1, 2, 3, 4, 5].map(() => {
      brake.pull(10, nowMs);
      const holdMs = brake.holdMs(nowMs);
      nowMs += holdMs + 30_000;
      return holdMs;
    });
    expect(holds).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  });

  it("takes what happens during a hold for the same shortage, and begins that anew", () => {
    const brake = new Brake();
    // The guard ends a turn in 60 ms, and then the next one, until there is enough.
    for (const [count, inflight] of [10, 9, 8, 7, 6].entries()) brake.pull(inflight, count * 60);
    expect(brake.holdMs(240)).toBe(5_000);
    expect(brake.holdMs(5_239)).toBe(1);
    expect(brake.ceiling).toBe(4);
    brake.pull(4, 5_240);
    expect(brake.holdMs(5_240)).toBe(10_000);
  });

  it("begins anew after a minute in which turns were admitted", () => {
    const brake = new Brake();
    brake.pull(10, 0);
    brake.pull(10, 64_999);
    expect(brake.holdMs(64_999)).toBe(10_000);
    brake.pull(10, 134_999);
    expect(brake.holdMs(134_999)).toBe(5_000);
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
