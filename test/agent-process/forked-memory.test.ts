import { describe, expect, it } from "vitest";
import { ForkedMemory } from "../../src/agent-process/forked-memory.ts";
import type { ProcessStat } from "../../src/agent-process/proc.ts";

const MiB = 2 ** 20;

const forkedStat = (pid: number, more: Partial<ProcessStat> = {}): ProcessStat => ({
  pid,
  parentPid: 1,
  startTicks: 10,
  hasOwnProgram: false,
  nameHash: 1,
  waitsInKernel: false,
  groupId: pid,
  sessionId: pid,
  cpuMs: 0,
  childCpuMs: 0,
  ...more,
});

/** Forked processes whose page tables say that 20 MiB are their own, and who counts the walks. */
function countingMemory(walkTakesMs = 0) {
  const walked: number[] = [];
  let clockMs = 0;
  const read = (pid: number) => {
    walked.push(pid);
    clockMs += walkTakesMs;
    return { privateBytes: 20 * MiB, sharedPartBytes: 5 * MiB };
  };
  const memory = new ForkedMemory(read, () => clockMs);
  /** What each is taken to hold at this look, and who was walked for it. */
  const look = (
    nowMs: number,
    stats: readonly ProcessStat[],
    shownMib: number,
    parentMib = 100,
  ) => {
    walked.length = 0;
    memory.beginLook(nowMs);
    const parentBytes = parentMib === 0 ? null : parentMib * MiB;
    const own = stats.map((stat) => memory.ownBytes(stat, shownMib * MiB, parentBytes) / MiB);
    return { own, walked: [...walked] };
  };
  return look;
}

describe("ForkedMemory", () => {
  it("takes the moment between fork and exec for nothing, and walks no page table for it", () => {
    const look = countingMemory();
    expect(look(0, [forkedStat(2)], 100)).toEqual({ own: [0], walked: [] });
    expect(look(99, [forkedStat(2)], 140)).toEqual({ own: [40], walked: [] });
    // Another process under the same pid begins anew.
    expect(look(100, [forkedStat(2, { startTicks: 11 })], 100)).toEqual({ own: [0], walked: [] });
  });

  it("goes by the page tables later, and by what has changed since", () => {
    const look = countingMemory();
    look(0, [forkedStat(2)], 100);
    expect(look(100, [forkedStat(2)], 100)).toEqual({ own: [20], walked: [2] });
    expect(look(120, [forkedStat(2)], 130)).toEqual({ own: [50], walked: [] });
    expect(look(140, [forkedStat(2)], 60)).toEqual({ own: [0], walked: [] });
    expect(look(5000, [forkedStat(2)], 60)).toEqual({ own: [20], walked: [2] });
  });

  it("gives it its part of what it shares when the parent has ended", () => {
    const look = countingMemory();
    look(0, [forkedStat(2)], 100, 0);
    expect(look(100, [forkedStat(2)], 100, 0).own).toEqual([25]);
  });

  it("walks eight at a look, and so the others at the next ones", () => {
    const look = countingMemory();
    const many = Array.from({ length: 20 }, (_, index) => forkedStat(2 + index));
    look(0, many, 16);
    const seen = [1000, 1200, 1400].map((nowMs) => look(nowMs, many, 16).walked);
    expect(seen.map(({ length }) => length)).toEqual([8, 8, 4]);
    expect(new Set(seen.flat()).size).toBe(20);
  });

  it("walks large ones one at a look, and none that would hold the guard up", () => {
    const look = countingMemory();
    const two = [forkedStat(2), forkedStat(3)];
    look(0, two, 300);
    expect(look(1000, two, 300, 400)).toEqual({ own: [20, 0], walked: [2] });
    const huge = countingMemory();
    huge(0, two, 600, 900);
    // What it has grown by is its own all the same.
    expect(huge(1000, two, 800, 900)).toEqual({ own: [200, 200], walked: [] });
  });

  it("takes a fortieth of the time for it, also where page tables are slow to walk", () => {
    const look = countingMemory(50);
    const two = [forkedStat(2), forkedStat(3)];
    look(0, two, 100);
    expect(look(1000, two, 100).walked).toEqual([2]);
    expect(look(2980, two, 100).walked).toEqual([]);
    expect(look(3000, two, 100).walked, "the one that was not").toEqual([3]);
    expect(look(5000, two, 100).walked).toEqual([2]);
  });

  it("asks nothing of one that waits in the kernel, and nothing of small ones", () => {
    const look = countingMemory();
    const stuck = [forkedStat(2, { waitsInKernel: true })];
    look(0, stuck, 100);
    expect(look(1000, stuck, 110).walked).toEqual([]);
    const small = countingMemory();
    small(0, [forkedStat(2)], 15);
    expect(small(1000, [forkedStat(2)], 15).walked).toEqual([]);
  });
});
