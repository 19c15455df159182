/**
 * Goal: the hull is to scale: whatever the figures, what is drawn is as high as what is committed.
 * Method: replicas made up by fast-check, drawn for phones and desks; heights and areas compared.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CapacityEvent } from "../../console/src/feed/capacity.ts";
import { cargoOf, stowed } from "../../console/src/hull/cargo.ts";
import { type Drawing, drawHull } from "../../console/src/hull/drawing.ts";
import {
  bindsText,
  cargoText,
  idleNote,
  idleText,
  headlineText,
  takesText,
  turnText,
} from "../../console/src/hull/words.ts";
import type { FeedDecision } from "../../src/protocol/feed.ts";
import { capacity, capacityEvent, ended, MIB, START_MS, tree, turn } from "./samples.ts";

const NO_TURNS = new Map<string, never>();

/** A replica in which used and promised are what its turns hold and were promised. */
const replicas = fc
  .record({
    serverBytes: fc.integer({ min: 0, max: 400 * MIB }),
    poolBytes: fc.integer({ min: 0, max: 100 * MIB }),
    turns: fc.array(
      fc.record({
        bytes: fc.option(fc.integer({ min: MIB, max: 120 * MIB })),
        predictedBytes: fc.integer({ min: 20 * MIB, max: 140 * MIB }),
      }),
      { maxLength: 9 },
    ),
    idle: fc.array(fc.integer({ min: MIB, max: 90 * MIB }), { maxLength: 2 }),
    width: fc.integer({ min: 280, max: 1600 }),
  })
  .map(({ serverBytes, poolBytes, turns, idle, width }) => {
    const trees = [
      ...turns.map((one, index) => tree(`turn ${index}`, one)),
      ...idle.map((bytes, index) => tree(null, { processId: `idle ${index}`, bytes })),
    ];
    const usedBytes = serverBytes + trees.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
    const promisedBytes = turns.reduce(
      (sum, { bytes, predictedBytes }) => sum + Math.max(0, predictedBytes - (bytes ?? 0)),
      0,
    );
    const figures = { usedBytes, promisedBytes, poolBytes, parentBytes: serverBytes };
    return { width, told: capacity({ ...figures, turns: trees }) };
  });

function event(told: ReturnType<typeof capacity>) {
  return { ...capacityEvent(START_MS), capacity: told };
}

function drawn(told: ReturnType<typeof capacity>, width: number): Drawing {
  const next = { bytes: told.nextTurnBytes, count: told.turnsThatFit - told.inflight };
  const cargo = cargoOf(event(told), NO_TURNS);
  return drawHull(cargo, stowed(new Map(), cargo.turns), next, width);
}

describe("the place of what is not on board", () => {
  it("is in the water, below the keel, and within the picture", () => {
    fc.assert(
      fc.property(replicas, ({ told, width }) => {
        const { anchor, hold, height, waterY } = drawn(told, width);
        expect(anchor.y).toBeGreaterThan(Math.max(waterY, hold.y + hold.height + 12));
        expect(anchor.y).toBeLessThan(height);
        expect(anchor.x).toBeGreaterThanOrEqual(hold.x);
      }),
    );
  });
});

describe("the hold", () => {
  it("is filled up to what is committed, and so is the sea", () => {
    fc.assert(
      fc.property(replicas, ({ told, width }) => {
        const { hold, bands, boxes, waterY } = drawn(told, width);
        const cargo = [...bands.filter(({ kind }) => kind !== "reserve"), ...boxes];
        const area = cargo.reduce((sum, rect) => sum + rect.width * rect.height, 0);
        const floorY = hold.y + hold.height;
        const wanted = floorY - (told.committedBytes / told.limitBytes) * hold.height;
        expect(area / hold.width).toBeCloseTo(floorY - wanted, 3);
        expect(waterY).toBeCloseTo(wanted, 3);
      }),
    );
  });

  it("holds its cargo side by side: nothing lies over something else, or outside", () => {
    fc.assert(
      fc.property(replicas, ({ told, width }) => {
        const { hold, bands, boxes } = drawn(told, width);
        const cargo = [...bands.filter(({ kind }) => kind !== "reserve"), ...boxes];
        for (const [index, one] of cargo.entries()) {
          expect(one.x).toBeGreaterThanOrEqual(hold.x - 0.001);
          expect(one.x + one.width).toBeLessThanOrEqual(hold.x + hold.width + 0.001);
          expect(one.y).toBeGreaterThanOrEqual(hold.y - 0.001);
          for (const other of cargo.slice(index + 1)) {
            const across =
              Math.min(one.x + one.width, other.x + other.width) - Math.max(one.x, other.x);
            const down =
              Math.min(one.y + one.height, other.y + other.height) - Math.max(one.y, other.y);
            expect(Math.min(across, down)).toBeLessThan(0.001);
          }
        }
      }),
    );
  });

  it("shows of each turn an outline as predicted, and a fill as measured", () => {
    const told = capacity({
      usedBytes: 130 * MIB + 200 * MIB,
      promisedBytes: 36 * MIB + 136 * MIB,
      turns: [
        tree("growing"),
        tree("over", { bytes: 200 * MIB, predictedBytes: 100 * MIB }),
        tree("not measured", { bytes: null }),
      ],
    });
    const [growing, over, unknown] = drawn(told, 1000).boxes;
    expect((growing?.fillHeight ?? 0) / (growing?.height ?? 1)).toBeCloseTo(100 / 136);
    expect(over?.fillHeight).toBeCloseTo(over?.height ?? 0);
    expect((over?.predictedHeight ?? 0) / (over?.height ?? 1)).toBeCloseTo(0.5);
    expect(unknown?.fillHeight).toBe(0);
  });

  it("is no fuller than what is committed where the gate has come to promise less", () => {
    const bytes = { usedBytes: 130 * MIB + 200 * MIB, promisedBytes: 18 * MIB };
    const told = capacity({
      ...bytes,
      turns: [tree("a"), tree("b", { predictedBytes: 118 * MIB })],
    });
    const { serverBytes, otherBytes, turns } = cargoOf(event(told), NO_TURNS);
    expect([serverBytes, otherBytes]).toEqual([130 * MIB, 0]);
    // A third of what either was predicted to need still.
    expect(turns.map(({ weightBytes }) => weightBytes / MIB)).toEqual([112, 106]);
  });

  it("has the server in it while processes that have given all back are still told", () => {
    const turns = [
      tree("a", { kind: "closing" }),
      tree("b", { kind: "closing" }),
      tree("c", { predictedBytes: 100 * MIB }),
    ];
    // Of a and b there is a fifth left in all that is used, and c holds what it was predicted to.
    const parentBytes = 130 * MIB;
    const told = capacity({ usedBytes: parentBytes + (40 + 100) * MIB, parentBytes, turns });
    const cargo = cargoOf(event(told), NO_TURNS);
    expect(cargo.serverBytes).toBe(130 * MIB);
    expect(cargo.turns.map(({ heldBytes }) => heldBytes)).toEqual(
      [20, 20, 100].map((m) => m * MIB),
    );
    // And where they are told as turns still.
    const late = capacity({ usedBytes: parentBytes, parentBytes, turns: [tree("a"), tree("b")] });
    const { serverBytes, turns: gone } = cargoOf(event(late), NO_TURNS);
    expect([serverBytes, ...gone.map(({ heldBytes }) => heldBytes)]).toEqual([130 * MIB, 0, 0]);
  });

  it("has places for as many turns more as fit, above the cargo", () => {
    const told = capacity({ usedBytes: 230 * MIB, promisedBytes: 36 * MIB, turns: [tree("a")] });
    const { free, waterY, lineY } = drawn(told, 1000);
    expect(free).toHaveLength(12);
    expect(Math.max(...free.map(({ y, height }) => y + height))).toBeCloseTo(waterY);
    // 12 of 136 MiB on 266 MiB are 31 MiB more than the line: the gate says 12, the picture follows.
    expect(Math.min(...free.map(({ y }) => y))).toBeGreaterThan(lineY - 10);
  });

  it("tells apart what gives way to turns and what is committed for sessions at rest", () => {
    const kept = { residents: 2, longRunning: 1, longRunningBytes: 30 * MIB, spares: 0 };
    const told = capacity({
      usedBytes: 230 * MIB,
      kept: { ...kept, evictableBytes: 70 * MIB },
      turns: [tree(null, { bytes: 30 * MIB }), tree(null, { processId: "b", bytes: 70 * MIB })],
    });
    const { restingBytes, keptBytes, serverBytes } = cargoOf(event(told), NO_TURNS);
    expect([restingBytes, keptBytes, serverBytes]).toEqual([30 * MIB, 70 * MIB, 130 * MIB]);
  });

  it("leaves turns where they are when one more comes", () => {
    const places = [8, 9].map((count) => {
      const turns = Array.from({ length: count }, (_, index) => tree(`${index}`));
      const bytes = { usedBytes: 130 * MIB + count * 100 * MIB, promisedBytes: count * 36 * MIB };
      const { boxes } = drawn(capacity({ ...bytes, turns }), 1000);
      return boxes.slice(0, 8).map(({ x, y, width, height }) => ({ x, y, width, height }));
    });
    expect(places[1]).toEqual(places[0]);
  });
});

describe("a turn on board", () => {
  it("keeps its place while others come and go, and a new one takes the lowest that is free", () => {
    const turnsOf = (...ids: string[]) =>
      cargoOf(event(capacity({ turns: ids.map((id) => tree(id)) })), NO_TURNS).turns;
    const first = stowed(new Map(), turnsOf("a", "b", "c"));
    expect([...first]).toEqual([
      ["a", 0],
      ["b", 1],
      ["c", 2],
    ]);
    const second = stowed(first, turnsOf("c", "d", "e", "b"));
    expect(Object.fromEntries(second)).toEqual({ c: 2, b: 1, d: 0, e: 3 });
  });

  it("is on the picture once its memory counts: from its process, or while it waits for one", () => {
    const ending = [{ stage: "ending", sinceMs: START_MS } as const];
    const live = new Map([
      ["waits", turn("waits", { processSource: null })],
      ["came later", turn("came later", { startedAtMs: START_MS + 1 })],
      ["its processes are gone", turn("its processes are gone", { stages: ending })],
    ]);
    const { turns } = cargoOf(event(capacity({ turns: [tree("runs")] })), live);
    expect(turns.map(({ turnId }) => turnId)).toEqual(["runs", "waits"]);
  });
});

describe("the labels", () => {
  it("never lie over each other, also where the line is at the limit", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2048 }),
        fc.integer({ min: 1, max: 2048 }),
        (used, line) => {
          const told = capacity({ usedBytes: used * MIB, loadLineBytes: line * MIB });
          const ys = drawn(told, 1000).labels.map(({ textY }) => textY);
          expect(ys).toHaveLength(3);
          for (const [index, y] of ys.slice(1).entries()) {
            expect(y - (ys[index] ?? 0)).toBeGreaterThanOrEqual(30);
          }
        },
      ),
    );
  });
});

describe("in words", () => {
  it("the headline tells how many more fit", () => {
    expect(headlineText(capacity({ inflight: 0 }))).toBe("No turn in flight, 12 fit");
    expect(headlineText(capacity({ inflight: 11 }))).toBe("11 turns in flight, 1 more fits");
    expect(headlineText(capacity({ inflight: 12 }))).toBe("12 turns in flight: full");
    expect(headlineText(capacity({ inflight: 1, draining: true }))).toMatch(/none are taken$/);
  });

  it("the picture is told to who does not see it", () => {
    const told = capacity({ usedBytes: 230 * MIB, promisedBytes: 36 * MIB, turns: [tree("a")] });
    const text = cargoText(cargoOf(event(told), NO_TURNS), event(told));
    expect(text).toContain("Committed are 266 MiB (server 130 MiB, 1 turn 136 MiB, pool 0 KiB)");
    expect(text).toContain("The load line is at 1,867 MiB, the limit at 2,048 MiB");
    expect(text).toMatch(/0 idle sessions: no process; transcripts take 0 KiB of the disk\.$/);
  });

  it("sessions at rest are told with what they take, and how well that is known", () => {
    const told = (sessions: Partial<CapacityEvent["sessions"]>): CapacityEvent => {
      const before = capacityEvent(START_MS);
      return { ...before, sessions: { ...before.sessions, ...sessions } };
    };
    const many = told({ idle: 10_204, transcriptBytes: 90 * MIB });
    expect(idleText(many)).toBe("10,204 idle sessions");
    expect(idleNote(many)).toBe("no process; transcripts take 90 MiB of the disk");
    expect(idleText(told({ idle: 1 }))).toBe("1 idle session");
    expect(idleNote(told({ idle: 1, isShared: true }))).toMatch(
      /of the store, counted at \d\d:\d\d:\d\d$/,
    );
    const unknown = told({ idle: null, transcriptBytes: null, countedAtMs: null });
    // As another replica tells it that is of an older version.
    const { sessions: _sessions, ...older } = many;
    for (const untold of [unknown, older as CapacityEvent]) {
      expect([idleText(untold), idleNote(untold)]).toEqual([null, "not counted yet"]);
      const text = cargoText(cargoOf(untold, NO_TURNS), untold);
      expect(text).toMatch(/Idle sessions: not counted yet\.$/);
    }
  });

  it("a turn is one line", () => {
    const live = new Map([["a", turn("a")]]);
    const [one] = cargoOf(event(capacity({ turns: [tree("a")] })), live).turns;
    expect(one && turnText(one, START_MS + 4200)).toBe(
      "Turn of hello, writes, 4.2 s; holds 100 MiB, predicted 136 MiB",
    );
  });

  it.each([
    ["memory", {}, []],
    ["CPU", { binds: "cpu", cpu: { ...capacity().cpu, turnsThatFit: 8 } }, []],
    ["ceiling", { binds: "maxTurns", maxTurns: 4 }, []],
    ["model", {}, [failed("model_rate_limited", START_MS - 1000)]],
    ["memory", {}, [failed("model_rate_limited", START_MS - 400_000)]],
    ["memory", {}, [failed("agent_crashed", START_MS - 1000)]],
  ] as const)("what binds is %s", (what, given, turns) => {
    expect(bindsText(capacity(given), turns, [], START_MS).what).toBe(what);
  });

  it("what is shed though memory has room is not passed over", () => {
    const now = capacityEvent(START_MS, {});
    const taken = takesText(now, [], START_MS);
    expect(taken).toMatch(/^A turn that comes now is admitted/);
    const shed = [{ ...SHED, atMs: START_MS - 4_000 }];
    expect(takesText(now, shed, START_MS)).toBe(
      "Memory has room for 12 turns more. One was shed 4 s ago: starts wait for a CPU.",
    );
    expect(bindsText(now.capacity, [], shed, START_MS)).toMatchObject({ what: "CPU" });
    expect(takesText(now, shed, START_MS + 60_000)).toBe(taken);
    expect(bindsText(now.capacity, [], shed, START_MS + 60_000).what).toBe("memory");
  });

  it("a turn that has ended since its memory was told is still that turn", () => {
    const told = event(capacity({ turns: [tree("a")] }));
    const [one] = cargoOf(told, NO_TURNS, [ended("a", { endedAtMs: START_MS })]).turns;
    expect(one?.turn?.agent).toBe("hello");
  });
});

const SHED: FeedDecision = {
  type: "decision",
  atMs: START_MS,
  admitted: false,
  reason: "start",
  text: "shed (start)",
  agent: "hello",
  tenant: "default",
  untold: 0,
};

function failed(detail: string, endedAtMs: number) {
  return ended("a", { endedAtMs, outcome: { status: "failed", detail, message: null } });
}
