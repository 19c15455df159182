/**
 * Goal: the memory guard's policy holds what it promises, whatever it is shown.
 * Method: single cases with a clock of their own, and random programs in a small world in which
 * turns and tools take memory, and what is ended gives it back, sometimes late.
 */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type EndAction,
  FIRST_GUARD_STATE,
  type GuardAction,
  type GuardObservation,
  type GuardState,
  stepGuard,
} from "../../src/capacity/guard.ts";
import { brakeBytes } from "../../src/capacity/guard-lines.ts";
import type { GuardedTree } from "../../src/capacity/guard-trees.ts";
import { SafetyReserve } from "../../src/capacity/safety-reserve.ts";

const MiB = 2 ** 20;
const LIMIT = 2048 * MiB;
const BRAKE = 128 * MiB;
const MARGIN = 16 * MiB;

const NOT_TOLD = { isOfMachine: false, mappedFileBytes: null };

type Look = Partial<Omit<GuardObservation, "usedBytes">> & { readonly freeBytes?: number | null };

/** A guard with a clock, that is shown one look after the other. */
class Watch {
  state: GuardState = FIRST_GUARD_STATE;
  nowMs = 0;

  look(look: Look, afterMs = 20): readonly GuardAction[] {
    this.nowMs += afterMs;
    const { freeBytes = LIMIT, ...rest } = look;
    const limitBytes = look.limitBytes ?? LIMIT;
    const seen: GuardObservation = {
      limitBytes,
      restingBrakeBytes: BRAKE,
      floorBytes: BRAKE,
      usedBytes: freeBytes === null ? null : limitBytes - freeBytes,
      isOfMachine: false,
      mappedFileBytes: null,
      refaultedPages: null,
      majorFaults: null,
      stallMs: null,
      trees: [],
      ...rest,
    };
    const step = stepGuard(this.state, seen, this.nowMs);
    this.state = step.state;
    return step.actions;
  }

  /** The same look for a while. */
  stay(look: Look | ((elapsedMs: number) => Look), ms: number): readonly GuardAction[] {
    const actions: GuardAction[] = [];
    for (let elapsedMs = 20; elapsedMs <= ms; elapsedMs += 20) {
      actions.push(...this.look(typeof look === "function" ? look(elapsedMs) : look));
    }
    return actions;
  }

  get level(): number {
    return this.state.levels.level;
  }
}

function tree(id: string, mebibytes: number, more: Partial<GuardedTree> = {}): GuardedTree {
  return {
    id,
    kind: "turn",
    bytes: mebibytes * MiB,
    predictedBytes: 120 * MiB,
    ceilingBytes: null,
    startedAtMs: 0,
    hasOutput: true,
    tools: [],
    ...more,
  };
}

function tool(id: number, mebibytes: number) {
  return { id, bytes: mebibytes * MiB };
}

function endsOf(actions: readonly GuardAction[]): readonly (readonly [string, number | null])[] {
  return actions.flatMap((action) => (action.do === "end" ? [[action.id, action.toolId]] : []));
}

describe("the level", () => {
  it.each([
    [BRAKE + MARGIN, 0],
    [BRAKE + MARGIN - 1, 1],
    [BRAKE, 1],
    [BRAKE - 1, 3],
    [-MiB, 3],
  ])("with %d bytes free is %d", (freeBytes, level) => {
    const watch = new Watch();
    watch.look({ freeBytes });
    expect(watch.level).toBe(level);
  });

  it("rises early when memory fills so fast that it would be too late at the brake", () => {
    const watch = new Watch();
    const filling = (freeMib: number) => {
      const bytes = 1000 - freeMib;
      return watch.look({
        freeBytes: freeMib * MiB,
        trees: [tree("a", bytes, { tools: [tool(7, bytes)] })],
      });
    };
    // 50 MiB in 20 ms are 212 in the 85 ms until it is gone.
    for (const freeMib of [380, 330, 280, 230]) {
      expect(filling(freeMib)).toEqual([]);
      expect(watch.level).toBe(0);
    }
    expect(endsOf(filling(180))).toEqual([["a", 7]]);
    expect(watch.level).toBe(3);
  });

  it("does not rise for a reading that jumps once", () => {
    const watch = new Watch();
    for (const freeMib of [500, 400, 160, 160, 160]) {
      expect(watch.look({ freeBytes: freeMib * MiB, trees: [tree("a", 340)] }, 100)).toEqual([]);
      expect(watch.level).toBe(0);
    }
  });

  it("rises to 2 when it was 1 for two seconds", () => {
    const watch = new Watch();
    watch.stay({ freeBytes: BRAKE + MiB }, 1980);
    expect(watch.level).toBe(1);
    watch.stay({ freeBytes: BRAKE + MiB }, 60);
    expect(watch.level).toBe(2);
  });

  it("falls only after three seconds with 32 MiB more than brought it", () => {
    const watch = new Watch();
    watch.look({ freeBytes: BRAKE });
    watch.stay({ freeBytes: BRAKE + MARGIN + 31 * MiB }, 10_000);
    expect(watch.level).toBe(2);
    watch.stay({ freeBytes: BRAKE + MARGIN + 32 * MiB }, 2980);
    expect(watch.level).toBe(2);
    watch.stay({ freeBytes: BRAKE + MARGIN + 32 * MiB }, 60);
    expect(watch.level).toBe(0);
  });

  it("rises when a limit is lowered, without anything being ended at once above the brake", () => {
    const watch = new Watch();
    const trees = [tree("a", 100), tree("b", 100, { startedAtMs: 1 })];
    const usedBytes = 900 * MiB;
    const at = (limitBytes: number) => ({ limitBytes, freeBytes: limitBytes - usedBytes, trees });
    watch.look(at(LIMIT));
    expect(watch.level).toBe(0);
    expect(watch.stay(at(usedBytes + BRAKE + MiB), 10_000)).toEqual([]);
    expect(watch.level).toBe(2);
    expect(endsOf(watch.look(at(usedBytes + BRAKE - MiB)))).toEqual([["b", null]]);
  });
});

describe("a replica in which nothing gets on, with room by the figures", () => {
  const REFAULTS = 130_000;
  const thrash = (faultsPerSecond: number, more: Look = {}) => {
    return (elapsedMs: number): Look => ({
      freeBytes: BRAKE + MARGIN + MiB,
      refaultedPages: (REFAULTS * elapsedMs) / 1000,
      majorFaults: (faultsPerSecond * elapsedMs) / 1000,
      ...more,
    });
  };
  const trees = [
    tree("old", 120, { startedAtMs: 1 }),
    tree("young", 120, { startedAtMs: 2 }),
    tree("spare", 80, { kind: "spare" }),
  ];

  it("rises from refaults of text, and ends the cache first, then the youngest turn", () => {
    const watch = new Watch();
    const first = watch.stay(thrash(100, { trees }), 600);
    expect(first).toEqual([{ do: "evict", id: "spare", isUrgent: true }]);
    expect(watch.level).toBe(3);
    const [old, young] = trees as [GuardedTree, GuardedTree];
    const later = new Watch();
    expect(endsOf(later.stay(thrash(100, { trees: [old, young] }), 600))).toEqual([
      ["young", null],
    ]);
  });

  it("is seen by a guard that it holds up for seconds at every look", () => {
    const watch = new Watch();
    const [old, young] = trees as [GuardedTree, GuardedTree];
    const stuck = thrash(100, { trees: [old, young] });
    watch.look(stuck(0), 3000);
    expect(endsOf(watch.look(stuck(3000), 3000))).toEqual([["young", null]]);
    // After a step back there is nothing to compare with.
    const back = new Watch();
    back.look(stuck(0), 3000);
    expect(back.look(stuck(3000), -3000)).toEqual([]);
  });

  it("rises on a slow disk too, where fewer refaults last", () => {
    const watch = new Watch();
    const [old, young] = trees as [GuardedTree, GuardedTree];
    const slow =
      (mappedMiB: number) =>
      (ms: number): Look => ({
        ...thrash(30, { trees: [old, young] })(ms),
        refaultedPages: 30_000 * (ms / 1000),
        mappedFileBytes: mappedMiB * MiB,
      });
    watch.look({ mappedFileBytes: 126 * MiB });
    // Tight, but turns get on.
    expect(watch.stay(slow(45), 6000)).toEqual([]);
    expect(watch.level).toBe(2);
    expect(watch.stay((ms) => slow(20)(6000 + ms), 2900)).toEqual([]);
    expect(endsOf(watch.stay((ms) => slow(20)(8900 + ms), 200))).toEqual([["young", null]]);
  });

  describe("with a large file that a tool has mapped once", () => {
    const slowly = (mappedMiB: number, fromMs: number) => (ms: number) => ({
      ...thrash(30, { trees: trees.slice(0, 2) })(ms),
      refaultedPages: 30 * (fromMs + ms),
      majorFaults: (fromMs + ms) / 33,
      mappedFileBytes: mappedMiB * MiB,
    });
    const well = (mappedMiB: number) => ({ mappedFileBytes: mappedMiB * MiB, trees });

    it("takes no more of it for text than there can be", () => {
      const watch = new Watch();
      watch.look(well(1500));
      expect(endsOf(watch.stay(slowly(130, 0), 6000))).toEqual([]);
    });

    it("forgets it in some hours in which turns run", () => {
      const watch = new Watch();
      watch.look(well(1500));
      for (let seconds = 0; seconds < 4 * 3600; seconds += 1) watch.look(well(75), 1000);
      expect(endsOf(watch.stay(slowly(60, 0), 6000))).toEqual([]);
      expect(endsOf(watch.stay(slowly(20, 6000), 3200))).toEqual([["young", null]]);
    });

    it("does not forget what was mapped while nothing runs", () => {
      const watch = new Watch();
      watch.look(well(126));
      for (let seconds = 0; seconds < 4 * 3600; seconds += 1) {
        watch.look({ mappedFileBytes: 30 * MiB }, 1000);
      }
      expect(endsOf(watch.stay(slowly(20, 0), 5000))).toEqual([["young", null]]);
    });

    it("learns nothing of it while memory is short", () => {
      const watch = new Watch();
      watch.look(well(126));
      watch.look({ ...well(126), freeBytes: BRAKE + MiB });
      watch.look({ ...well(250), freeBytes: BRAKE + MiB });
      expect(endsOf(watch.stay(slowly(60, 0), 6000))).toEqual([]);
    });
  });

  it("is not seen in the stalls of others on the machine, while there is room", () => {
    const at = { trees, isOfMachine: true, stallRatio: 0.9, faultsPerSecond: 100 };
    expect(levelIn({ ...at, freeBytes: 1000 * MiB })).toBe(0);
    expect(levelIn({ ...at, freeBytes: BRAKE + MARGIN + MiB })).toBe(3);
  });

  it("is not seen in stalls of a group that has room, but for those of its own text", () => {
    // As measured in a group in which a file larger than the group was read again and again.
    const at = { trees, freeBytes: 1400 * MiB, faultsPerSecond: 0 };
    expect(levelIn({ ...at, stallRatio: 0.07 })).toBe(0);
    expect(levelIn({ ...at, stallRatio: 0.6 })).toBe(0);
    expect(levelIn({ ...at, stallRatio: 0.6, freeBytes: BRAKE + 200 * MiB })).toBe(3);
    // A reading of bytes that lies, or a limit that nobody told us of.
    expect(levelIn({ ...at, stallRatio: 0.6, faultsPerSecond: 100 })).toBe(3);
  });

  /** After four seconds of it. */
  function levelIn({
    stallRatio,
    faultsPerSecond,
    ...look
  }: Look & { readonly stallRatio: number; readonly faultsPerSecond: number }): number {
    const watch = new Watch();
    const strained = (ms: number) => ({
      ...look,
      stallMs: ms * stallRatio,
      majorFaults: (ms * faultsPerSecond) / 1000,
    });
    watch.stay(strained, 4000);
    return watch.level;
  }

  it("waits for new rates before it ends another", () => {
    const watch = new Watch();
    watch.stay(thrash(100, { trees }), 600);
    const ends = endsOf(watch.stay((ms) => thrash(100, { trees })(600 + ms), 2400));
    expect(ends.length).toBeLessThanOrEqual(4);
  });

  it("is not seen in a tool that reads a large file again and again", () => {
    const watch = new Watch();
    expect(watch.stay(thrash(0, { trees }), 10_000)).toEqual([]);
    expect(watch.level).toBe(0);
  });

  it("is not seen where there is far more room than any text needs", () => {
    const watch = new Watch();
    watch.stay(thrash(100, { freeBytes: 1000 * MiB }), 10_000);
    expect(watch.level).toBe(0);
    expect(watch.state.levels.emergency).toBeNull();
  });

  it("is not seen where stalls are told and there are none", () => {
    const watch = new Watch();
    watch.stay(thrash(100, { stallMs: 0 }), 10_000);
    expect(watch.state.levels.emergency).toBeNull();
  });

  it("rises from stalls alone: 5 %, 20 %, and half of the time for two seconds", () => {
    const freeBytes = BRAKE + 200 * MiB;
    const levelAt = (ratio: number): number => {
      const watch = new Watch();
      watch.stay((ms) => ({ freeBytes, stallMs: ms * ratio }), 1500);
      return watch.level;
    };
    expect([0.04, 0.06, 0.25].map(levelAt)).toEqual([0, 1, 2]);
    const watch = new Watch();
    const [end] = endsOf(
      watch.stay((ms) => ({ freeBytes, stallMs: ms * 0.6, trees: [tree("a", 100)] }), 4000),
    );
    expect(end).toEqual(["a", null]);
  });
});

describe("who is ended", () => {
  const short = (trees: readonly GuardedTree[], afterMs = 20) =>
    new Watch().look({ freeBytes: BRAKE - MiB, trees }, afterMs);

  it("is the cache before all others, and then the turns are waited for", () => {
    const trees = [
      tree("turn", 500, { tools: [tool(7, 400)] }),
      tree("resident", 90, { kind: "resident" }),
      tree("spare", 80, { kind: "spare" }),
    ];
    expect(short(trees)).toEqual([
      { do: "evict", id: "spare", isUrgent: true },
      { do: "evict", id: "resident", isUrgent: true },
    ]);
  });

  it("is the cache and a balloon in one step, when there is no time to wait", () => {
    const watch = new Watch();
    const trees = [
      tree("turn", 500, { tools: [tool(7, 400)] }),
      tree("spare", 80, { kind: "spare" }),
    ];
    watch.look({ freeBytes: BRAKE + 60 * MiB, trees });
    const actions = watch.look({ freeBytes: BRAKE - 10 * MiB, trees });
    expect(actions.map((action) => action.do)).toEqual(["evict", "end"]);
  });

  it("is the largest tool of the turn furthest over its prediction", () => {
    const trees = [
      tree("within", 400, { predictedBytes: 500 * MiB, tools: [tool(1, 300)] }),
      tree("over", 400, { tools: [tool(2, 100), tool(3, 150)] }),
      tree("less over", 300, { tools: [tool(4, 180)] }),
    ];
    expect(endsOf(short(trees))).toEqual([["over", 3]]);
  });

  it("is the turn when its process is what grew", () => {
    const trees = [tree("grown", 600, { tools: [tool(1, 70)] }), tree("other", 120)];
    expect(endsOf(short(trees))).toEqual([["grown", null]]);
  });

  it("is no tool that is too small to matter", () => {
    const trees = [tree("a", 150, { tools: [tool(1, 60)] })];
    expect(endsOf(short(trees))).toEqual([["a", null]]);
  });

  it("is the largest tool when all keep to their prediction", () => {
    const trees = [
      tree("a", 100),
      tree("b", 400, { predictedBytes: 500 * MiB, tools: [tool(1, 300)] }),
    ];
    expect(endsOf(short(trees))).toEqual([["b", 1]]);
  });

  it("is else the youngest turn without output, then the youngest", () => {
    const trees = [
      tree("silent", 120, { hasOutput: false, startedAtMs: 1 }),
      tree("youngest", 120, { startedAtMs: 3 }),
      tree("oldest", 120, { startedAtMs: 0 }),
    ];
    expect(endsOf(short(trees))).toEqual([["silent", null]]);
    expect(endsOf(short(trees.slice(1)))).toEqual([["youngest", null]]);
  });

  it("is never a process that is closing, but a tool of it that balloons", () => {
    const closing = tree("closing", 900, { kind: "closing" });
    expect(short([closing])).toEqual([]);
    expect(endsOf(short([{ ...closing, tools: [tool(1, 700)] }]))).toEqual([["closing", 1]]);
  });

  it("is the next one only when the last is gone, or memory falls on", () => {
    const watch = new Watch();
    const trees = [tree("a", 400), tree("b", 300)];
    const look = (freeMebibytes: number, all = trees) =>
      endsOf(watch.look({ freeBytes: freeMebibytes * MiB, trees: all }));
    expect(look(100)).toEqual([["a", null]]);
    expect([look(90), look(80), look(80), look(70)].flat()).toEqual([]);
    expect(look(60)).toEqual([["b", null]]);

    const calm = new Watch();
    calm.look({ freeBytes: 100 * MiB, trees });
    expect(endsOf(calm.stay({ freeBytes: 100 * MiB, trees }, 900))).toEqual([]);
    expect(endsOf(calm.look({ freeBytes: 100 * MiB, trees: trees.slice(1) }))).toEqual([
      ["b", null],
    ]);
  });

  it("does not wait for one that hangs in the kernel", () => {
    const watch = new Watch();
    const trees = [tree("hangs", 400), tree("b", 300)];
    const ends = endsOf(watch.stay({ freeBytes: 100 * MiB, trees }, 1100));
    expect(ends).toEqual([
      ["hangs", null],
      ["b", null],
    ]);
  });
});

describe("between the floor and a brake that is far above it", () => {
  const FLOOR = 128 * MiB;
  const brake = brakeBytes({ floorBytes: FLOOR, kernelKillsAll: true, cores: 2 });
  const lines = { restingBrakeBytes: brake, floorBytes: FLOOR };
  const endsWith = (freeBytes: number, trees: readonly GuardedTree[]) =>
    endsOf(new Watch().stay({ ...lines, freeBytes, trees }, 1000));

  it.each([560, 600, 640])("the only turn of a replica of %d MiB goes on", (limitMiB) => {
    const watch = new Watch();
    const trees = [tree("only", 130, { predictedBytes: 130 * MiB })];
    const freeBytes = (limitMiB - 110 - 130) * MiB;
    const look = { ...lines, limitBytes: limitMiB * MiB, freeBytes, trees };
    expect(watch.stay(look, 10_000)).toEqual([]);
    expect(watch.level, "and no other is admitted").toBe(3);
  });

  it.each([512, 600, 768])("in %d MiB an ordinary tool goes on where nothing fills", (limitMiB) => {
    const limitBytes = limitMiB * MiB;
    const reserve = new SafetyReserve({
      settingBytes: null,
      cores: 2,
      limitBytes: () => limitBytes,
    });
    reserve.kernelKillsAll();
    const trees = [tree("a", 200, { predictedBytes: 125 * MiB, tools: [tool(7, 75)] })];
    const freeBytes = limitBytes - (60 + 15 + 200) * MiB;
    const { brakeBytes: restingBrakeBytes, floorBytes } = reserve;
    const watch = new Watch();
    const look = { limitBytes, restingBrakeBytes, floorBytes, freeBytes, trees };
    expect(watch.stay(look, 10_000)).toEqual([]);
    expect(watch.level).toBe(0);
  });

  it("nobody who keeps to his prediction is ended, nor a tool of his", () => {
    const tools = [tool(1, 300)];
    const large = tree("large", 520, { predictedBytes: 520 * MiB, tools });
    expect(endsWith(FLOOR, [large, tree("young", 120, { startedAtMs: 2 })])).toEqual([]);
    expect(endsWith(FLOOR - 1, [large])).toEqual([["large", 1]]);
  });

  it("what balloons is ended, tool or turn, and the cache goes", () => {
    const spare = tree("spare", 80, { kind: "spare" });
    const evicted = new Watch().look({ ...lines, freeBytes: brake - MiB, trees: [spare] });
    expect(evicted).toEqual([{ do: "evict", id: "spare", isUrgent: true }]);
    expect(endsWith(brake - MiB, [tree("a", 153)])).toEqual([["a", null]]);
    expect(endsWith(brake - MiB, [tree("a", 200, { tools: [tool(7, 80)] })])).toEqual([["a", 7]]);
  });

  it("the youngest is ended all the same when nothing gets on", () => {
    const trees = [tree("old", 120), tree("young", 120, { startedAtMs: 2 })];
    const watch = new Watch();
    const stuck = (ms: number): Look => ({
      ...lines,
      freeBytes: brake - MiB,
      trees,
      refaultedPages: 130 * ms,
      majorFaults: ms / 10,
    });
    expect(endsOf(watch.stay(stuck, 600))).toEqual([["young", null]]);
  });
});

describe("a ceiling", () => {
  it("ends the tool that grew, or else the turn, with plenty of room", () => {
    const over = (more: Partial<GuardedTree>) =>
      endsOf(new Watch().look({ trees: [tree("a", 500, { ceilingBytes: 300 * MiB, ...more })] }));
    expect(over({ tools: [tool(1, 100), tool(2, 150)] })).toEqual([["a", 2]]);
    expect(over({ tools: [tool(1, 100)] })).toEqual([["a", null]]);
    expect(over({})).toEqual([["a", null]]);
    expect(over({ ceilingBytes: 500 * MiB })).toEqual([]);
  });

  it("waits for what is being ended before it ends more of the same turn", () => {
    const watch = new Watch();
    const one = tree("a", 500, { ceilingBytes: 300 * MiB, tools: [tool(1, 50), tool(2, 250)] });
    expect(endsOf(watch.stay({ trees: [one] }, 5000))).toEqual([["a", 2]]);
  });
});

describe("readings that are missing or lie", () => {
  it.each([null, Number.NaN, -1, Infinity])("ends nobody by %j bytes in use", (usedBytes) => {
    const watch = new Watch();
    const actions: GuardAction[] = [];
    for (let nowMs = 0; nowMs < 5000; nowMs += 20) {
      const trees = [tree("a", 500), tree("b", 120)];
      const none = { ...NOT_TOLD, refaultedPages: null, majorFaults: null, stallMs: null };
      const lines = { limitBytes: LIMIT, restingBrakeBytes: BRAKE, floorBytes: BRAKE };
      const seen = { ...lines, usedBytes, trees, ...none };
      const step = stepGuard(watch.state, seen, nowMs);
      watch.state = step.state;
      actions.push(...step.actions);
    }
    expect(actions).toEqual([]);
    expect(watch.state.levels).toMatchObject({ level: 0, cause: "unknown" });
  });

  it("spares who keeps to his prediction when a neighbour holds the memory", () => {
    const watch = new Watch();
    const trees = [tree("innocent", 120), tree("balloon", 300)];
    const all = watch.stay({ freeBytes: -LIMIT / 10, trees }, 1000);
    const rest = watch.stay({ freeBytes: -LIMIT / 10, trees: trees.slice(0, 1) }, 120_000);
    expect(endsOf([...all, ...rest])).toEqual([["balloon", null]]);
    expect(watch.state.sparesInnocent).toBe(true);
  });

  it("ends two innocents at most when others take what they give back", () => {
    const watch = new Watch();
    let trees = Array.from({ length: 12 }, (_, index) => tree(`t${index}`, 120));
    const ended: EndAction[] = [];
    for (let looks = 0; looks < 12_000; looks += 1) {
      for (const action of watch.look({ freeBytes: BRAKE - 8 * MiB, trees }, 100)) {
        if (action.do !== "end") continue;
        ended.push(action);
        trees = trees.filter(({ id }) => id !== action.id);
      }
    }
    // Once more when the ten minutes are over in which it remembers.
    expect(watch.nowMs).toBe(1_200_000);
    expect(ended.length).toBeLessThanOrEqual(4);
  });

  it("is neither hasty nor blind when the clock jumps", () => {
    const watch = new Watch();
    watch.stay({ freeBytes: BRAKE + MiB }, 100);
    for (const jumpMs of [3_600_000, -7_200_000, 0]) {
      watch.look({ freeBytes: BRAKE + MiB, refaultedPages: 1e9, majorFaults: 1e6 }, jumpMs);
      expect(watch.level).toBe(1);
      watch.look({ refaultedPages: 1e9, majorFaults: 1e6 }, jumpMs);
      expect(watch.level, "not left at once").toBe(1);
    }
    expect(endsOf(watch.look({ freeBytes: MiB, trees: [tree("a", 300)] }))).toHaveLength(1);
  });
});

describe("the cache, of bytes that are missing", () => {
  const RESIDENT = 130;
  const residents = Array.from({ length: 8 }, (_, index) =>
    tree(`r${index}`, RESIDENT, { kind: "resident" }),
  );

  /** Ten mebibytes short, where who is told to go is closing at the next look, and gone later. */
  function evictedIn(ms: number, goneAfterMs: number): readonly string[] {
    const watch = new Watch();
    const told = new Map<string, number>();
    for (let elapsedMs = 0; elapsedMs < ms; elapsedMs += 20) {
      const trees = residents.flatMap((each): GuardedTree[] => {
        const toldMs = told.get(each.id);
        if (toldMs === undefined) return [each];
        return elapsedMs - toldMs < goneAfterMs ? [{ ...each, kind: "closing" }] : [];
      });
      const gone = residents.length - trees.length;
      const freeBytes = BRAKE + MARGIN - 10 * MiB + gone * RESIDENT * MiB;
      for (const { id } of watch.look({ freeBytes, trees })) told.set(id, elapsedMs);
    }
    return [...told.keys()];
  }

  it.each([20, 100, 300, 900])("goes one by one, also when it takes %d ms to go", (goneAfterMs) => {
    expect(evictedIn(10_000, goneAfterMs)).toEqual(["r0"]);
  });

  it("is not waited for where it hangs in the kernel", () => {
    expect(evictedIn(3500, Infinity)).toEqual(["r0", "r1"]);
    expect(evictedIn(60_000, Infinity)).toHaveLength(residents.length);
  });

  it("does not count on one that was claimed for a turn as it was to go", () => {
    const watch = new Watch();
    const freeBytes = BRAKE + MARGIN - 10 * MiB;
    watch.stay({ freeBytes, trees: residents }, 2100);
    expect(watch.state.evicting).toEqual(["r0"]);
    const claimed = residents.map((each, index) => (index === 0 ? tree("r0", RESIDENT) : each));
    const actions = watch.look({ freeBytes, trees: claimed });
    expect(actions).toEqual([{ do: "evict", id: "r1", isUrgent: false }]);
  });
});

/** What may happen in a small world between two looks. */
type Happening =
  | { readonly type: "start"; readonly kind: GuardedTree["kind"]; readonly mebibytes: number }
  | { readonly type: "grow"; readonly which: number; readonly mebibytes: number }
  | { readonly type: "tool"; readonly which: number; readonly mebibytes: number }
  | { readonly type: "end"; readonly which: number }
  | { readonly type: "others"; readonly mebibytes: number };

const which = fc.nat(20);
const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc.record({
    type: fc.constant("start" as const),
    kind: fc.constantFrom("turn", "turn", "resident", "spare", "closing"),
    mebibytes: fc.integer({ min: 20, max: 300 }),
  }),
  fc.record({
    type: fc.constant("grow" as const),
    which,
    mebibytes: fc.integer({ min: -50, max: 400 }),
  }),
  fc.record({
    type: fc.constant("tool" as const),
    which,
    mebibytes: fc.integer({ min: 1, max: 900 }),
  }),
  fc.record({ type: fc.constant("end" as const), which }),
  fc.record({
    type: fc.constant("others" as const),
    mebibytes: fc.integer({ min: -100, max: 2500 }),
  }),
);
const program = fc.array(
  fc.record({
    afterMs: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: -5000, max: 5000 })),
    happenings: fc.array(happening, { maxLength: 3 }),
    /** Looks that it takes until what was ended is gone. */
    dyingLooks: fc.integer({ min: 1, max: 80 }),
    refaults: fc.constantFrom(0, 0, 0, 30_000, 300_000),
  }),
  { minLength: 20, maxLength: 150 },
);

class World {
  trees: GuardedTree[] = [];
  othersBytes = 200 * MiB;
  refaultedPages = 0;
  readonly #dying: { readonly id: string; readonly toolId: number | null; looks: number }[] = [];
  #count = 0;

  happen(happened: Happening): void {
    if (happened.type === "others") this.othersBytes = happened.mebibytes * MiB;
    if (happened.type === "start") this.#start(happened);
    if (!("which" in happened) || this.trees.length === 0) return;
    const index = happened.which % this.trees.length;
    const chosen = this.trees[index] as GuardedTree;
    if (happened.type === "end") this.trees.splice(index, 1);
    if (happened.type === "grow") {
      const bytes = Math.max(heldByTools(chosen), chosen.bytes + happened.mebibytes * MiB);
      this.trees[index] = { ...chosen, bytes };
    }
    if (happened.type === "tool") {
      const added = tool((this.#count += 1), happened.mebibytes);
      const tools = [...chosen.tools, added];
      this.trees[index] = { ...chosen, bytes: chosen.bytes + added.bytes, tools };
    }
  }

  obey(actions: readonly GuardAction[], looks: number): void {
    for (const action of actions) {
      const toolId = action.do === "end" ? action.toolId : null;
      this.#dying.push({ id: action.id, toolId, looks });
    }
    for (const dying of this.#dying.splice(0)) {
      if (dying.looks > 1) this.#dying.push({ ...dying, looks: dying.looks - 1 });
      else this.#remove(dying.id, dying.toolId);
    }
  }

  #start({ kind, mebibytes }: Extract<Happening, { type: "start" }>): void {
    const startedAtMs = (this.#count += 1);
    const ceilingBytes = startedAtMs % 5 === 0 ? 700 * MiB : null;
    const hasOutput = startedAtMs % 2 === 0;
    const more = { kind, startedAtMs, ceilingBytes, hasOutput };
    this.trees.push(tree(`t${startedAtMs}`, mebibytes, more));
  }

  #remove(id: string, toolId: number | null): void {
    if (toolId === null) this.trees = this.trees.filter((each) => each.id !== id);
    this.trees = this.trees.map((each) => {
      const gone = each.id === id ? each.tools.find((one) => one.id === toolId) : undefined;
      if (gone === undefined) return each;
      const tools = each.tools.filter((one) => one !== gone);
      return { ...each, tools, bytes: each.bytes - gone.bytes };
    });
  }
}

function heldByTools({ tools }: GuardedTree): number {
  return tools.reduce((sum, { bytes }) => sum + bytes, 0);
}

function holdsInEveryWorld(
  check: (step: {
    readonly before: GuardState;
    readonly after: GuardState;
    readonly trees: readonly GuardedTree[];
    readonly actions: readonly GuardAction[];
  }) => void,
): void {
  fc.assert(
    fc.property(program, (steps) => {
      const world = new World();
      const watch = new Watch();
      for (const { afterMs, happenings, dyingLooks, refaults } of steps) {
        for (const each of happenings) world.happen(each);
        world.refaultedPages += (refaults * Math.max(0, afterMs)) / 1000;
        const { trees, refaultedPages } = world;
        const before = watch.state;
        const usedBytes = world.othersBytes + trees.reduce((sum, { bytes }) => sum + bytes, 0);
        const actions = watch.look(
          { freeBytes: LIMIT - usedBytes, trees, refaultedPages },
          afterMs,
        );
        check({ before, after: watch.state, trees, actions });
        world.obey(actions, dyingLooks);
      }
    }),
    { numRuns: 300 },
  );
}

describe("in every world", () => {
  it("one is ended at a time, with a pause, and never twice", () => {
    holdsInEveryWorld(({ before, after, trees, actions }) => {
      const ends = actions.filter((action) => action.do === "end");
      expect(ends.length).toBeLessThanOrEqual(1);
      for (const { id, toolId } of ends) {
        if (before.lastEnd !== null) {
          expect(after.clockMs - before.lastEnd.atMs).toBeGreaterThanOrEqual(60);
        }
        const isToldAlready = before.ending.some(
          (one) =>
            one.id === id &&
            (one.toolId === null || one.toolId === toolId) &&
            trees.some((each) => each.id === id),
        );
        expect(isToldAlready && stillThere(trees, id, toolId)).toBe(false);
      }
    });
  });

  it("only what is there is ended, no closing process, and the cache is told first", () => {
    holdsInEveryWorld(({ after, trees, actions }) => {
      for (const action of actions) {
        const target = trees.find(({ id }) => id === action.id);
        if (action.do === "evict") {
          expect(["spare", "resident"]).toContain(target?.kind);
          expect(after.levels.level).toBeGreaterThanOrEqual(2);
          continue;
        }
        expect(["turn", "closing"]).toContain(target?.kind);
        if (action.toolId === null) expect(target?.kind).toBe("turn");
        else expect(target?.tools.map(({ id }) => id)).toContain(action.toolId);
        if (action.reason === "ceiling") {
          expect(target?.bytes).toBeGreaterThan(target?.ceilingBytes ?? Infinity);
          continue;
        }
        expect(after.levels.emergency).not.toBeNull();
        const cache = trees.filter(({ kind }) => kind === "spare" || kind === "resident");
        for (const { id } of cache) expect(after.evicting).toContain(id);
      }
    });
  });

  it("nobody who keeps to his prediction is ended where that would not help", () => {
    holdsInEveryWorld(({ after, trees, actions }) => {
      const held = trees.reduce((sum, { bytes }) => sum + bytes, 0);
      if ((after.slackBytes ?? 0) + held >= BRAKE) return;
      for (const action of actions) {
        if (action.do !== "end" || action.reason !== "short") continue;
        const target = trees.find(({ id }) => id === action.id);
        expect((target?.bytes ?? 0) - (target?.predictedBytes ?? 0)).toBeGreaterThan(64 * MiB);
      }
    });
  });

  it("a level is left no sooner than three seconds after it was last needed", () => {
    let roseAtMs = -Infinity;
    holdsInEveryWorld(({ before, after }) => {
      if (before.nowMs === null) roseAtMs = -Infinity;
      if (after.levels.level > before.levels.level) roseAtMs = after.clockMs;
      if (after.levels.level >= before.levels.level) return;
      expect(after.clockMs - roseAtMs).toBeGreaterThanOrEqual(3000);
      expect(after.clockMs - (before.levels.calm?.sinceMs ?? Infinity)).toBeGreaterThanOrEqual(
        3000,
      );
    });
  });
});

function stillThere(trees: readonly GuardedTree[], id: string, toolId: number | null): boolean {
  const found = trees.find((each) => each.id === id);
  return found !== undefined && (toolId === null || found.tools.some((one) => one.id === toolId));
}
