/**
 * Goal: what is said about replicas follows from the profile, and the advice keeps to it.
 */
import { describe, expect, it } from "vitest";
import { analyse } from "../../../src/sizing/measure/analyse.ts";
import { formulaTurns, SIZES_BYTES, verdictOf } from "../../../src/sizing/measure/verdict.ts";
import type { Profile } from "../../../src/sizing/profile.ts";
import { replicaTurns } from "../../../src/sizing/replica-turns.ts";
import { burst, FACTS, GIB, MIB, results } from "./results.ts";

const profile = analyse(results(), FACTS);
const verdict = verdictOf(profile);

function withTurn(changes: Partial<Profile["turn"]>): Profile {
  return { ...profile, turn: { ...profile.turn, ...changes } };
}

describe("the formula beside it", () => {
  it("gives 1, 3, 7 and 15 turns on 1, 2, 4 and 8 GiB", () => {
    expect(SIZES_BYTES.map(formulaTurns)).toEqual([1, 3, 7, 15]);
  });
});

describe("what breaks first", () => {
  it("never carries fewer with more memory, or with more CPUs", () => {
    const turns = verdict.rows.map(({ byCpus }) => byCpus.map((each) => each.turns));
    for (const [at, row] of turns.entries()) {
      expect(row).toEqual(row.toSorted((a, b) => a - b));
      for (const [cpu, count] of row.entries()) {
        expect(count).toBeGreaterThanOrEqual(turns[at - 1]?.[cpu] ?? 0);
      }
    }
  });

  it("is memory where turns hold much, CPU where they use much", () => {
    const heavy = verdictOf(withTurn({ cpuMs: 1, short: { cpuMs: 1, durationMs: 1_000 } }));
    expect(new Set(heavy.rows.flatMap((row) => row.byCpus.map(({ binds }) => binds)))).toEqual(
      new Set(["memory"]),
    );
    const busy = verdictOf(withTurn({ cpuMs: 5_000 }));
    expect(busy.rows.at(-1)?.byCpus[0]).toEqual({ cpus: 1, turns: 1, binds: "cpu" });
  });

  it("is told for turns as long as they are with one's own model", () => {
    const longer = verdictOf(profile, 20_000);
    expect(longer.turnMs).toBe(20_000);
    expect(longer.rows.at(-1)?.byCpus[0]?.turns).toBeGreaterThan(
      verdict.rows.at(-1)?.byCpus[0]?.turns ?? 0,
    );
    expect(longer.rows[0]?.memoryTurns).toBe(verdict.rows[0]?.memoryTurns);
  });

  it("is the model where it refused", () => {
    const bursts = {
      bursts: [burst(1), burst(2), burst(4, { modelTroubles: 3 })],
      short: null,
      bound: "model" as const,
      mappedFileBytes: 0,
    };
    const { rows, modelTurns } = verdictOf(analyse(results({ bursts }), FACTS));
    expect(modelTurns).toBe(2);
    expect(rows.at(-1)?.byCpus.at(-1)).toEqual({ cpus: 4, turns: 2, binds: "model" });
  });
});

describe("the smallest replica that works", () => {
  it("carries one turn, and with a MiB less none", () => {
    const mix = { turnMs: 5_000, carriedBytes: 0, carriedDeviationBytes: 0, idleSessions: 0 };
    const turnsOn = (memoryBytes: number) =>
      replicaTurns(profile, { memoryBytes, cpus: 1 }, mix).memoryTurns;
    expect(turnsOn(verdict.smallestBytes)).toBe(1);
    expect(turnsOn(verdict.smallestBytes - MIB)).toBe(0);
  });
});

describe("the recommended replica", () => {
  it("carries with its memory as many as with its CPUs, and hardly more", () => {
    const { memoryBytes, memoryTurns, cpuTurns, turns, cpus } = verdict.recommended;
    expect(turns).toBe(cpuTurns);
    expect(turns).toBeGreaterThanOrEqual(8);
    expect(memoryTurns).toBeGreaterThanOrEqual(turns);
    const mix = { turnMs: 5_000, carriedBytes: 0, carriedDeviationBytes: 0, idleSessions: 0 };
    const smaller = { memoryBytes: memoryBytes - 256 * MIB, cpus };
    expect(replicaTurns(profile, smaller, mix).memoryTurns).toBeLessThan(cpuTurns);
  });

  it("is no giant where turns use hardly any CPU", () => {
    const { turns, cpus, memoryBytes } = verdictOf(
      withTurn({ cpuMs: 1, short: { cpuMs: 1, durationMs: 1_000 } }),
    ).recommended;
    expect(cpus).toBe(1);
    expect(turns).toBeLessThan(40);
    expect(memoryBytes).toBeLessThan(8 * GIB);
  });
});
