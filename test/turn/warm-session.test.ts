/**
 * Goal: a hint is followed only where it costs nobody anything, and each no says why.
 * Method: the pure decision, fact by fact; and replicas in one process, where the session is another's.
 */

import { stat } from "node:fs/promises";
import { describe, expect, it, vi } from "vitest";

import { sessionRefOf } from "../../src/session/session-id.ts";
import { sessionPathsOf } from "../../src/session/session-paths.ts";
import type { TurnDeps } from "../../src/turn/run-turn.ts";
import {
  type HintFacts,
  isWarm,
  judgeHint,
  WARM_REASONS,
  warmSession,
} from "../../src/turn/warm-session.ts";
import { thread, threadWithHistory } from "../session/fixture.ts";
import { begin, type Replica, replicas, takeTurn } from "../session/replicas.ts";

const FREE: HintFacts = {
  isKept: false,
  isLocked: false,
  isLeaving: false,
  wasInVain: false,
  hasPlace: true,
  roomBytes: 100,
  predictedBytes: 100,
  hasIdleSlot: true,
};

describe("judgeHint", () => {
  it.each<[reason: string, what: string, facts: Partial<HintFacts>]>([
    ["started", "room for just one more", {}],
    ["already_warm", "a process, whatever else there is", { isKept: true, roomBytes: 0 }],
    ["busy", "a turn", { isLocked: true }],
    [
      "busy",
      "a process on its way out, though it was in vain",
      { isLeaving: true, wasInVain: true },
    ],
    ["too_soon", "one that was in vain", { wasInVain: true }],
    ["no_room", "no place among those that stay", { hasPlace: false }],
    ["no_room", "a byte too little", { roomBytes: 99 }],
    ["no_room", "every slot taken by starts", { hasIdleSlot: false }],
  ])("says %s with %s", (reason, _what, facts) => {
    expect(judgeHint({ ...FREE, ...facts })).toBe(reason);
  });

  it("promises a process for two of its answers alone", () => {
    const reasons = Object.keys(WARM_REASONS) as (keyof typeof WARM_REASONS)[];
    expect(reasons.filter(isWarm)).toEqual(["started", "already_warm"]);
  });
});

const isPiece = (name: string) => /^sessions\/.+(?<!\/head)$/.test(name);

describe("a hint for a session of several replicas", () => {
  const REF = sessionRefOf(thread("t"));

  /** At a replica that has room, where no process starts in the end. */
  function depsOf(
    { sessions, locks, data: dataDirectory }: Replica,
    facts: Partial<HintFacts> = {},
  ): TurnDeps {
    const agents = new Map([["helper", { definition: { hosting: { pattern: "hybrid" } } }]]);
    const { roomBytes, predictedBytes, hasIdleSlot, ...heat } = { ...FREE, ...facts };
    const kept = { residents: { heatOf: () => heat } };
    const gate = { predictBytes: () => predictedBytes, spareRoomBytes: () => roomBytes };
    const parts = { agents, kept, gate, lane: { hasIdleSlot, tryEnter: () => null } };
    return { ...parts, sessions, locks, dataDirectory } as unknown as TurnDeps;
  }

  const isThere = async (at: Replica) =>
    stat(sessionPathsOf(at.data, REF).directory).then(
      () => true,
      () => false,
    );

  it.each<[reason: string, what: string, facts: Partial<HintFacts>]>([
    ["no_room", "memory", { roomBytes: 99 }],
    ["no_room", "a place", { hasPlace: false }],
    ["no_room", "a slot", { hasIdleSlot: false }],
    ["too_soon", "the time that was in vain", { wasInVain: true }],
  ])("says %s before the session is copied here, for want of %s", async (reason, _what, facts) => {
    const { one, two } = await replicas();
    await takeTurn(one, thread("t"), "said");
    expect(await warmSession(REF, depsOf(two, facts))).toBe(reason);
    expect(await isThere(two)).toBe(false);
    expect(await warmSession(REF, depsOf(two))).toBe("started");
    expect(await isThere(two)).toBe(true);
  });

  it("has few sessions copied here at once, and the others told that there is no room", async () => {
    const { store, one, two } = await replicas();
    const threads = Array.from({ length: 6 }, (_, nth) => thread(`t${nth}`));
    for (const each of threads) await takeTurn(one, each, "said");
    let loads = 0;
    let goOn = (): void => {};
    const held = new Promise<void>((resolve) => (goOn = resolve));
    store.before = async (call, name) => {
      if (call !== "get" || !isPiece(name)) return;
      loads += 1;
      await held;
    };
    const told: string[] = [];
    const hints = threads.map(async (each) =>
      told.push(await warmSession(sessionRefOf(each), depsOf(two))),
    );
    await vi.waitFor(() => expect(told).toEqual(["no_room", "no_room"]), { timeout: 10_000 });
    expect(loads).toBe(4);
    goOn();
    await Promise.all(hints);
    expect(told.slice(2)).toEqual(["started", "started", "started", "started"]);
    // Those that were refused are not kept from coming later.
    store.before = async () => {};
    for (const each of threads) {
      expect(await warmSession(sessionRefOf(each), depsOf(two))).toBe("started");
    }
  });

  it.each([
    ["never had it", async () => {}],
    ["had it before", async (two: Replica) => void (await takeTurn(two, thread("t"), "old"))],
    [
      "has a tombstone of the thread",
      async (two: Replica) => {
        await takeTurn(two, thread("t"), "old");
        await two.sessions.delete(REF, Date.now());
      },
    ],
  ])("is told that it is busy while a turn runs elsewhere: this one %s", async (_what, before) => {
    const { one, two } = await replicas();
    await before(two);
    await using turn = await begin(one, thread("t"));
    await turn.say("running");
    expect(await warmSession(REF, depsOf(two))).toBe("busy");
  });

  it("finds it also where the replica that had it is gone, and left it in a turn", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "said");
    await using _left = await begin(one, threadWithHistory("t"));
    for (const object of store.objects.values()) {
      const text = object.body.toString("utf8");
      object.body = Buffer.from(text.replace(/"expiresAtMs":\d+/, '"expiresAtMs":0'));
    }
    expect(await warmSession(REF, depsOf(two))).toBe("started");
  });
});
