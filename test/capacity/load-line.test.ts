import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { shortageBytes, turnsThatFit, weigh } from "../../src/capacity/load-line.ts";

const MiB = 2 ** 20;

function idleLoad(limitMiB: number, parentMiB = 400, safetyReserveMiB = 0) {
  return weigh({
    limitBytes: limitMiB * MiB,
    safetyReserveBytes: safetyReserveMiB * MiB,
    usedBytes: parentMiB * MiB,
    promisedBytes: 0,
    poolBytes: 0,
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
    [100, 400, 500, 1], // Never 0 where nothing is on board.
  ])(
    "on %d MiB with %d for the server and %d MiB a turn: %d turns",
    (limit, parent, turn, turns) => {
      const load = idleLoad(limit, parent);
      expect(
        turnsThatFit(load, { inflight: 0, turnBytes: turn * MiB, maxTurns: null, isIdle: true }),
      ).toBe(turns);
    },
  );

  it("takes maxTurns as a ceiling only", () => {
    const load = idleLoad(4096);
    expect(
      turnsThatFit(load, { inflight: 0, turnBytes: 500 * MiB, maxTurns: 2, isIdle: true }),
    ).toBe(2);
    expect(
      turnsThatFit(load, { inflight: 0, turnBytes: 500 * MiB, maxTurns: 99, isIdle: true }),
    ).toBe(7);
  });

  it("counts the turns in flight, whatever they turned out to hold", () => {
    const load = weigh({
      limitBytes: 2048 * MiB,
      safetyReserveBytes: 0,
      usedBytes: (400 + 120 + 60) * MiB,
      promisedBytes: 60 * MiB,
      poolBytes: 0,
    });
    expect(
      turnsThatFit(load, { inflight: 2, turnBytes: 500 * MiB, maxTurns: null, isIdle: false }),
    ).toBe(4);
  });

  it("loses turns to the safety reserve", () => {
    const load = idleLoad(4096, 400, 512);
    expect(load.loadLineBytes).toBe(3584 * MiB);
    expect(
      turnsThatFit(load, { inflight: 0, turnBytes: 500 * MiB, maxTurns: null, isIdle: true }),
    ).toBe(6);
  });
});

describe("weigh and shortageBytes", () => {
  it("let a turn fill the memory to the load line, and not a byte beyond", () => {
    const load = idleLoad(1000, 400);
    expect(shortageBytes(load, 600 * MiB)).toBe(0);
    expect(shortageBytes(load, 600 * MiB + 1)).toBe(1);
  });

  it("agree: a turn fits if and only if its bytes are within the headroom", () => {
    const bytes = fc.integer({ min: 0, max: 2 ** 40 });
    fc.assert(
      fc.property(
        fc.record({ limit: bytes, reserve: bytes, used: bytes, promised: bytes, pool: bytes }),
        bytes,
        ({ limit, reserve, used, promised, pool }, next) => {
          const load = weigh({
            limitBytes: limit,
            safetyReserveBytes: reserve,
            usedBytes: used,
            promisedBytes: promised,
            poolBytes: pool,
          });
          expect(load.headroomBytes).toBeGreaterThanOrEqual(0);
          const isWithin = load.committedBytes <= load.loadLineBytes && next <= load.headroomBytes;
          expect(shortageBytes(load, next) === 0).toBe(isWithin);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("decide alike when limit and sizes are scaled alike", () => {
    const bytes = fc.integer({ min: 1, max: 2 ** 30 });
    const factor = fc.integer({ min: 1, max: 1000 });
    fc.assert(
      fc.property(bytes, bytes, bytes, bytes, factor, (limit, used, promised, next, k) => {
        const scaled = (by: number) =>
          weigh({
            limitBytes: limit * by,
            safetyReserveBytes: 0,
            usedBytes: used * by,
            promisedBytes: promised * by,
            poolBytes: 0,
          });
        expect(shortageBytes(scaled(k), next * k)).toBe(k * shortageBytes(scaled(1), next));
      }),
      { numRuns: 1000 },
    );
  });
});
