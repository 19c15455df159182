import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MIN_CEILING_BYTES, turnCeilingBytes } from "../../src/capacity/turn-ceiling.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

describe("turnCeilingBytes", () => {
  it.each([
    ["half of the load line", 2048, 192, undefined, 928],
    ["what the agent file says", 2048, 192, 700, 700],
    ["also above half of the line", 2048, 192, 1800, 1800],
    ["but not above the limit", 2048, 192, 4096, 2048],
    ["and never less than a process needs", 256, 192, undefined, 192],
  ])("is %s", (_what, limit, reserve, turnMemory, expected) => {
    const ceilingBytes = turnCeilingBytes({
      limitBytes: limit * MIB,
      safetyReserveBytes: reserve * MIB,
      turnMemoryBytes: turnMemory === undefined ? undefined : turnMemory * MIB,
    });
    expect(ceilingBytes / MIB).toBe(expected);
  });

  it("is a whole number of bytes within its bounds, for any limit and reserve", () => {
    const bytes = fc.integer({ min: 0, max: 64 * GIB });
    fc.assert(
      fc.property(bytes, bytes, fc.option(bytes, { nil: undefined }), (limit, reserve, own) => {
        const ceiling = turnCeilingBytes({
          limitBytes: limit,
          safetyReserveBytes: reserve,
          turnMemoryBytes: own,
        });
        expect(Number.isInteger(ceiling)).toBe(true);
        expect(ceiling).toBeGreaterThanOrEqual(MIN_CEILING_BYTES);
        expect(ceiling).toBeLessThanOrEqual(Math.max(limit, MIN_CEILING_BYTES));
      }),
    );
  });
});
