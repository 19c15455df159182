/**
 * Goal: the parts of the simulation are what the whole rests on: order of events, chance, quantiles.
 * Method: properties, and moments against those of the distributions.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RateArrivals, type RateTerms } from "../../../src/sizing/simulate/arrivals.ts";
import { estimateMean, estimateRatio, studentT } from "../../../src/sizing/simulate/confidence.ts";
import { EventQueue } from "../../../src/sizing/simulate/event-queue.ts";
import { Histogram } from "../../../src/sizing/simulate/histogram.ts";
import { LAW_NAMES, lawOf, lognormalWith } from "../../../src/sizing/simulate/laws.ts";
import { Random } from "../../../src/sizing/simulate/random.ts";
import { pauseMs } from "../../../src/sizing/simulate/retry-policy.ts";

const DRAWS = 200_000;

function drawn(draw: (random: Random) => number, count = DRAWS): number[] {
  const random = new Random(7, 3);
  return Array.from({ length: count }, () => draw(random));
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, each) => sum + each, 0) / values.length;
}

function deviationOf(values: readonly number[]): number {
  const mean = meanOf(values);
  return Math.sqrt(meanOf(values.map((value) => (value - mean) ** 2)));
}

describe("EventQueue", () => {
  it("gives events in the order of time, and of one moment in that of scheduling", () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.nat(3), { freq: 2 }), {
          minLength: 100,
          maxLength: 2000,
          size: "max",
        }),
        (steps) => {
          const queue = new EventQueue();
          let expected: [atMs: number, subject: number][] = [];
          for (const [subject, atMs] of steps.entries()) {
            if (atMs !== null) {
              queue.schedule(atMs, subject % 11, subject);
              expected.push([atMs, subject]);
              continue;
            }
            if (queue.size === 0) continue;
            expected = expected.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]);
            const [first] = expected.splice(0, 1);
            expect(queue.nextAtMs).toBe(first?.[0]);
            queue.take();
            expect([queue.atMs, queue.subject, queue.kind]).toEqual([...first!, first![1] % 11]);
          }
          expect(queue.size).toBe(expected.length);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("Random", () => {
  it("is the same for a seed and a stream, and different for others", () => {
    const take = (seed: number, stream: number) => {
      const random = new Random(seed, stream);
      return Array.from({ length: 5 }, () => random.next());
    };
    expect(take(1, 0)).toEqual(take(1, 0));
    const all = [take(1, 0), take(1, 1), take(2, 0), take(0, 0)].map((each) => each.join());
    expect(new Set(all).size).toBe(4);
  });

  it("is even, also in pairs", () => {
    const random = new Random(5, 0);
    const counts = new Float64Array(256);
    for (let draw = 0; draw < 256_000; draw += 1) {
      counts[16 * random.below(16) + random.below(16)]! += 1;
    }
    const chiSquare = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    // 255 degrees of freedom: 99.9 % are below 330.
    expect(chiSquare).toBeLessThan(330);
  });

  it("has the moments of its laws", () => {
    const normal = drawn((random) => random.normal());
    expect(meanOf(normal)).toBeCloseTo(0, 1);
    expect(deviationOf(normal)).toBeCloseTo(1, 1);
    expect(meanOf(drawn((random) => random.geometric(4)))).toBeCloseTo(4, 1);
    expect(meanOf(drawn((random) => random.geometric(1)))).toBe(1);
  });
});

describe("lawOf", () => {
  it.each(LAW_NAMES)("%s has the mean that was asked for", (law) => {
    const draw = lawOf({ law, mean: 8000, p95: 20_000, variationRatio: 3 });
    expect(meanOf(drawn(draw)) / 8000).toBeCloseTo(1, 1);
  });

  it("lognormal has the 95th percentile, hyperexponential and lognormal the deviation", () => {
    const sorted = drawn(lawOf({ law: "lognormal", mean: 8000, p95: 20_000, variationRatio: 1 }));
    sorted.sort((a, b) => a - b);
    expect((sorted[0.95 * DRAWS] ?? 0) / 20_000).toBeCloseTo(1, 1);
    const hyper = lawOf({ law: "hyperexponential", mean: 10, p95: 0, variationRatio: 3 });
    expect(deviationOf(drawn(hyper)) / 30).toBeCloseTo(1, 1);
    expect(deviationOf(drawn(lognormalWith(125, 8)))).toBeCloseTo(8, 0);
  });

  it("is constant where the percentile is not above the mean", () => {
    const draw = lawOf({ law: "lognormal", mean: 100, p95: 100, variationRatio: 1 });
    expect(new Set(drawn(draw, 10))).toEqual(new Set([100]));
  });
});

describe("Histogram", () => {
  it("tells quantiles within a hundredth", () => {
    const histogram = new Histogram();
    for (let value = 1; value <= 10_000; value += 1) histogram.add(value);
    for (const at of [0.01, 0.5, 0.95, 0.99]) {
      expect(histogram.quantile(at) / (at * 10_000)).toBeCloseTo(1, 1.7);
    }
    expect([histogram.mean, histogram.most, histogram.count]).toEqual([5000.5, 10_000, 10_000]);
    histogram.clear();
    expect(histogram.quantile(0.5)).toBeNaN();
  });
});

describe("estimateRatio", () => {
  it("covers the true ratio about 95 times in a hundred", () => {
    const random = new Random(1, 1);
    let covered = 0;
    for (let round = 0; round < 1000; round += 1) {
      const wholes = Float64Array.from({ length: 30 }, () => 50 + random.below(100));
      const parts = wholes.map((whole) => {
        let part = 0;
        for (let each = 0; each < whole; each += 1) if (random.next() < 0.1) part += 1;
        return part;
      });
      const { low, high } = estimateRatio(parts, wholes);
      if (low <= 0.1 && high >= 0.1) covered += 1;
    }
    expect(covered).toBeGreaterThan(925);
    expect(covered).toBeLessThan(975);
  });

  it("says what can be said when nothing was seen", () => {
    const none = new Float64Array(30);
    expect(estimateRatio(none, none)).toEqual({ value: 0, low: 0, high: 1 });
    expect(estimateRatio(none, new Float64Array(30).fill(100))).toEqual({
      value: 0,
      low: 0,
      high: 0.001,
    });
  });
});

describe("studentT", () => {
  it.each([
    [4, 2.776],
    [9, 2.262],
    [29, 2.045],
    [999, 1.962],
  ])("of %i degrees of freedom is %d, as printed", (degrees, t) => {
    expect(Math.abs(studentT(degrees) - t)).toBeLessThan(0.01);
  });

  it("makes an interval for the mean of some values", () => {
    const { value, low, high } = estimateMean([1, 2, 3, 4, 5]);
    expect([value, low, high].map((each) => each.toFixed(2))).toEqual(["3.00", "1.04", "4.96"]);
  });
});

const PLAIN: RateTerms = {
  process: "poisson",
  ratePerMs: 1 / 100,
  spells: { factor: 8, burstMs: 20_000, calmMs: 60_000 },
  day: { swingRatio: 0.8, periodMs: 1_000_000 },
  bursts: [],
  endMs: 20_000_000,
};

function arrivalsOf(terms: Partial<RateTerms>): number[] {
  const arrivals = new RateArrivals({ ...PLAIN, ...terms }, new Random(2, 0));
  const times: number[] = [];
  for (let atMs = arrivals.next(); atMs !== Infinity; atMs = arrivals.next()) times.push(atMs);
  return times;
}

/** Variance against mean of the counts in windows: 1 where all come for themselves. */
function dispersionOf(times: readonly number[], windowMs: number): number {
  const counts = Array.from({ length: PLAIN.endMs / windowMs }, () => 0);
  for (const atMs of times) counts[Math.floor(atMs / windowMs)]! += 1;
  return deviationOf(counts) ** 2 / meanOf(counts);
}

describe("RateArrivals", () => {
  it.each(["poisson", "bursty", "diurnal"] as const)(
    "%s has the mean that was asked for",
    (process) => {
      const times = arrivalsOf({ process });
      expect(times.length / 200_000).toBeCloseTo(1, process === "bursty" ? 0 : 1);
      expect(times.every((atMs, index) => atMs >= (times[index - 1] ?? 0))).toBe(true);
      expect(times.at(-1)).toBeLessThan(PLAIN.endMs);
    },
  );

  it("comes in bursts only where that was asked for", () => {
    expect(dispersionOf(arrivalsOf({}), 10_000)).toBeCloseTo(1, 0);
    expect(dispersionOf(arrivalsOf({ process: "bursty" }), 10_000)).toBeGreaterThan(20);
  });

  it("is lowest at the beginning of a day and highest in its middle", () => {
    const times = arrivalsOf({ process: "diurnal" });
    const inPart = (from: number) =>
      times.filter((atMs) => (atMs / 1_000_000) % 1 >= from && (atMs / 1_000_000) % 1 < from + 0.1)
        .length;
    expect(inPart(0.45) / inPart(0.95)).toBeGreaterThan(4);
  });

  it("brings as many more in a named burst, and nobody with the factor 0", () => {
    const bursts = [
      { atMs: 1_000_000, lengthMs: 1_000_000, factor: 10 },
      { atMs: 5_000_000, lengthMs: 1_000_000, factor: 0 },
    ];
    const times = arrivalsOf({ bursts });
    const between = (from: number, to: number) =>
      times.filter((atMs) => atMs >= from && atMs < to).length;
    expect(between(1_000_000, 2_000_000) / 100_000).toBeCloseTo(1, 1);
    expect(between(5_000_000, 6_000_000)).toBe(0);
    expect(between(6_000_000, 7_000_000) / 10_000).toBeCloseTo(1, 1);
  });
});

describe("pauseMs", () => {
  const terms = {
    policy: "blind",
    maxAttempts: 3,
    patienceMs: Infinity,
    retryRatio: 1,
    pauseMs: 1000,
    longestPauseMs: 5000,
    spread: "none",
  } as const;
  const random = new Random(1, 1);

  const after = (more: object, attempts = 1, toldSeconds: number | null = 7, sinceFirstMs = 0) =>
    pauseMs({ ...terms, ...more }, { attempts, sinceFirstMs, toldSeconds }, random);

  it("waits as the policy says, until the last attempt, and no longer than its patience", () => {
    expect(after({}, 2)).toBe(1000);
    expect(after({}, 3)).toBeNull();
    expect(after({ policy: "give-up" })).toBeNull();
    expect(after({ policy: "retry-after" })).toBe(7000);
    expect(after({ policy: "retry-after" }, 1, null)).toBe(1000);
    expect(after({ retryRatio: 0 })).toBeNull();
    expect(after({ patienceMs: 4999 }, 2, 7, 4000)).toBeNull();
    expect(after({ patienceMs: 5000 }, 2, 7, 4000)).toBe(1000);
  });

  it("backs off twice as long each time, up to the longest, anywhere below", () => {
    const most = (attempts: number) =>
      Math.max(
        ...Array.from({ length: 2000 }, () =>
          Number(after({ policy: "backoff", maxAttempts: 99 }, attempts)),
        ),
      );
    expect(most(1) / 1000).toBeCloseTo(1, 1);
    expect(most(3) / 4000).toBeCloseTo(1, 1);
    expect(most(9) / 5000).toBeCloseTo(1, 1);
  });
});
