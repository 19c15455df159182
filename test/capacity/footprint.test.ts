/**
 * Goal: a prediction is about what a turn holds, what is set aside covers the rest, and nothing that
 * is learned makes it careless.
 * Method: properties over any samples; simulated turns whose law is known, against an oracle that
 * knows it; a trace of real turns.
 */
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replay, type TracedTurn } from "../../bench/footprint-replay.ts";
import {
  FootprintBook,
  type FootprintBookOptions,
  WINDOW_SAMPLES,
} from "../../src/capacity/footprint.ts";
import {
  fitFootprint,
  type FootprintSample,
  poolBytes,
  predictBytes,
} from "../../src/capacity/footprint-model.ts";

const MiB = 2 ** 20;
const HOUR_MS = 3_600_000;
const PRIOR_BYTES = 500 * MiB;

/** Of the tests; the model itself knows no limit. */
const MAX_CARRIED_BYTES = 64 * MiB;
const ANY = { numRuns: 1000 };

const anySample = fc.record({
  carriedBytes: fc.oneof(fc.nat(64 * 1024), fc.nat(MAX_CARRIED_BYTES)),
  peakBytes: fc.oneof(
    fc.integer({ min: 90 * MiB, max: 200 * MiB }),
    fc.integer({ min: 1, max: 4096 * MiB }),
  ),
  endedForMemory: fc.boolean(),
  atMs: fc.nat(HOUR_MS),
});
const anySamples = fc.array(anySample, { minLength: 1, maxLength: 30 });
const anyCarried = fc.nat(MAX_CARRIED_BYTES);
const anyStart = fc.option(fc.integer({ min: 1, max: 300 * MiB }));

/** Found once in some hundred thousand: two bytes apart, the slope between them is enormous. */
const ALMOST_THE_SAME_TRANSCRIPT: [FootprintSample[], null, number, number] = [
  [
    { carriedBytes: 67_108_837, peakBytes: 1_422_788_830, endedForMemory: false, atMs: 0 },
    { carriedBytes: 67_108_839, peakBytes: 99_043_545, endedForMemory: false, atMs: 0 },
    { carriedBytes: 0, peakBytes: 1_138_231_065, endedForMemory: true, atMs: 0 },
  ],
  null,
  0,
  3,
];

function sampleOf(peakBytes: number, carriedBytes = 0): FootprintSample {
  return { carriedBytes, peakBytes, endedForMemory: false, atMs: 0 };
}

function modelOf(samples: readonly FootprintSample[], startPeakBytes: number | null = null) {
  return fitFootprint({ samples, startPeakBytes, priorBytes: PRIOR_BYTES });
}

/** What a sample counts for. */
function heldBytes({ peakBytes, endedForMemory }: FootprintSample): number {
  return endedForMemory ? peakBytes * 1.25 : peakBytes;
}

describe("fitFootprint", () => {
  it("takes the prior for any turn while nothing is known, and more for a very long one", () => {
    const model = modelOf([]);
    expect(predictBytes(model, 0)).toBe(PRIOR_BYTES);
    expect(predictBytes(model, 15 * MiB)).toBe(PRIOR_BYTES);
    expect(predictBytes(model, 100 * MiB)).toBeGreaterThan(1300 * MiB);
    expect(poolBytes([model, model])).toBe(0);
  });

  it("takes a process that was only started for one turn", () => {
    const started = modelOf([], 100 * MiB);
    expect(predictBytes(started, 0)).toBe(260 * MiB);
    expect(predictBytes(modelOf([sampleOf(130 * MiB)]), 0)).toBe(260 * MiB);
    expect(predictBytes(started, 10 * MiB)).toBe(380 * MiB);
  });

  it("sets no more aside for turns of one size because a process that only started is smaller", () => {
    const turns = Array(5).fill(sampleOf(400 * MiB));
    const alone = modelOf(turns);
    const beside = modelOf(turns, 100 * MiB);
    expect(poolBytes([beside, beside])).toBeLessThanOrEqual(poolBytes([alone, alone]));
  });

  it("comes down from twice the first turn to the mean of eight", () => {
    const predicted = [1, 4, 7, 8].map((count) =>
      Math.round(predictBytes(modelOf(Array(count).fill(sampleOf(120 * MiB))), 0) / MiB),
    );
    expect(predicted).toEqual([240, 180, 165, 120]);
  });

  it("never predicts the first turns above the prior, unless one was", () => {
    expect(predictBytes(modelOf([sampleOf(400 * MiB)]), 0)).toBe(PRIOR_BYTES);
    expect(predictBytes(modelOf([sampleOf(700 * MiB)]), 0)).toBe(700 * MiB);
  });

  it("is finite and above 0 whatever was seen", () => {
    const check = (samples: FootprintSample[], start: number | null, carried: number) => {
      const model = modelOf(samples, start);
      for (const value of [predictBytes(model, carried), ...Object.values(model)]) {
        expect(value).toSatisfy(Number.isFinite);
      }
      expect(predictBytes(model, carried)).toBeGreaterThan(0);
      expect(poolBytes([model])).toBeGreaterThanOrEqual(0);
    };
    fc.assert(fc.property(anySamples, anyStart, anyCarried, check), ANY);
  });

  it("predicts a turn no less than one that carried as much, before eight were seen", () => {
    fc.assert(
      fc.property(fc.array(anySample, { minLength: 1, maxLength: 7 }), (samples) => {
        const model = modelOf(samples);
        for (const sample of samples) {
          expect(predictBytes(model, sample.carriedBytes)).toBeGreaterThanOrEqual(
            heldBytes(sample) * (1 - 1e-9),
          );
        }
      }),
      ANY,
    );
  });

  it("never predicts less, nor sets less aside, because the largest turn held more", () => {
    fc.assert(
      fc.property(
        anySamples,
        anyStart,
        fc.nat(1024 * MiB),
        anyCarried,
        (samples, start, more, carried) => {
          const held = samples.map(heldBytes);
          const at = held.indexOf(Math.max(...held));
          // Of equal ones, which one is the largest is a matter of order.
          fc.pre(held.every((bytes, index) => index === at || bytes < (held[at] ?? 0)));
          fc.pre((held[at] ?? 0) > (start ?? 0));
          const raised = samples.map((sample, index) =>
            index === at ? { ...sample, peakBytes: sample.peakBytes + more } : sample,
          );
          const [before, after] = [modelOf(samples, start), modelOf(raised, start)];
          expect(predictBytes(after, carried)).toBeGreaterThanOrEqual(
            predictBytes(before, carried) - 1,
          );
          for (const turns of [1, 12]) {
            expect(poolBytes(Array(turns).fill(after))).toBeGreaterThanOrEqual(
              poolBytes(Array(turns).fill(before)) - 1,
            );
          }
        },
      ),
      ANY,
    );
  });

  it("counts a turn that was ended for memory for more than it held", () => {
    fc.assert(
      fc.property(anySamples, (samples) => {
        const whole = samples.map((sample) => ({ ...sample, endedForMemory: false }));
        const cut = samples.map((sample) => ({ ...sample, endedForMemory: true }));
        expect(modelOf(cut).largestBytes).toBeGreaterThanOrEqual(modelOf(whole).largestBytes);
        for (const [index, { peakBytes }] of samples.entries()) {
          const alone = modelOf(cut.slice(index, index + 1));
          expect(alone.largestBytes).toBeGreaterThanOrEqual(peakBytes);
        }
      }),
      ANY,
    );
  });

  it("does not depend on the order of the last eight turns, nor on that of those before", () => {
    const parts = fc.tuple(
      fc.array(anySample, { maxLength: 20 }),
      fc.array(anySample, { minLength: 8, maxLength: 8 }),
    );
    const shuffled = parts.chain(([before, last]) =>
      fc.tuple(
        fc.constant([...before, ...last]),
        fc.shuffledSubarray(before, { minLength: before.length }),
        fc.shuffledSubarray(last, { minLength: last.length }),
      ),
    );
    fc.assert(
      fc.property(shuffled, anyCarried, ([samples, before, last], carried) => {
        // Of several turns that are the largest, which one is left out of the slope is by order.
        fc.pre(new Set(samples.map(heldBytes)).size === samples.length);
        const [one, other] = [modelOf(samples), modelOf([...before, ...last])];
        expect(predictBytes(other, carried)).toBeCloseTo(predictBytes(one, carried), -1);
        expect(poolBytes([other])).toBeCloseTo(poolBytes([one]), -1);
      }),
      ANY,
    );
  });

  it("scales: with all sizes times k, so are prediction and pool", () => {
    const factor = fc.integer({ min: 2, max: 64 });
    fc.assert(
      fc.property(anySamples, anyStart, anyCarried, factor, (samples, start, carried, k) => {
        const one = modelOf(samples, start);
        const scaled = fitFootprint({
          samples: samples.map((sample) => ({
            ...sample,
            carriedBytes: sample.carriedBytes * k,
            peakBytes: sample.peakBytes * k,
          })),
          startPeakBytes: start === null ? null : start * k,
          priorBytes: PRIOR_BYTES * k,
        });
        // Both are rounded up to whole bytes.
        const isSame = (of: number, as: number) => Math.abs(of / k - as) <= 1 + as * 1e-9;
        expect(predictBytes(scaled, carried * k)).toSatisfy((bytes: number) =>
          isSame(bytes, predictBytes(one, carried)),
        );
        expect(poolBytes([scaled, scaled])).toSatisfy((bytes: number) =>
          isSame(bytes, poolBytes([one, one])),
        );
      }),
      { ...ANY, examples: [ALMOST_THE_SAME_TRANSCRIPT] },
    );
  });
});

describe("the slope", () => {
  /** MiB of transcript to MiB held, as measured. */
  const measured = [
    [0, 118],
    [1, 132],
    [2, 141],
    [4, 159],
    [8, 191],
    [16, 241],
  ] as const;

  it("follows the transcripts within 20 %, although they cost less the longer they are", () => {
    const random = seeded(7);
    const samples = Array.from({ length: 60 }, (_, index) => {
      const [carried = 0, held = 0] = measured[index % measured.length] ?? [];
      return sampleOf((held + 2 * normal(random)) * MiB, carried * MiB);
    });
    const model = modelOf(samples);
    for (const [carried, held] of measured) {
      const predicted = predictBytes(model, carried * MiB) / MiB;
      expect(Math.abs(predicted / held - 1)).toBeLessThan(0.2);
    }
    expect(model.bytesPerCarriedByte).toBeGreaterThan(6);
    expect(model.bytesPerCarriedByte).toBeLessThan(12);
  });

  it("is what is presumed while all turns carry about the same", () => {
    const random = seeded(3);
    const samples = Array.from({ length: 60 }, () =>
      sampleOf((130 + 10 * normal(random)) * MiB, random() * 20 * 1024),
    );
    expect(modelOf(samples).bytesPerCarriedByte).toBe(12);
    expect(predictBytes(modelOf(samples), 10 * MiB)).toBeGreaterThan(240 * MiB);
  });

  it("is not turned by one turn that is large for another reason, nor by those ended", () => {
    const line = Array.from({ length: 20 }, (_, at) => sampleOf((120 + 8 * at) * MiB, at * MiB));
    const odd = [...line, sampleOf(2000 * MiB, 5 * MiB)];
    const cut = { ...sampleOf(1500 * MiB, MiB), endedForMemory: true };
    expect(modelOf(odd).bytesPerCarriedByte).toBeCloseTo(8);
    expect(modelOf([...odd, cut, cut]).bytesPerCarriedByte).toBeCloseTo(8, 0);
  });
});

/**
 * Real turns of Claude Code on the rehearsal model, with transcripts of 0 to 20 MiB and tools of
 * several kinds; made by the benchmark `prediction`.
 */
describe("a trace of real turns, replayed", () => {
  const { turns } = readTrace();
  const { predictions, errors } = replay(turns, { priorBytes: PRIOR_BYTES });
  const settled = predictions.filter(({ learned }) => learned >= 8);

  it("is predicted within 20 %, but for one turn in twenty", () => {
    const off = errors
      .slice(-settled.length)
      .map(Math.abs)
      .toSorted((a, b) => a - b);
    expect(off[Math.ceil(0.95 * off.length) - 1]).toBeLessThanOrEqual(0.2);
  });

  it("stays within prediction and margin, but for one turn in a hundred", () => {
    const beyond = settled.filter(
      ({ turn, predictedBytes, marginBytes }) => turn.peakBytes > predictedBytes + marginBytes,
    );
    expect(beyond.length / settled.length).toBeLessThanOrEqual(0.01);
  });

  it("has transcripts of all lengths", () => {
    const mebibytes = turns.map(({ carriedBytes }) => carriedBytes / MiB);
    expect(Math.min(...mebibytes)).toBeLessThan(0.01);
    expect(Math.max(...mebibytes)).toBeGreaterThan(19);
    expect(turns.length).toBeGreaterThan(150);
  });
});

const versionOf = (agentName: string) => (agentName === "stranger" ? null : "v1");

function bookWith(
  samples: readonly FootprintSample[],
  options: Partial<FootprintBookOptions> = {},
): FootprintBook {
  const book = new FootprintBook({ priorBytes: PRIOR_BYTES, versionOf, ...options });
  for (const sample of samples) book.learn("a", sample);
  return book;
}

describe("FootprintBook", () => {
  const eight = Array.from({ length: 8 }, (_, at) => sampleOf((120 + at) * MiB, at * 1024));

  it("tells where a prediction comes from", () => {
    const book = bookWith([]);
    expect(book.describe("a")).toEqual({
      source: "prior",
      samples: 0,
      baseBytes: PRIOR_BYTES,
      bytesPerCarriedByte: 0,
      deviationBytes: 0,
      largestBytes: 0,
    });
    book.calibrate(100 * MiB);
    expect(book.describe("a")).toMatchObject({ source: "calibrated", baseBytes: 260 * MiB });
    book.learn("a", sampleOf(120 * MiB));
    expect(book.describe("a")).toMatchObject({ source: "learned", samples: 1 });
    expect(book.describe("b")).toMatchObject({ source: "calibrated" });
  });

  it("takes an agent whose turns start programs for the prior until one was seen", () => {
    const book = bookWith([], { startsPrograms: (name) => name === "a" });
    book.calibrate(100 * MiB);
    expect(book.describe("a")).toMatchObject({ source: "prior", baseBytes: PRIOR_BYTES });
    expect(book.describe("b")).toMatchObject({ source: "calibrated", baseBytes: 260 * MiB });
    book.learn("a", sampleOf(300 * MiB));
    expect(book.describe("a")).toMatchObject({ source: "learned", samples: 1 });
    expect(book.predict("a", 0)).toBeGreaterThanOrEqual(300 * MiB);
  });

  it("keeps agents apart, and sums what is set aside for turns of several", () => {
    const book = bookWith(eight);
    expect(book.predict("b", 0)).toBe(PRIOR_BYTES);
    expect(book.poolBytes(["b", "b"])).toBe(0);
    expect(book.poolBytes(["a", "b"])).toBe(book.poolBytes(["a"]));
    const [one, two] = [book.poolBytes(["a"]), book.poolBytes(["a", "a"])];
    expect(two).toBeGreaterThan(one);
    expect(two).toBeLessThan(2 * one);
  });

  it("raises prediction and pool at once when a turn was ended for memory", () => {
    const settled = Array.from({ length: 40 }, (_, at) => sampleOf((120 + (at % 5)) * MiB));
    const book = bookWith(settled);
    const before = { predicted: book.predict("a", 0), pool: book.poolBytes(["a"]) };
    book.learn("a", { ...sampleOf(1024 * MiB), endedForMemory: true });
    expect(book.predict("a", 0)).toBeGreaterThan(before.predicted * 1.2);
    // One such turn in full, and not as if every turn were it.
    expect(book.poolBytes(["a"])).toBeGreaterThan(before.pool + 1100 * MiB);
    expect(book.poolBytes(Array(12).fill("a"))).toBeLessThan(1400 * MiB);
  });

  it("passes over what cannot be, and agents it does not serve", () => {
    const book = bookWith(eight);
    const before = [book.predict("a", MiB), book.changes];
    for (const bad of [Number.NaN, Infinity, -1]) {
      book.learn("a", { ...sampleOf(120 * MiB), peakBytes: bad });
      book.learn("a", { ...sampleOf(120 * MiB), carriedBytes: bad });
      book.calibrate(bad);
    }
    book.learn("a", sampleOf(0));
    book.learn("stranger", sampleOf(120 * MiB));
    expect([book.predict("a", MiB), book.changes]).toEqual(before);
    expect(book.describe("stranger").samples).toBe(0);
  });

  it("remembers a bounded number of turns", () => {
    const book = bookWith(Array.from({ length: 1000 }, (_, at) => sampleOf((100 + at) * MiB)));
    expect(book.describe("a").samples).toBe(WINDOW_SAMPLES);
    expect(book.toJson().length).toBeLessThan(16 * 1024);
  });

  it("forgets turns of the day before yesterday once there are others, but never all", () => {
    const old = Array.from({ length: 40 }, () => ({ ...sampleOf(300 * MiB), atMs: 0 }));
    const book = bookWith(old);
    book.learn("a", { ...sampleOf(120 * MiB), atMs: 48 * HOUR_MS });
    expect(book.describe("a").samples).toBe(8);
    for (let at = 0; at < 8; at += 1) {
      book.learn("a", { ...sampleOf(120 * MiB), atMs: 48 * HOUR_MS + at });
    }
    expect(book.describe("a")).toMatchObject({ samples: 9, largestBytes: 120 * MiB });
  });

  it("outlives a clock that was far ahead", () => {
    const book = bookWith([...eight, { ...sampleOf(120 * MiB), atMs: 1e15 }]);
    for (let at = 0; at < 20; at += 1) book.learn("a", { ...sampleOf(121 * MiB), atMs: at });
    expect(book.describe("a").samples).toBeGreaterThanOrEqual(20);
  });

  it("knows after a restart what it knew before", () => {
    fc.assert(
      fc.property(fc.array(anySample, { maxLength: 120 }), anyCarried, (samples, carried) => {
        const [before, after] = [bookWith(samples), bookWith([])];
        expect(after.restore(before.toJson())).toBeNull();
        expect(after.describe("a")).toEqual(before.describe("a"));
        expect(after.predict("a", carried)).toBe(before.predict("a", carried));
        expect(after.poolBytes(["a", "a"])).toBe(before.poolBytes(["a", "a"]));
        expect(after.toJson()).toBe(before.toJson());
      }),
      { numRuns: 200 },
    );
  });

  it("takes what it knew of another version for a hint", () => {
    const samples = Array.from({ length: 40 }, (_, at) => sampleOf((100 + at) * MiB));
    const balloon = sampleOf(2048 * MiB);
    const after = bookWith([], { versionOf: () => "v2" });
    const note = after.restore(bookWith([...samples, balloon]).toJson());
    expect(note).toBe("what was learned of another version is a hint only: a");
    expect(after.describe("a")).toMatchObject({ source: "learned", samples: 4 });
    expect(after.predict("a", 0) / MiB).toBeGreaterThan(180);
    expect(after.predict("a", 0) / MiB).toBeLessThan(210);
  });

  it("keeps nothing of agents that are no longer served", () => {
    const after = bookWith([], { versionOf: () => null });
    expect(after.restore(bookWith(eight).toJson())).toBeNull();
    expect(after.toJson()).not.toContain('"a"');
  });

  it("starts anew from anything that is not its own, and says so", () => {
    const good = bookWith(eight).toJson();
    const bad = fc.oneof(
      fc.string(),
      fc.json(),
      fc.nat(good.length - 3).map((length) => good.slice(0, length)),
      fc
        .constantFrom("peakBytes", "carriedBytes", "atMs", "samples", "version")
        .map((name) => good.replace(`"${name}":`, `"${name}":"not",\n"`)),
      fc.constant(good.replace(/"peakBytes":\d+/, '"peakBytes":-1')),
      fc.constant(good.replace(/"peakBytes":\d+/, '"peakBytes":1e300')),
      fc.constant(good.replace('"version":1', '"version":2')),
    );
    fc.assert(
      fc.property(bad, (json) => {
        const book = bookWith([]);
        expect(book.restore(json)).toMatch(/cannot be read: learning anew$/);
        expect(book.predict("a", 0)).toBe(PRIOR_BYTES);
      }),
      ANY,
    );
  });
});

/** Peaks of turns in MiB, each drawn on its own. */
type Law = (random: () => number) => number;

const usual: Law = (random) => 138 + 12 * normal(random);
const fewLarge =
  (chance: number, times: number): Law =>
  (random) =>
    (120 + 5 * normal(random)) * (random() < chance ? times : 1);

/**
 * The oracle knows the law of the turns, and admits as many as stay below the load line in 99 of 100
 * times when all are at their peak. The model has seen 100 turns of it, after those of `before`.
 */
describe("against an oracle that knows the turns", () => {
  const LOAD_LINE_MIB = 3500;
  const HISTORIES = 200;

  const cases: readonly (readonly [string, Law, { before?: Law; most?: number }])[] = [
    ["turns that hardly differ", (random) => 120 + 2 * normal(random), {}],
    ["turns as they are", usual, {}],
    ["turns that became larger by 60 %", (random) => 1.6 * usual(random), { before: usual }],
    ["turns that became smaller by 40 %", usual, { before: (random) => 1.6 * usual(random) }],
    ["two kinds of turns, one in five twice as large", fewLarge(0.2, 2), {}],
    ["a heavy tail", (random) => 120 * Math.exp(0.5 * normal(random)), {}],
    // Of 96 turns, five are large, or ten, or one: rarer things are for the guard.
    ["one turn in twenty five times as large", fewLarge(0.05, 5), { most: 0.03 }],
  ];

  it.each(cases)("carries most of what it could, and no more: %s", (_name, law, options) => {
    const { before, most = 0.01 } = options;
    const random = seeded(11);
    const oracle = oracleOf(law, random, LOAD_LINE_MIB);
    let carried = 0;
    let crossed = 0;
    for (let history = 0; history < HISTORIES; history += 1) {
      const laws = [
        ...Array<Law>(WINDOW_SAMPLES).fill(before ?? law),
        ...Array<Law>(100).fill(law),
      ];
      const seen = laws.slice(-WINDOW_SAMPLES);
      const model = modelOf(seen.map((each) => sampleOf(Math.max(1, each(random)) * MiB)));
      const turns = turnsThatFit(model, LOAD_LINE_MIB * MiB);
      carried += turns / HISTORIES;
      crossed += oracle.chanceToCross(turns) / HISTORIES;
    }
    expect(crossed).toBeLessThanOrEqual(most);
    expect(carried / oracle.turns).toBeGreaterThanOrEqual(0.8);
  });

  it("follows turns that became larger after eight of them", () => {
    const random = seeded(5);
    const larger: Law = (draw) => 1.6 * usual(draw);
    const oracle = oracleOf(larger, random, LOAD_LINE_MIB);
    let crossed = 0;
    for (let history = 0; history < HISTORIES; history += 1) {
      const laws = [...Array<Law>(88).fill(usual), ...Array<Law>(8).fill(larger)];
      const model = modelOf(laws.map((law) => sampleOf(law(random) * MiB)));
      const turns = turnsThatFit(model, LOAD_LINE_MIB * MiB);
      crossed += oracle.chanceToCross(turns) / HISTORIES;
    }
    expect(crossed).toBeLessThanOrEqual(0.03);
  });
});

function oracleOf(law: Law, random: () => number, loadLineMib: number) {
  const TRIALS = 2000;
  const sums = new Float64Array(TRIALS);
  const chances: number[] = [0];
  while ((chances.at(-1) ?? 1) < 1) {
    let crossed = 0;
    for (let trial = 0; trial < TRIALS; trial += 1) {
      sums[trial] = (sums[trial] ?? 0) + law(random);
      if ((sums[trial] ?? 0) > loadLineMib) crossed += 1;
    }
    chances.push(crossed / TRIALS);
  }
  return {
    turns: chances.findLastIndex((chance) => chance <= 0.01),
    chanceToCross: (turns: number) => chances[turns] ?? 1,
  };
}

function turnsThatFit(model: ReturnType<typeof modelOf>, loadLineBytes: number): number {
  const needed = (count: number) =>
    count * predictBytes(model, 0) + poolBytes(Array<typeof model>(count).fill(model));
  let turns = 0;
  while (needed(turns + 1) <= loadLineBytes) turns += 1;
  return turns;
}

function readTrace(): { readonly turns: readonly TracedTurn[] } {
  const file = new URL("../fixtures/footprint-trace.json", import.meta.url);
  return JSON.parse(readFileSync(file, "utf8"));
}

/** Box and Muller's way to a normal variable. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Mulberry32: small, and the same everywhere. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
