/**
 * Goal: a hint is followed only where it costs nobody anything, and each no says why.
 * Method: the pure decision, fact by fact; and replicas in one process, where the session is another's.
 */

import { describe, expect, it } from "vitest";

import { sessionRefOf } from "../../src/session/session-id.ts";
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

describe("a hint for a session of several replicas", () => {
  const REF = sessionRefOf(thread("t"));

  /** At a replica that has no room: whether there is something to resume is asked before that. */
  function depsOf({ sessions, locks, data: dataDirectory }: Replica): TurnDeps {
    const agents = new Map([["helper", { definition: { hosting: { pattern: "hybrid" } } }]]);
    const heat = { isKept: false, isLeaving: false, wasInVain: false, hasPlace: false };
    const kept = { residents: { heatOf: () => heat } };
    const gate = { predictBytes: () => 1, spareRoomBytes: () => 0 };
    const parts = { agents, kept, gate, lane: { hasIdleSlot: true } };
    return { ...parts, sessions, locks, dataDirectory } as unknown as TurnDeps;
  }

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
    expect(await warmSession(REF, depsOf(two))).toBe("no_room");
  });
});
