/**
 * Goal: the turns of a replica are those that its gate would admit, or fewer where the CPU binds.
 * Method: figures that can be worked out by hand; the gate itself, filled with such turns.
 */
import { describe, expect, it } from "vitest";
import { fitFootprint, poolBytes, predictBytes } from "../../src/capacity/footprint-model.ts";
import {
  CPU_TARGET_RATIO,
  leastMemoryBytes,
  replicaTurns,
  type TurnMix,
} from "../../src/sizing/replica-turns.ts";
import { GiB, MiB, PROFILE, profileWith } from "./profiles.ts";

const MIX: TurnMix = { turnMs: 10_000, carriedBytes: 0, carriedDeviationBytes: 0, idleSessions: 0 };
const MANY_CPUS = 64;
/** In MiB, for the fixture's turns: what the gate sets aside of which nothing differs. */
function fitWithin(freeMib: number, turnMib = 128, deviationMib = 0, excessMib = 0): number {
  // Turns never differ by less than 3 %, and their mean is known from the 96 latest.
  const deviation = Math.max(deviationMib, 0.03 * 128);
  const error = 128 / (2 * 96) + (2 * deviation) / Math.sqrt(96);
  const heldBy = (turns: number) =>
    turns * (turnMib + error) + 2.33 * deviation * Math.sqrt(turns) + excessMib;
  let turns = 0;
  while (heldBy(turns + 1) <= freeMib) turns += 1;
  return turns;
}

describe("replicaTurns", () => {
  it("is what fits between the server and the load line", () => {
    // 96 MiB of text and 32 beside it, and a margin of 16: the load line is 144 MiB below the limit.
    const found = replicaTurns(PROFILE, { memoryBytes: 2 * GiB, cpus: MANY_CPUS }, MIX);
    expect(found.loadLineBytes).toBe((2048 - 144) * MiB);
    expect(found.turns).toBe(fitWithin(2048 - 144 - 100));
    expect(found.turns).toBe(13);
    expect(found).toMatchObject({ binds: "memory", turnBytes: 128 * MiB });
  });

  it("keeps more free where the kernel ends all at once, as the server does there", () => {
    // At most 0.4 of the limit, and no more than two threads fill in 85 ms: 425 MiB, and a margin.
    const size = { memoryBytes: 2 * GiB, cpus: 2, killsAll: true };
    const found = replicaTurns(PROFILE, size, MIX);
    expect(found.loadLineBytes).toBe((2048 - 425 - 16) * MiB);
    expect(found.memoryTurns).toBe(fitWithin(2048 - 425 - 16 - 100));
    const small = replicaTurns(PROFILE, { ...size, memoryBytes: GiB }, MIX);
    expect(small.loadLineBytes).toBe(1024 * MiB - Math.floor(0.4 * GiB) - 16 * MiB);
    const least = leastMemoryBytes(PROFILE, MIX, 1, MiB, { cpus: 2, killsAll: true });
    const turnsAt = (memoryBytes: number) =>
      replicaTurns(PROFILE, { ...size, memoryBytes }, MIX).memoryTurns;
    expect([turnsAt(least), turnsAt(least - MiB)]).toEqual([1, 0]);
  });

  it("counts idle sessions, transcripts and what the server holds for a turn", () => {
    const size = { memoryBytes: 2 * GiB, cpus: MANY_CPUS };
    const idle = replicaTurns(PROFILE, size, { ...MIX, idleSessions: 256 * 1024 });
    expect(idle.serverBytes).toBe((100 + 256) * MiB);
    expect(idle.turns).toBe(fitWithin(2048 - 144 - 356));
    const carrying = replicaTurns(PROFILE, size, { ...MIX, carriedBytes: 4 * MiB });
    expect(carrying.turnBytes).toBe((128 + 48) * MiB);
    const server = { ...PROFILE.server, inflightTurnBytes: 2 * MiB };
    expect(replicaTurns({ ...PROFILE, server }, size, MIX).turnBytes).toBe(130 * MiB);
  });

  it("sets aside the pool: the largest turn in full once, and 2.33 deviations of all together", () => {
    const { peak } = PROFILE.turn;
    const varied = profileWith({
      peak: { ...peak, deviationBytes: 10 * MiB, mostBytes: 178 * MiB },
    });
    const { turns } = replicaTurns(varied, { memoryBytes: 4 * GiB, cpus: MANY_CPUS }, MIX);
    expect(turns).toBe(fitWithin(4096 - 144 - 100, 128, 10, 50));
  });

  it("is what the gate's own model admits that has seen many such turns", () => {
    const samples = Array.from({ length: 96 }, (_, at) => ({
      carriedBytes: 0,
      peakBytes: (128 + (at % 2 === 0 ? 1 : -1)) * MiB,
      endedForMemory: false,
      atMs: 0,
    }));
    const learned = fitFootprint({ samples, startPeakBytes: null, priorBytes: 500 * MiB });
    const { peak } = PROFILE.turn;
    const profile = profileWith({
      peak: { ...peak, deviationBytes: MiB, mostBytes: 129 * MiB },
    });
    const size = { memoryBytes: 4 * GiB, cpus: MANY_CPUS };
    const { turns } = replicaTurns(profile, size, MIX);
    const heldBy = (count: number) =>
      count * predictBytes(learned, 0) + poolBytes(Array.from({ length: count }, () => learned));
    const freeBytes = (4096 - 144 - 100) * MiB;
    expect(heldBy(turns)).toBeLessThanOrEqual(freeBytes);
    expect(heldBy(turns + 1)).toBeGreaterThan(freeBytes);
  });

  it("is bound by the CPU where a turn uses more of it than there is", () => {
    // A tenth of a core each, and 70 % of two cores.
    const found = replicaTurns(PROFILE, { memoryBytes: 16 * GiB, cpus: 2 }, MIX);
    expect(CPU_TARGET_RATIO).toBe(0.7);
    expect(found).toMatchObject({ turns: 14, binds: "cpu", cpuTurns: 14 });
    expect(found.memoryTurns).toBeGreaterThan(100);
  });

  it("counts the CPU of a start once, and that of streaming for as long as a turn lasts", () => {
    // 0.45 s for the start, and 0.55 s in the 9.55 s after it.
    const cpuMs = 450 + (550 / 9_550) * (20_000 - 450);
    const size = { memoryBytes: 16 * GiB, cpus: 2 };
    const { cpuTurns } = replicaTurns(PROFILE, size, { ...MIX, turnMs: 20_000 });
    expect(cpuTurns).toBe(Math.floor((1.4 * 20_000) / cpuMs));
  });

  it("counts the CPU that the server itself uses for a turn, as long as it lasts", () => {
    // 1 s for the turn's processes and 0.4 for the server, in 10 s: 1.4 cores carry ten.
    const server = { ...PROFILE.server, turn: { cpuMs: 100, cores: 0.03 } };
    const size = { memoryBytes: 16 * GiB, cpus: 2 };
    expect(replicaTurns({ ...PROFILE, server }, size, MIX).cpuTurns).toBe(10);
  });

  it("tells apart what a turn uses whatever it answers, where that was measured", () => {
    // 0.8 s in any turn, and 0.2 in the 8 s of an answer: 1.4 s in a turn of 26 s.
    const short = { cpuMs: 800, durationMs: 2_000 };
    const size = { memoryBytes: 16 * GiB, cpus: 2 };
    const { cpuTurns } = replicaTurns(profileWith({ short }), size, { ...MIX, turnMs: 26_000 });
    expect(cpuTurns).toBe(26);
  });

  it("is one turn by CPU however small the share, and none by memory where none fits", () => {
    const slow = replicaTurns(PROFILE, { memoryBytes: 2 * GiB, cpus: 0.05 }, MIX);
    expect(slow.turns).toBe(1);
    const tiny = replicaTurns(PROFILE, { memoryBytes: 256 * MiB, cpus: 1 }, MIX);
    expect(tiny.turns).toBe(0);
  });
});
