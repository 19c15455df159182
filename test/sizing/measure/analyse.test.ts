/**
 * Goal: a profile says what the steps have found.
 * Method: results with known figures, and random ones for what holds always.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FootprintBook } from "../../../src/capacity/footprint.ts";
import { analyse, footprintSamples } from "../../../src/sizing/measure/analyse.ts";
import { Profile } from "../../../src/sizing/profile.ts";
import { burst, FACTS, MIB, results, turn } from "./results.ts";

describe("the profile of a run", () => {
  const profile = analyse(results(), FACTS);

  it("is one that can be read again", () => {
    expect(Profile.parse(JSON.parse(JSON.stringify(profile)))).toEqual(profile);
  });

  it("has the peaks of all turns that carry nothing", () => {
    expect(profile.turn.turns).toBe(1 + 5 + 7);
    expect(profile.turn.peak.medianBytes).toBe(120 * MIB);
    expect(profile.turn.peak.mostBytes).toBe(124 * MIB);
  });

  it("has the growth with the transcript from turns that resumed one", () => {
    expect(profile.turn.bytesPerCarriedByte).toBeCloseTo(10, 1);
    expect(profile.turn.transcriptBytesPerTurn).toBe(5_000);
  });

  it("presumes the growth where none was resumed", () => {
    const { turn: figures } = analyse(results({ transcripts: { turns: [] } }), FACTS);
    expect(figures.bytesPerCarriedByte).toBe(12);
    expect(figures.transcriptBytesPerTurn).toBe(9_000);
  });

  it("spreads what idle sessions cost over all of them, and never takes any back", () => {
    expect(profile.server.idleSessionBytes).toBe(Math.round(MIB / 1_000));
    const sessions = { sessions: 300, beforeBytes: 100 * MIB, afterBytes: 98 * MIB };
    expect(analyse(results({ sessions }), FACTS).server.idleSessionBytes).toBe(0);
    const none = { sessions: 0, beforeBytes: 0, afterBytes: 0 };
    expect(analyse(results({ sessions: none }), FACTS).server.idleSessionBytes).toBe(0);
  });

  it("tells what turns use whatever they answer, and the server for each of many", () => {
    expect(profile.turn.short).toEqual({ cpuMs: 600, durationMs: 1_000 });
    // 100 ms for four turns of a word, and 80 more in the 4 s of four answers.
    expect(profile.server.turn).toEqual({ cpuMs: 25, cores: 0.005 });
  });

  it("takes the server's CPU by the time of turns where no short ones are told apart", () => {
    const shed = burst(8, { shed: { start: 2 }, turns: burst(6).turns, serverCpuMs: 9_000 });
    const some = { bursts: [burst(1), burst(4), shed], short: null, bound: "cpu" as const };
    const of = (bursts: typeof some) =>
      analyse(results({ bursts: { ...bursts, mappedFileBytes: 0 } }), FACTS).server.turn;
    // 180 ms in four turns of 5 s; where there was no burst, 100 in each.
    expect(of(some)).toEqual({ cpuMs: 0, cores: 0.009 });
    expect(of({ ...some, bursts: [] })).toEqual({ cpuMs: 0, cores: 0.02 });
    const { steady } = results();
    const alike = analyse(results({ steady: { ...steady, short: steady.turns } }), FACTS);
    expect(alike.turn.short).toBeUndefined();
    expect(alike.server.turn).toEqual({ cpuMs: 0, cores: 0.009 });
  });

  it("takes the times from turns that had the machine to themselves", () => {
    const slow = burst(4, { firstTokenMs: [9_000, 9_000, 9_000, 9_000] });
    const bursts = { bursts: [slow], short: null, bound: "cpu" as const, mappedFileBytes: 0 };
    const { start, turn: figures } = analyse(results({ bursts }), FACTS);
    expect(start.firstToken).toEqual({ medianMs: 500, p95Ms: 500, meanMs: 500 });
    expect(figures.duration.medianMs).toBe(5_000);
    expect(figures.cpuMs).toBe(800);
  });

  it("is valid whatever was found", () => {
    const bytes = fc.integer({ min: 1, max: 2 ** 40 });
    const one = fc
      .record({
        peakBytes: bytes,
        carriedBytes: fc.integer({ min: 0, max: 2 ** 30 }),
        firstTokenMs: fc.option(fc.integer({ min: 0, max: 60_000 })),
        durationMs: fc.integer({ min: 0, max: 600_000 }),
        cpuMs: fc.integer({ min: 0, max: 600_000 }),
        transcriptBytes: fc.integer({ min: 0, max: 2 ** 30 }),
      })
      .map((changes) => turn(1, changes));
    fc.assert(
      fc.property(fc.array(one, { minLength: 1 }), fc.array(one), (steady, resumed) => {
        const made = analyse(
          results({
            steady: { turns: steady, short: [], mappedFileBytes: 0 },
            bursts: { bursts: [], short: null, bound: null, mappedFileBytes: 0 },
            transcripts: { turns: resumed },
          }),
          FACTS,
        );
        const { peak } = Profile.parse(made).turn;
        expect(peak.medianBytes).toBeLessThanOrEqual(peak.p95Bytes);
        expect(peak.p95Bytes).toBeLessThanOrEqual(peak.p99Bytes);
        expect(peak.p99Bytes).toBeLessThanOrEqual(peak.mostBytes);
      }),
    );
  });
});

describe("the samples of a run", () => {
  it("are all its turns, and teach a server what the profile says", () => {
    const samples = footprintSamples(results());
    expect(samples).toHaveLength(1 + 5 + 7 + 4 + 1);
    const book = new FootprintBook({ priorBytes: 500 * MIB, versionOf: () => "1" });
    for (const sample of samples) book.learn("support", sample);
    const { source, baseBytes } = book.describe("support");
    expect(source).toBe("learned");
    expect(baseBytes).toBeGreaterThan(115 * MIB);
    expect(baseBytes).toBeLessThan(130 * MIB);
  });
});
