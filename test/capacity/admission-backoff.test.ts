import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AdmissionBackoff } from "../../src/capacity/admission-backoff.ts";

describe("AdmissionBackoff", () => {
  it("pauses nothing and sets no ceiling until memory ran short", () => {
    const backoff = new AdmissionBackoff();
    backoff.completed(5, 1000);
    expect(backoff.pauseLeftMs(2000)).toBe(0);
    expect(backoff.ceiling).toBeNull();
  });

  it("admits nothing for 5 s, then 0.7 of the turns there were", () => {
    const backoff = new AdmissionBackoff();
    backoff.ranShort(10, 1000);
    expect(backoff.pauseLeftMs(1000)).toBe(5000);
    expect(backoff.pauseLeftMs(5999)).toBe(1);
    expect(backoff.pauseLeftMs(6000)).toBe(0);
    expect(backoff.ceiling).toBe(7);
  });

  it("pauses twice as long when it happens again, and not for ever", () => {
    const backoff = new AdmissionBackoff();
    let nowMs = 0;
    const pauses = [0, 1, 2, 3, 4, 5].map(() => {
      backoff.ranShort(10, nowMs);
      const pauseMs = backoff.pauseLeftMs(nowMs);
      nowMs += pauseMs + 30_000;
      return pauseMs;
    });
    expect(pauses).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  });

  it("takes what happens during a pause for the same shortage, and begins that anew", () => {
    const backoff = new AdmissionBackoff();
    // The guard ends a turn in 60 ms, and then the next one, until there is enough.
    for (const [count, inflight] of [10, 9, 8, 7, 6].entries())
      backoff.ranShort(inflight, count * 60);
    expect(backoff.pauseLeftMs(240)).toBe(5_000);
    expect(backoff.pauseLeftMs(5_239)).toBe(1);
    expect(backoff.ceiling).toBe(4);
    backoff.ranShort(4, 5_240);
    expect(backoff.pauseLeftMs(5_240)).toBe(10_000);
  });

  it("begins anew after a minute in which turns were admitted", () => {
    const backoff = new AdmissionBackoff();
    backoff.ranShort(10, 0);
    backoff.ranShort(10, 64_999);
    expect(backoff.pauseLeftMs(64_999)).toBe(10_000);
    backoff.ranShort(10, 134_999);
    expect(backoff.pauseLeftMs(134_999)).toBe(5_000);
  });

  it("lets in one more for each turn that ends at the ceiling, and is off where it began", () => {
    const backoff = new AdmissionBackoff();
    backoff.ranShort(4, 0);
    const seen: (number | null)[] = [backoff.ceiling];
    for (const inflight of [2, 3, 4]) {
      backoff.completed(inflight, 20_000);
      seen.push(backoff.ceiling);
    }
    expect(seen).toEqual([2, 3, 4, null]);
  });

  it("takes no proof from turns that end below the ceiling, or right after", () => {
    const backoff = new AdmissionBackoff();
    backoff.ranShort(10, 0);
    backoff.completed(10, 9_999);
    backoff.completed(6, 20_000);
    expect(backoff.ceiling).toBe(7);
  });

  it("does not pause for longer than it may when the clock is set back", () => {
    const backoff = new AdmissionBackoff();
    backoff.ranShort(10, 1e12);
    expect(backoff.pauseLeftMs(0)).toBe(0);
  });

  it("always lets one in, whatever happened", () => {
    const step = fc.oneof(
      fc.record({ ranShort: fc.nat(30), afterMs: fc.nat(90_000) }),
      fc.record({ completed: fc.nat(30), afterMs: fc.nat(90_000) }),
    );
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const backoff = new AdmissionBackoff();
        let nowMs = 0;
        for (const each of steps) {
          nowMs += each.afterMs;
          const before = backoff.ceiling;
          if ("ranShort" in each) backoff.ranShort(each.ranShort, nowMs);
          else {
            backoff.completed(each.completed, nowMs);
            if (before !== null)
              expect(backoff.ceiling ?? before + 1).toBeLessThanOrEqual(before + 1);
          }
          expect(backoff.ceiling ?? 1).toBeGreaterThanOrEqual(1);
          expect(backoff.pauseLeftMs(nowMs)).toBeLessThanOrEqual(60_000);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
