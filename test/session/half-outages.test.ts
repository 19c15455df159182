/**
 * Goal: where a store has not heard all, or takes some writes and not others, no request runs twice,
 * no session is lost to another replica, and nothing is left behind without end.
 * Method: replicas over a store in memory that fails as it is told.
 */

import { setTimeout as delay } from "node:timers/promises";

import { describe, expect, it, vi } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { EARLIER_NAME } from "../../src/session/shorten-transcript.ts";
import {
  transcriptBytesOf,
  parseHead,
  type SessionHead,
} from "../../src/session/stores/session-head.ts";
import { checkHasNotRun, replayedTurnOf } from "../../src/turn/kept-turn.ts";
import type { TurnRequest } from "../../src/turn/turn.ts";
import { RENEWALS } from "../../src/session/session-lease.ts";
import { until } from "../helpers/leaks.ts";
import { cleanAfterTest, codeOf, thread, threadWithHistory, TOTALS } from "./fixture.ts";
import {
  begin,
  LEASE_MS,
  type Replica,
  replicas,
  required,
  takeTurn,
  type Turn,
} from "./replicas.ts";
import type { MemoryObjects } from "./stores/memory-objects.ts";

const POLL = { timeout: 10_000 };
const REF = sessionRefOf(thread("t"));
const KEY = { hash: "h", inputHash: "i" };
const BEGUN = { ...KEY, turnId: "t1", startedAtMs: 5 };
const USAGE = {
  inputTokens: 1,
  outputTokens: 1,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  costUsd: 0,
  steps: 1,
  durationMs: 1,
  firstTokenMs: null,
  byModel: [],
};

/** The turn with the key, which says an answer and ends. */
async function endWithKey(at: Replica, turn: Turn): Promise<void> {
  await turn.say("the answer");
  const outcome = { status: "completed", text: "the answer", usage: USAGE, stopReason: "end_turn" };
  const answer = { outcome, hasRun: true, text: "the answer", messageId: "m" } as const;
  const keyed = { key: KEY, answer: { ...answer, outcome: { ...outcome, status: "completed" } } };
  await at.sessions.finish(REF, { totals: TOTALS, endedAtMs: Date.now(), keyed } as never);
  await turn[Symbol.asyncDispose]();
}

/** The same request once more, as `runTurn` and the routes look for it. */
async function askedAgain(at: Replica): Promise<string | undefined> {
  const { target: session } = thread("t");
  const request = { caller: { tenant: "acme" }, agentName: "helper", session, key: KEY };
  const ended = await replayedTurnOf(request as unknown as TurnRequest, at.sessions);
  if (ended !== null) return ended.text;
  await checkHasNotRun(REF, "helper", KEY, at.sessions);
  return undefined;
}

describe("the key of a turn", () => {
  it("that has ended has its answer, also where the store has not heard of the end", async () => {
    const { store, one } = await replicas();
    const turn = await begin(one, thread("t"));
    await one.sessions.keepBegun(REF, BEGUN);
    store.faultOf = () => "before";
    await endWithKey(one, turn);
    // Until the outbox waits for long before it tries again.
    await delay(2_500);
    expect(await codeOf(askedAgain(one))).toBe("store_unavailable");
    store.faultOf = () => null;
    expect(await askedAgain(one)).toBe("the answer");
  });

  it("that never began is free, whenever the store hears of it, and on any replica", async () => {
    const { store, one, two } = await replicas();
    const turn = await begin(one, thread("t"));
    losesAllAfterOnePut(store);
    expect(await codeOf(one.sessions.keepBegun(REF, BEGUN))).toBe("store_unavailable");
    await turn[Symbol.asyncDispose]();
    store.faultOf = () => null;
    expect(await askedAgain(one)).toBeUndefined();
    expect(await askedAgain(two)).toBeUndefined();
    expect(await takeTurn(two, thread("t"), "goes on")).toEqual([]);
  });

  it("that never began is free also after its replica was started again", async () => {
    const { store, one, two } = await replicas();
    const turn = await begin(one, thread("t"));
    losesAllAfterOnePut(store);
    expect(await codeOf(one.sessions.keepBegun(REF, BEGUN))).toBe("store_unavailable");
    await turn[Symbol.asyncDispose]();
    await one.sessions[Symbol.asyncDispose]();
    store.faultOf = () => null;
    await one.restarted();
    await expect.poll(async () => codeOf(askedAgain(two)).catch(() => "free"), POLL).toBe("free");
  });
});

/** The key is written, though nobody hears of it, and nothing that follows. */
function losesAllAfterOnePut(store: MemoryObjects): void {
  let puts = 0;
  store.faultOf = (call) => {
    if (call === "put") puts += 1;
    return puts === 1 ? "after" : "before";
  };
}

const isPiece = (name: string) => /^sessions\/.+(?<!\/head)$/.test(name);
const piecesIn = (store: MemoryObjects) => [...store.objects.keys()].filter(isPiece);

/** As a proxy before the store may do. */
function refuseLarge(store: MemoryObjects, mostBytes: number) {
  const put = store.put.bind(store);
  let refused = 0;
  store.put = async (name, body, condition) => {
    if (body.length <= mostBytes) return put(name, body, condition);
    await delay(1);
    refused += 1;
    throw new AppError("store_unavailable", "Cannot write: the body is too large");
  };
  return { undo: () => void (store.put = put), refused: () => refused };
}

/** From now on time passes for leases alone, and only as {@link passLeases} lets it. */
function stopLeaseTime(): void {
  vi.useFakeTimers({ toFake: ["Date", "hrtime", "setInterval", "clearInterval"] });
  cleanAfterTest(async () => void vi.useRealTimers());
}

/**
 * The time of three leases, in which a session is renewed as often as it has to be, and no renewal
 * is due before the last one has done all it could.
 *
 * @param tries How often it was tried to write what the turn has said.
 */
async function passLeases(store: MemoryObjects, tries: () => number): Promise<void> {
  const heads = () =>
    store.calls.filter(({ call, name }) => call === "put" && name.endsWith("/head")).length;
  const [headsBefore, triesBefore] = [heads(), tries()];
  for (let count = 1; count <= 3 * RENEWALS; count += 1) {
    await vi.advanceTimersByTimeAsync(LEASE_MS / RENEWALS);
    await until(() => heads() >= headsBefore + count, "the session to be renewed");
    await until(() => tries() >= triesBefore + count, "what was said to be written");
  }
}

describe("a store that takes no large writes", () => {
  it("keeps the session of a turn that says much from the others, and no pieces", async () => {
    stopLeaseTime();
    const { store, one, two } = await replicas();
    const turn = await begin(one, thread("t"));
    await turn.say("x".repeat(8.5 * 2 ** 20));
    const { undo, refused } = refuseLarge(store, 2 ** 20);
    await passLeases(store, refused);
    expect(await codeOf(begin(two, thread("t")))).toBe("session_busy");
    expect(turn.claim.lost.aborted).toBe(false);
    expect(one.notices).toContain("unavailable");
    expect(piecesIn(store).length).toBeLessThan(3);
    undo();
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    expect((await takeTurn(two, threadWithHistory("t"), "next"))[0]).toHaveLength(8.5 * 2 ** 20);
    expect(piecesIn(store).length).toBeLessThan(6);
  });

  it("has no more of the pieces of a turn that waits for it, however often that is tried", async () => {
    const { store, one, two } = await replicas({ outboxBytes: 2 ** 26 });
    const turn = await begin(one, thread("t"));
    await turn.say("x".repeat(8.5 * 2 ** 20));
    const { undo } = refuseLarge(store, 2 ** 20);
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    expect(one.notices).toContain("kept");
    await delay(2_000);
    expect(piecesIn(store).length).toBeLessThan(3);
    undo();
    expect((await takeTurn(one, threadWithHistory("t"), "next"))[0]).toHaveLength(8.5 * 2 ** 20);
    expect((await takeTurn(two, threadWithHistory("t"), "last"))[1]).toBe("next");
  });
});

describe("a transcript that is shortened by more than is written at once", () => {
  it("is all in the store at any time: nothing is lost with the replica", async () => {
    const { store, one } = await replicas();
    const turn = await begin(one, thread("t"));
    // Each is a question at which it may be cut.
    for (let at = 0; at < 40; at += 1) await turn.say("x".repeat(2 ** 20));
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    const before = required(allHeads(store)[0]);
    const heads: SessionHead[] = [];
    store.before = async () => void heads.push(...allHeads(store));
    const input = threadWithHistory("t");
    await using _claim = await one.sessions.claim(input, Date.now());
    const transcript = { maxBytes: 4 * 2 ** 20, whenFull: "shorten" } as const;
    const { shortened } = await one.sessions.open(input, Date.now(), { transcript });
    const { droppedBytes } = required(shortened ?? undefined);
    await one.sessions.finish(REF, { totals: TOTALS, endedAtMs: Date.now() });
    expect(droppedBytes).toBeGreaterThan(32 * 2 ** 20);
    const states = [...heads, ...allHeads(store)].map((head) =>
      transcriptBytesOf(head) === transcriptBytesOf(before)
        ? "whole"
        : transcriptBytesOf(head, EARLIER_NAME) - droppedBytes,
    );
    expect(new Set(states)).toEqual(new Set(["whole", 0]));
  });
});

function allHeads(store: MemoryObjects): SessionHead[] {
  const names = [...store.objects.keys()].filter((name) => name.endsWith("/head"));
  return names.map((name) => required(parseHead(store.objects.get(name)?.body ?? Buffer.alloc(0))));
}

describe("a store whose answers to large writes are lost", () => {
  it("keeps the session of a turn that says much from the others, and few pieces", async () => {
    stopLeaseTime();
    const { store, one, two } = await replicas();
    const turn = await begin(one, thread("t"));
    await turn.say("hello");
    store.faultOf = (call, name) => (call === "put" && isPiece(name) ? "after" : null);
    const pieces = () => store.calls.filter(({ call, name }) => call === "put" && isPiece(name));
    await passLeases(store, () => pieces().length);
    expect(await codeOf(begin(two, thread("t")))).toBe("session_busy");
    expect(piecesIn(store).length).toBeLessThan(2);
    await turn[Symbol.asyncDispose]();
  });

  it("has few pieces, too, where it is the head that it says nothing of", async () => {
    const { store, one, two } = await replicas();
    const turn = await begin(one, thread("t"));
    await turn.say("hello");
    store.faultOf = (call, name) => (call === "put" && name.endsWith("/head") ? "before" : null);
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    await delay(2_000);
    expect(piecesIn(store)).toHaveLength(1);
    store.faultOf = () => null;
    await expect.poll(() => one.notices, POLL).toContain("delivered");
    expect(piecesIn(store)).toHaveLength(1);
    expect(await takeTurn(two, threadWithHistory("t"), "next")).toEqual(["hello"]);
  });
});
