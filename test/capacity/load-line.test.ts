import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fits, turnsThatFit, weigh } from "../../src/capacity/load-line.ts";

const MiB = 2 ** 20;

function idleLoad(limitMiB: number, parentMiB = 400, safetyReserveMiB = 0) {
  return weigh({
    limitBytes: limitMiB * MiB,
    safetyReserveBytes: safetyReserveMiB * MiB,
    parentBytes: parentMiB * MiB,
    turnsBytes: [],
  });
}

describe("turnsThatFit", () => {
  it.each([
    // limit, parent, turn, turns
    [1024, 400, 500, 1],
    [2048, 400, 500, 3],
    [4096, 400, 500, 7],
    [8192, 400, 500, 15],
    [2048, 400, 200, 8],
    [2048, 400, 400, 4],
    [1024, 400, 200, 3],
    [512, 400, 200, 1],
    [2048, 1024, 200, 5],
    [100, 400, 500, 1], // Never 0.
  ])(
    "on %d MiB with %d for the server and %d MiB a turn: %d turns",
    (limit, parent, turn, turns) => {
      const load = idleLoad(limit, parent);
      expect(turnsThatFit(load, { inflight: 0, turnBytes: turn * MiB, maxTurns: null })).toBe(
        turns,
      );
    },
  );

  it("takes maxTurns as a ceiling only", () => {
    const load = idleLoad(4096);
    expect(turnsThatFit(load, { inflight: 0, turnBytes: 500 * MiB, maxTurns: 2 })).toBe(2);
    expect(turnsThatFit(load, { inflight: 0, turnBytes: 500 * MiB, maxTurns: 99 })).toBe(7);
  });

  it("counts the turns in flight, whatever they turned out to hold", () => {
    const turnsBytes = [120 * MiB, 120 * MiB];
    const load = weigh({
      limitBytes: 2048 * MiB,
      safetyReserveBytes: 0,
      parentBytes: 400 * MiB,
      turnsBytes,
    });
    expect(turnsThatFit(load, { inflight: 2, turnBytes: 500 * MiB, maxTurns: null })).toBe(4);
  });

  it("loses turns to the safety reserve", () => {
    const load = idleLoad(4096, 400, 512);
    expect(load.loadLineBytes).toBe(3584 * MiB);
    expect(turnsThatFit(load, { inflight: 0, turnBytes: 500 * MiB, maxTurns: null })).toBe(6);
  });
});

describe("weigh and fits", () => {
  it("let a turn fill the memory to the load line, and not a byte beyond", () => {
    const load = idleLoad(1000, 400);
    expect(fits(load, 600 * MiB)).toBe(true);
    expect(fits(load, 600 * MiB + 1)).toBe(false);
  });

  it("agree: a turn fits if and only if its bytes are within the headroom", () => {
    const bytes = fc.integer({ min: 1, max: 2 ** 40 });
    fc.assert(
      fc.property(bytes, bytes, fc.array(bytes), bytes, (limitBytes, parentBytes, turns, next) => {
        const load = weigh({ limitBytes, safetyReserveBytes: 0, parentBytes, turnsBytes: turns });
        expect(fits(load, next)).toBe(next <= load.headroomBytes);
        expect(load.headroomBytes).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 1000 },
    );
  });

  it("decide alike when limit and sizes are scaled alike", () => {
    const bytes = fc.integer({ min: 1, max: 2 ** 30 });
    const factor = fc.integer({ min: 1, max: 1000 });
    fc.assert(
      fc.property(bytes, bytes, fc.array(bytes), bytes, factor, (limit, parent, turns, next, k) => {
        const scaled = (by: number) =>
          weigh({
            limitBytes: limit * by,
            safetyReserveBytes: 0,
            parentBytes: parent * by,
            turnsBytes: turns.map((turn) => turn * by),
          });
        expect(fits(scaled(k), next * k)).toBe(fits(scaled(1), next));
      }),
      { numRuns: 1000 },
    );
  });
});
