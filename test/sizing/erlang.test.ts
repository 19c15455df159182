/**
 * Goal: Erlang's formula is the one of the books.
 * Method: printed tables; the formula in whole numbers; the extension to retries by what defines it.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  EXACT_CASES,
  exactShedRatio,
  PRINTED_RATIOS,
  PRINTED_TRAFFIC,
} from "../../bench/erlang-tables.ts";
import { shedRatio, shedWithRetries, trafficAt, turnsNeeded } from "../../src/sizing/erlang.ts";

const anyTurns = fc.integer({ min: 1, max: 300 });
const anyOffered = fc.double({ min: 0.01, max: 400, noNaN: true });

describe("shedRatio", () => {
  it.each(PRINTED_RATIOS)("of %i turns at %d Erlang is %d, as printed", (turns, offered, ratio) => {
    expect(shedRatio(turns, offered)).toBeCloseTo(ratio, 6);
  });

  it.each(EXACT_CASES)("of %i turns at %i/%i Erlang is as in whole numbers", (turns, p, q) => {
    const exact = exactShedRatio(turns, p, q);
    expect(Math.abs(shedRatio(turns, p / q) - exact)).toBeLessThan(1e-6);
    expect(Math.abs(shedRatio(turns, p / q) / exact - 1)).toBeLessThan(1e-12);
  });

  it("sheds all without room, and nothing without traffic", () => {
    expect([shedRatio(0, 3), shedRatio(3, 0)]).toEqual([1, 0]);
  });

  it("grows with the traffic and falls with the room", () => {
    fc.assert(
      fc.property(anyTurns, anyOffered, (turns, offered) => {
        const ratio = shedRatio(turns, offered);
        expect(shedRatio(turns + 1, offered)).toBeLessThanOrEqual(ratio);
        expect(shedRatio(turns, 1.1 * offered)).toBeGreaterThanOrEqual(ratio);
      }),
    );
  });
});

describe("trafficAt", () => {
  it.each(PRINTED_TRAFFIC)(
    "of %i turns at %d is %d Erlang, as printed",
    (turns, ratio, traffic) => {
      expect(Math.abs(trafficAt(turns, ratio) - traffic)).toBeLessThan(0.00051);
    },
  );

  it("is the other way round of the shed ratio", () => {
    fc.assert(
      fc.property(anyTurns, fc.double({ min: 1e-4, max: 0.9, noNaN: true }), (turns, ratio) => {
        expect(shedRatio(turns, trafficAt(turns, ratio))).toBeCloseTo(ratio, 9);
      }),
    );
  });
});

describe("turnsNeeded", () => {
  it("is the least that is enough", () => {
    fc.assert(
      fc.property(
        anyOffered,
        fc.double({ min: 1e-4, max: 0.99, noNaN: true }),
        (offered, ratio) => {
          const turns = turnsNeeded(offered, ratio);
          expect(shedRatio(turns, offered)).toBeLessThanOrEqual(ratio);
          expect(shedRatio(turns - 1, offered)).toBeGreaterThan(ratio);
        },
      ),
    );
  });
});

describe("shedWithRetries", () => {
  it("is Erlang B where nobody tries again", () => {
    const { offered, shedRatio: shed, lostRatio } = shedWithRetries(10, 8, 0);
    expect(offered).toBeCloseTo(8, 9);
    expect(shed).toBeCloseTo(shedRatio(10, 8), 9);
    expect(lostRatio).toBeCloseTo(shedRatio(10, 8), 9);
  });

  it("keeps the books: all attempts are first ones and those that were shed and came again", () => {
    const anyRetry = fc.double({ min: 0, max: 0.95, noNaN: true });
    fc.assert(
      fc.property(anyTurns, anyOffered, anyRetry, (turns, first, retryRatio) => {
        const { offered, shedRatio: shed, lostRatio } = shedWithRetries(turns, first, retryRatio);
        expect(offered / (first + retryRatio * shed * offered)).toBeCloseTo(1, 6);
        // What is carried is what was not lost.
        expect((offered * (1 - shed)) / (first * (1 - lostRatio))).toBeCloseTo(1, 6);
      }),
    );
  });

  it("never ends where all try again and there is more than can be carried", () => {
    expect(shedWithRetries(5, 6, 1)).toEqual({ offered: Infinity, shedRatio: 1, lostRatio: 1 });
  });
});
