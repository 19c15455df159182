import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TurnGate } from "../../src/capacity/gate.ts";
import type { Permit } from "../../src/capacity/permit.ts";
import {
  DurationWindow,
  PRESUMED_TURN_MS,
  PromiseBook,
  retryAfterSeconds,
} from "../../src/capacity/retry-after.ts";
import { staticWeights } from "../../src/capacity/weights.ts";
import { seeded } from "./seeded.ts";

const MiB = 2 ** 20;

function windowOf(durationsMs: readonly number[]): DurationWindow {
  const window = new DurationWindow();
  for (const durationMs of durationsMs) window.add(durationMs);
  return window;
}

/** Of a turn that has its process. */
const NOT_MEASURED = { currentBytes: null };

describe("retryAfterSeconds", () => {
  const longestSeconds = 600;
  const unspread = { jitter: 0, longestSeconds };
  const always10s = windowOf(Array.from({ length: 50 }, () => 10_000));
  const one = { durations: always10s, turnsToEnd: 1, promises: 0, spread: unspread };

  it("is what is left of the turn that ends first", () => {
    expect(retryAfterSeconds({ ...one, elapsedMs: [1000, 7000, 3000] })).toBe(3);
  });

  it("waits for one turn more for each promise given", () => {
    const waits = [0, 1, 2].map((promises) =>
      retryAfterSeconds({ ...one, promises, elapsedMs: [1000, 7000, 3000] }),
    );
    expect(waits).toEqual([3, 7, 9]);
  });

  it("goes on with the turns of those who were promised when all in flight are spoken for", () => {
    const waits = [3, 4, 5, 6].map((promises) =>
      retryAfterSeconds({ ...one, promises, elapsedMs: [1000, 7000, 3000] }),
    );
    expect(waits).toEqual([15, 19, 21, 26]);
  });

  it("waits for as many turns to end as a large turn needs", () => {
    expect(retryAfterSeconds({ ...one, turnsToEnd: 2, elapsedMs: [1000, 7000, 3000] })).toBe(7);
    expect(retryAfterSeconds({ ...one, turnsToEnd: 99, elapsedMs: [1000, 7000, 3000] })).toBe(9);
  });

  it("takes a turn that outlived all others to last as long again, or longer", () => {
    const wait = retryAfterSeconds({ ...one, elapsedMs: [20_000] });
    expect(wait).toBeGreaterThanOrEqual(20);
    expect(wait).toBeLessThanOrEqual(longestSeconds);
  });

  it("presumes a length before a turn has ended", () => {
    const durations = new DurationWindow();
    expect(retryAfterSeconds({ ...one, durations, elapsedMs: [0] })).toBe(PRESUMED_TURN_MS / 1000);
    expect(retryAfterSeconds({ ...one, durations, elapsedMs: [6000] })).toBe(9);
  });

  it("stretches by a quarter at most", () => {
    const elapsedMs = [0];
    expect(retryAfterSeconds({ ...one, elapsedMs, spread: { jitter: 0.5, longestSeconds } })).toBe(
      12,
    ); // 10 * 1.125
    expect(
      retryAfterSeconds({ ...one, elapsedMs, spread: { jitter: 0.999, longestSeconds } }),
    ).toBe(13);
  });

  const input = fc.record({
    elapsedMs: fc.array(fc.nat(300_000), { minLength: 1, maxLength: 20 }),
    durationsMs: fc.array(fc.nat(300_000), { maxLength: 40 }),
    turnsToEnd: fc.integer({ min: 1, max: 30 }),
    spread: fc.record({
      jitter: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      longestSeconds: fc.integer({ min: 1, max: 3600 }),
    }),
  });

  it("is whole, within 1 and the longest, and does not decrease with the promises given", () => {
    fc.assert(
      fc.property(input, ({ durationsMs, ...rest }) => {
        const durations = windowOf(durationsMs);
        let previous = 1;
        for (let promises = 0; promises < 60; promises += 1) {
          const wait = retryAfterSeconds({ ...rest, durations, promises });
          expect(Number.isInteger(wait)).toBe(true);
          expect(wait).toBeGreaterThanOrEqual(previous);
          expect(wait).toBeLessThanOrEqual(rest.spread.longestSeconds);
          previous = wait;
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe("DurationWindow", () => {
  it("keeps the last 256 durations in order of length", () => {
    const window = windowOf(Array.from({ length: 300 }, (_, index) => 1000 - index));
    expect(window.sortedMs).toHaveLength(256);
    expect(window.sortedMs[0]).toBe(701);
    expect(window.sortedMs.at(-1)).toBe(956);
    expect(windowOf([1, 2, 6]).meanMs).toBe(3);
  });
});

/**
 * Goal: one turn that was stuck, or is, says little of when the others end.
 * Method: eight turns in flight, of 4 to 6 s as those before them; told with one stuck and without.
 */
describe("Retry-After, beside a turn that is stuck", () => {
  const HOUR_MS = 3_600_000;
  const PROMISES = [0, 4, 8, 12, 16];
  const lengthsMs = Array.from({ length: 255 }, (_, at) => 4000 + (at % 20) * 100);

  it.each([0.05, 1, 10])("tells at most twice as long after one of %d hours", (hours) => {
    const elapsedMs = Array.from({ length: 8 }, (_, at) => at * 600);
    const spread = { jitter: 0, longestSeconds: 600 };
    const told = (...stuckMs: number[]) => {
      const durations = windowOf([...lengthsMs, ...stuckMs]);
      return PROMISES.map((promises) =>
        retryAfterSeconds({ elapsedMs, durations, turnsToEnd: 1, promises, spread }),
      );
    };
    const usual = told();
    told(hours * HOUR_MS).forEach((seconds, at) => {
      expect(seconds).toBeLessThanOrEqual(2 * (usual[at] ?? 0));
    });
  });

  /** What 17 callers are told by a full gate, where of nine turns one was begun so long ago. */
  function toldByGate(options: { readonly stuckMs: number | null; readonly hasEnded: boolean }) {
    let nowMs = 0;
    const gate = new TurnGate({
      weights: staticWeights({
        limit: () => ({ bytes: (400 + 9 * 500) * MiB, source: "a test" }),
        parentReserveBytes: 400 * MiB,
        turnReserveBytes: 500 * MiB,
        safetyReserveBytes: null,
      }),
      maxTurns: null,
      now: () => nowMs,
      random: () => 0,
    });
    const party = { tenant: "t", callerId: "c", isPriority: false };
    const ask = () =>
      gate.tryAdmit({ ...party, agentName: "desk", carriedBytes: 0, turnTimeMs: 60_000 }, nowMs);
    const admit = () => {
      const admission = ask();
      if (!admission.admitted) throw new Error(admission.shed.text);
      admission.permit.holder = NOT_MEASURED;
      return admission.permit;
    };
    const stuck = options.stuckMs === null ? null : admit();
    nowMs += options.stuckMs ?? 0;
    // Enough for a length, and few enough for none to stand out.
    for (const lengthMs of lengthsMs.slice(0, options.hasEnded ? 6 : 255)) {
      const permit = admit();
      nowMs += lengthMs;
      permit[Symbol.dispose]();
    }
    if (options.hasEnded) stuck?.[Symbol.dispose]();
    const count = stuck === null || options.hasEnded ? 9 : 8;
    for (let begun = 0; begun < count; begun += 1) {
      admit();
      nowMs += 400;
    }
    const told: number[] = [];
    while (told.length < 17) {
      const admission = ask();
      if (!admission.admitted) told.push(admission.shed.retryAfterSeconds);
    }
    return told;
  }

  it("does not wait for one that has had all its time and is there still", () => {
    const usual = toldByGate({ stuckMs: null, hasEnded: false });
    const told = toldByGate({ stuckMs: 2 * HOUR_MS, hasEnded: false });
    told.forEach((seconds, at) => expect(seconds).toBeLessThanOrEqual(2 * (usual[at] ?? 0)));
  });

  it("takes no turn for longer than its time, however long its permit was out", () => {
    expect(toldByGate({ stuckMs: 10 * HOUR_MS, hasEnded: true })).toEqual(
      toldByGate({ stuckMs: 35_000, hasEnded: true }),
    );
  });
});

describe("PromiseBook", () => {
  it("counts the promises that are not yet due, at any time, in any order", () => {
    const steps = fc.array(
      fc.record({ waitMs: fc.nat(90_000), seconds: fc.integer({ min: 1, max: 120 }) }),
      { maxLength: 50 },
    );
    fc.assert(
      fc.property(steps, fc.nat(2 ** 41), (given, startMs) => {
        const book = new PromiseBook(120);
        const dueSeconds: number[] = [];
        let nowMs = startMs;
        for (const { waitMs, seconds } of given) {
          nowMs += waitMs;
          book.add(nowMs, seconds);
          dueSeconds.push(Math.floor(nowMs / 1000) + seconds);
          const expected = dueSeconds.filter((due) => due > Math.floor(nowMs / 1000)).length;
          expect(book.outstanding(nowMs)).toBe(expected);
        }
        expect(book.outstanding(nowMs + 121_000)).toBe(0);
      }),
      { numRuns: 1000 },
    );
  });
});

/**
 * Goal: the promise of the module holds: those who come when told are admitted.
 * Method: a full gate with turns of random age refuses a crowd at one moment; nobody else comes;
 * each caller returns exactly when told, and takes a turn if there is room. Virtual time.
 */
describe("Retry-After, replayed", () => {
  const laws: Record<string, (random: () => number) => number> = {
    "nearly constant": (random) => 9000 + 2000 * random(),
    exponential: (random) => -10_000 * Math.log(1 - random()),
    "log-normal, sigma 1": (random) => 8000 * Math.exp(normal(random)),
    "short answers and long work": (random) => (random() < 0.8 ? 4000 : 40_000) * (0.5 + random()),
  };
  for (const [law, sample] of Object.entries(laws)) {
    for (const [turns, crowd] of [
      [1, 3],
      [1, 20],
      [3, 1],
      [3, 3],
      [3, 9],
      [3, 60],
      [15, 15],
      [15, 45],
    ] as const) {
      const { honoured, callers } = replay(sample, turns, crowd);
      const percent = ((100 * honoured) / callers).toFixed(1);
      it(`admits ${percent} % of ${crowd} refused at ${turns} turns in flight, ${law}`, () => {
        expect(honoured / callers).toBeGreaterThanOrEqual(0.8);
      });
    }
  }
});

/** Refuses the crowd 200 times, and counts who is admitted at the first return. */
function replay(sample: (random: () => number) => number, turns: number, crowd: number) {
  const random = seeded(turns * 1000 + crowd);
  let honoured = 0;
  for (let round = 0; round < 200; round += 1) honoured += replayOnce(sample, turns, crowd, random);
  return { honoured, callers: 200 * crowd };
}

function replayOnce(
  sample: (random: () => number) => number,
  turns: number,
  crowd: number,
  random: () => number,
): number {
  let nowMs = 0;
  const gate = new TurnGate({
    weights: staticWeights({
      limit: () => ({ bytes: (400 + turns * 500) * MiB, source: "a replay" }),
      parentReserveBytes: 400 * MiB,
      turnReserveBytes: 500 * MiB,
      safetyReserveBytes: null,
    }),
    maxTurns: null,
    // Where a wait is cut, nothing is promised.
    maxRetryAfterMs: 3_600_000,
    now: () => nowMs,
    random,
  });
  const party = { callerId: "c", tenant: "t", isPriority: false };
  const demand = { ...party, agentName: "a", carriedBytes: 0 };
  const running: { readonly permit: Permit; readonly endsAtMs: number }[] = [];
  /** Lets time pass, with turns that end on the way. */
  const advance = (untilMs: number) => {
    for (const turn of running.toSorted((a, b) => a.endsAtMs - b.endsAtMs)) {
      if (turn.endsAtMs > untilMs) break;
      nowMs = Math.max(nowMs, turn.endsAtMs);
      turn.permit[Symbol.dispose]();
      running.splice(running.indexOf(turn), 1);
    }
    nowMs = untilMs;
  };
  const arrive = (): number | null => {
    const admission = gate.tryAdmit(demand, nowMs);
    if (!admission.admitted) return admission.shed.retryAfterSeconds;
    admission.permit.holder = NOT_MEASURED;
    running.push({ permit: admission.permit, endsAtMs: nowMs + sample(random) });
    return null;
  };

  // Under way for a while, always full, so that the gate knows its turns and their ages are real.
  for (let count = 0; count < turns; count += 1) arrive();
  for (let ended = 0; ended < 120; ended += 1) {
    advance(Math.min(...running.map((turn) => turn.endsAtMs)));
    arrive();
  }
  advance(nowMs + 500 * random());
  for (let free = turns - running.length; free > 0; free -= 1) arrive();

  const returnsAtMs: number[] = [];
  for (let caller = 0; caller < crowd; caller += 1) {
    const seconds = arrive();
    if (seconds !== null) returnsAtMs.push(nowMs + seconds * 1000);
  }
  let admitted = 0;
  for (const atMs of returnsAtMs.toSorted((a, b) => a - b)) {
    advance(atMs);
    if (arrive() === null) admitted += 1;
  }
  return admitted;
}

/** Box and Muller's way to a normal variable. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
