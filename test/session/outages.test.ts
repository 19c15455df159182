/**
 * Goal: no outage of the store, however long, costs a turn that was acknowledged; and none keeps the
 * session of a dead replica from the others for longer than the time of a lease.
 * Method: replicas over a store in memory, with a clock that is set forward.
 */

import { copyFile, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { describe, expect, it, vi } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { LeaseClock } from "../../src/session/lease-clock.ts";
import type { StoredSession } from "../../src/session/retention.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { transcriptIfAny } from "../../src/session/session-lookup.ts";
import { sessionPathsOf } from "../../src/session/session-paths.ts";
import { until } from "../helpers/leaks.ts";
import { cleanAfterTest, codeOf, errorOf, thread, threadWithHistory } from "./fixture.ts";
import {
  allTextIn,
  begin,
  endDuringOutage,
  LEASE_MS,
  pace,
  type Replica,
  replica,
  replicas,
  takeTurn,
  type Turn,
} from "./replicas.ts";
import type { MemoryObjects } from "./stores/memory-objects.ts";

const POLL = { timeout: 10_000 };

/** What the replicas do in each of these is done before the next one. */
const STEP_MS = LEASE_MS / 12;

/** @returns What lets time pass for leases, and for nothing else. */
function leaseTime(): (ms: number) => Promise<void> {
  vi.useFakeTimers({ toFake: ["Date", "hrtime", "setInterval", "clearInterval"] });
  cleanAfterTest(async () => void vi.useRealTimers());
  return async (ms) => {
    for (let leftMs = ms; leftMs > 0; leftMs -= STEP_MS) {
      await vi.advanceTimersByTimeAsync(Math.min(STEP_MS, leftMs));
      await delay(10);
    }
  };
}

describe.each([0.8, 1.2, 2.5, 8])("an outage of %d times the time of a lease", (length) => {
  const outageMs = length * LEASE_MS;

  it("is not taken for the death of a replica by one that saw it", async () => {
    const pass = leaseTime();
    const { store, one, two } = await replicas();
    await pass(2 * LEASE_MS);
    await endDuringOutage(store, await begin(one, thread("t")));
    await one.sessions[Symbol.asyncDispose]();
    await pass(outageMs);
    expect(await codeOf(begin(two, thread("t")))).toBe("store_unavailable");
    store.faultOf = () => null;
    await pass(0.9 * LEASE_MS);
    expect(await codeOf(begin(two, thread("t")))).toBe("session_busy");
    const again = await one.restarted();
    await expect.poll(() => again.notices).toContain("delivered");
    expect(await takeTurn(two, threadWithHistory("t"), "next")).toEqual(["during"]);
  });

  it("is not taken for the death of a replica by one that starts after it", async () => {
    const pass = leaseTime();
    const { store, one } = await replicas();
    await endDuringOutage(store, await begin(one, thread("t")));
    await one.sessions[Symbol.asyncDispose]();
    await pass(outageMs);
    store.faultOf = () => null;
    const three = await replica("three", store);
    await pass(0.9 * LEASE_MS);
    expect(await codeOf(begin(three, thread("t")))).toBe("session_busy");
    const again = await one.restarted();
    await expect.poll(() => again.notices).toContain("delivered");
    expect(await takeTurn(three, threadWithHistory("t"), "next")).toEqual(["during"]);
  });

  it("leaves what a dead replica had to the others in the time of a lease", async () => {
    const pass = leaseTime();
    const { store, one, two } = await replicas();
    await pass(2 * LEASE_MS);
    await endDuringOutage(store, await begin(one, thread("t")));
    await one.sessions[Symbol.asyncDispose]();
    await pass(outageMs);
    store.faultOf = () => null;
    // So long until the next look at the store.
    await pass(LEASE_MS / 3);
    const { retryAfterSeconds, extensions } = (await errorOf(begin(two, thread("t")))).details;
    expect(retryAfterSeconds).toBeGreaterThan((LEASE_MS * 0.5) / 1000);
    expect(retryAfterSeconds).toBeLessThanOrEqual(LEASE_MS / 1000);
    const endsAtMs = Date.parse(String(extensions?.["expiresAt"]));
    expect(endsAtMs).toBeLessThanOrEqual(Date.now() + LEASE_MS);
    await pass(endsAtMs - Date.now());
    expect(await takeTurn(two, thread("t"), "goes on")).toEqual([]);
  });
});

/** Turns of as many threads that have all ended while the store was away, which it is still. */
async function endTogether(
  store: MemoryObjects,
  at: Replica,
  threads: readonly string[],
): Promise<void> {
  const turns: Turn[] = [];
  for (const each of threads) {
    const turn = await begin(at, thread(each));
    await turn.say(`of ${each}`);
    turns.push(turn);
  }
  store.faultOf = () => "before";
  for (const turn of turns) {
    await turn.finish();
    await turn[Symbol.asyncDispose]();
  }
}

const outboxOf = (at: Replica) => readdir(join(at.data, "outbox"));

/** Changes the head of a session. @returns What undoes that. */
function damage(store: MemoryObjects, threadId: string, change: (head: object) => object) {
  const { sessionId } = sessionRefOf(thread(threadId));
  const name = [...store.objects.keys()].find((each) => each.endsWith(`/${sessionId}/head`)) ?? "";
  const found = store.objects.get(name);
  if (found === undefined) throw new Error("there is no such head");
  const before = found.body;
  found.body = Buffer.from(JSON.stringify(change(JSON.parse(before.toString("utf8")) as object)));
  return async () => store.put(name, before, "any");
}

describe("a turn that waits for the store, and cannot be uploaded", () => {
  it.each([
    ["of a newer version", "session_newer", (head: object) => ({ ...head, version: 2 })],
    ["damaged", "session_unreadable", (head: object) => ({ ...head, pieces: 5 })],
    ["of no session", "session_unreadable", (head: object) => ({ ...head, record: {} })],
  ])("as its head is %s, keeps no other waiting", async (_what, code, change) => {
    const { store, one, two } = await replicas();
    await endTogether(store, one, ["a", "b"]);
    const mend = damage(store, "a", change);
    store.faultOf = () => null;
    await expect.poll(() => one.notices, POLL).toContain("delivered");
    expect(await takeTurn(two, threadWithHistory("b"), "next")).toEqual(["of b"]);
    await delay(600);
    // It was tried a few times, and told of once.
    expect(one.notices.filter((what) => what === "stuck")).toHaveLength(1);
    expect(await outboxOf(one)).toHaveLength(1);
    expect(await codeOf(begin(one, threadWithHistory("a")))).toBe(code);
    await mend();
    expect(await takeTurn(one, threadWithHistory("a"), "next")).toEqual(["of a"]);
    expect(await outboxOf(one)).toHaveLength(0);
  });

  it("as the store refuses this one alone, keeps no other waiting", async () => {
    const { store, one, two } = await replicas();
    await endTogether(store, one, ["a", "b"]);
    const { sessionId } = sessionRefOf(thread("a"));
    store.faultOf = (_call, name) => (name.includes(sessionId) ? "before" : null);
    await expect.poll(() => one.notices, POLL).toContain("delivered");
    expect(await takeTurn(two, threadWithHistory("b"), "next")).toEqual(["of b"]);
  });

  it("keeps no other from being uploaded as the server ends", async () => {
    const { store, one, two } = await replicas();
    await endTogether(store, one, ["a", "b"]);
    damage(store, "a", (head) => ({ ...head, version: 2 }));
    store.faultOf = () => null;
    await one.sessions[Symbol.asyncDispose]();
    expect(await takeTurn(two, threadWithHistory("b"), "next")).toEqual(["of b"]);
    expect(await outboxOf(one)).toHaveLength(1);
  });

  it.each([
    ["damaged", (file: string) => writeFile(file, "{")],
    ["lost", (file: string) => rm(file)],
  ])(
    "as its record is %s, is moved to superseded/, and its session goes on",
    async (_what, harm) => {
      const { store, one, two } = await replicas();
      await takeTurn(one, thread("t"), "first");
      await endDuringOutage(store, await begin(one, threadWithHistory("t")));
      const { record, directory } = sessionPathsOf(one.data, sessionRefOf(thread("t")));
      await harm(record);
      store.faultOf = () => null;
      expect(await takeTurn(one, threadWithHistory("t"), "second")).toEqual(["first"]);
      expect(one.notices).toEqual(["unavailable", "kept", "superseded"]);
      expect(await outboxOf(one)).toEqual([]);
      expect(await allTextIn(join(directory, "superseded"))).toContain("during");
      expect(await takeTurn(two, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
    },
  );

  it("as a power cut took its end, and more, leaves the store what it has", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    await takeTurn(one, threadWithHistory("t"), "second");
    const turn = await begin(one, threadWithHistory("t"));
    await endDuringOutage(store, turn);
    const { path: transcript = "" } =
      (await transcriptIfAny(one.data, sessionRefOf(thread("t")))) ?? {};
    const lines = (await readFile(transcript, "utf8")).trimEnd().split("\n");
    const upToFirst = lines.findIndex((line) => line.includes("first")) + 1;
    await writeFile(transcript, `${lines.slice(0, upToFirst).join("\n")}\n`);
    store.faultOf = () => null;
    await expect.poll(() => one.notices, POLL).toContain("superseded");
    expect(await takeTurn(two, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
  });

  it("as its record is of a newer version, waits for that", async () => {
    const { store, one } = await replicas();
    await endDuringOutage(store, await begin(one, thread("t")));
    const { record } = sessionPathsOf(one.data, sessionRefOf(thread("t")));
    const before = await readFile(record, "utf8");
    await writeFile(record, JSON.stringify({ ...JSON.parse(before), version: 2 }));
    store.faultOf = () => null;
    await expect.poll(() => one.notices, POLL).toContain("stuck");
    expect(await codeOf(begin(one, threadWithHistory("t")))).toBe("session_newer");
    await writeFile(record, before);
    expect(await takeTurn(one, threadWithHistory("t"), "next")).toEqual(["during"]);
  });
});

const isPiece = (name: string) => name.startsWith("sessions/") && !name.endsWith("/head");

/** Writing what was said takes its time from now on. */
function slowDown(store: MemoryObjects, ms: number): void {
  const put = store.put.bind(store);
  store.put = async (name, ...rest) => {
    if (isPiece(name)) await delay(ms);
    return put(name, ...rest);
  };
}

/** Writing what was said takes from now on until it is let go. */
function holdUp(store: MemoryObjects) {
  const put = store.put.bind(store);
  const waiting: (() => void)[] = [];
  store.put = async (name, ...rest) => {
    if (isPiece(name)) await new Promise<void>((resolve) => void waiting.push(resolve));
    return put(name, ...rest);
  };
  const letGo = (): void => {
    for (const go of waiting.splice(0)) go();
  };
  const undo = (): void => {
    store.put = put;
    letGo();
  };
  // Else a replica would wait for it to its end.
  cleanAfterTest(async () => undo());
  return { held: () => waiting.length, letGo, undo };
}

describe("a turn that its session will never have", () => {
  it("is told once, as it ends while others have the session", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    await using late = await begin(one, threadWithHistory("t"));
    await late.say("late");
    letLeasesEnd(store);
    await takeTurn(two, threadWithHistory("t"), "second");
    expect(await codeOf(late.finish())).toBe("session_taken_over");
    await late[Symbol.asyncDispose]();
    await mustBeToldOnce(one, "late");
  });

  it("is told once, as it was uploaded too late", async () => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    await endDuringOutage(store, await begin(one, threadWithHistory("t")));
    await one.sessions[Symbol.asyncDispose]();
    store.faultOf = () => null;
    letLeasesEnd(store);
    await takeTurn(two, threadWithHistory("t"), "second");
    const again = await one.restarted();
    await expect.poll(() => again.notices, POLL).toContain("superseded");
    await mustBeToldOnce(again, "during");
  });

  function letLeasesEnd(store: MemoryObjects): void {
    for (const object of store.objects.values()) {
      const text = object.body.toString("utf8");
      object.body = Buffer.from(text.replace(/"expiresAtMs":\d+/, '"expiresAtMs":0'));
    }
  }

  async function mustBeToldOnce(at: Replica, said: string): Promise<void> {
    expect(await takeTurn(at, threadWithHistory("t"), "next")).toEqual(["first", "second"]);
    expect(at.notices.filter((what) => what === "superseded")).toHaveLength(1);
    const { directory } = sessionPathsOf(at.data, sessionRefOf(thread("t")));
    expect(await allTextIn(join(directory, "superseded"))).toContain(said);
  }
});

describe("a letter whose write was cut off", () => {
  it("is none, and goes with the next start", async () => {
    const { store, one, two } = await replicas();
    await endDuringOutage(store, await begin(one, thread("t")));
    const [name = ""] = await outboxOf(one);
    const directory = join(one.data, "outbox");
    const draft = `${name}.8a1b.tmp`;
    await copyFile(join(directory, name), join(directory, draft));
    await writeFile(join(directory, "notes"), "of an operator");
    store.faultOf = () => null;
    await expect.poll(() => one.notices, POLL).toContain("delivered");
    await takeTurn(two, threadWithHistory("t"), "second");
    const again = await one.restarted();
    expect(await outboxOf(again)).toEqual(["notes"]);
    expect(await takeTurn(again, threadWithHistory("t"), "third")).toEqual(["during", "second"]);
    expect(again.notices).toEqual([]);
  });
});

describe("a session whose last turn waits for the store", () => {
  async function waiting() {
    const { store, one, two } = await replicas();
    await endDuringOutage(store, await begin(one, thread("t")));
    // It answers, but takes nothing yet.
    store.faultOf = (call) => (call === "put" ? "before" : null);
    return { store, one, two };
  }

  it("is not swept for what it was idle before that", async () => {
    const { store, one, two } = await waiting();
    const seen: StoredSession[] = [];
    for await (const some of one.sessions.scan()) {
      seen.push(...some.filter((each) => each !== "unreadable"));
    }
    expect(seen).toMatchObject([{ isBusy: false }]);
    store.faultOf = () => null;
    for (const each of seen) {
      expect(await one.sessions.deleteUnused(each, Date.now())).toBe(false);
    }
    expect(one.notices).toEqual(["unavailable", "kept", "delivered"]);
    expect(await takeTurn(two, threadWithHistory("t"), "next")).toEqual(["during"]);
  });

  it("is deleted with it, and no turn is told to be lost", async () => {
    const { store, one } = await waiting();
    store.faultOf = () => null;
    await one.sessions.delete(sessionRefOf(thread("t")), Date.now());
    expect(await outboxOf(one)).toEqual([]);
    expect(one.notices).toEqual(["unavailable", "kept", "delivered"]);
    expect(await codeOf(begin(one, threadWithHistory("t")))).toBe("session_gone");
  });
});

describe("turns that wait for the store", () => {
  it("are not tried again when the next turn of one has not waited for the others", async () => {
    const { store, one } = await replicas();
    const threads = Array.from({ length: 12 }, (_, at) => `t${at}`);
    await endTogether(store, one, threads);
    slowDown(store, 400);
    store.faultOf = () => null;
    await using next = await begin(one, threadWithHistory("t11"));
    expect(next.history).toEqual(["of t11"]);
    await next.say("meanwhile");
    await expect.poll(() => outboxOf(one), POLL).toEqual([]);
    expect(one.notices.filter((what) => what === "delivered")).toHaveLength(threads.length);
    expect(one.notices).not.toContain("superseded");
    expect(next.claim.lost.aborted).toBe(false);
  });

  it("keep their sessions until it is their turn, however many they are", async () => {
    const pass = leaseTime();
    const { store, one, two } = await replicas();
    const threads = Array.from({ length: 24 }, (_, at) => `t${at}`);
    await endTogether(store, one, threads);
    const { held, letGo, undo } = holdUp(store);
    store.faultOf = () => null;
    // Four at once, each for two thirds of a lease: the last ones are uploaded after four leases.
    // The third four are reached after two, longer than leases of others are good for after an outage.
    for (const isLast of [false, false, true]) {
      await until(() => held() === 4, "the next four to be written");
      await pass((2 / 3) * LEASE_MS);
      if (!isLast) letGo();
    }
    const delivered = () => one.notices.filter((what) => what === "delivered").length;
    expect(delivered()).toBe(8);
    const last = threads.slice(-6);
    const codes = await Promise.all(last.map((each) => codeOf(begin(two, thread(each)))));
    expect(codes).toEqual(last.map(() => "session_busy"));
    undo();
    await expect.poll(() => outboxOf(one), { timeout: 60_000 }).toEqual([]);
    expect(one.notices).not.toContain("superseded");
    expect(await takeTurn(two, thread("t23"), "next")).toEqual(["of t23"]);
  });
});

/** @returns What has the store fail over to one that was a moment behind. */
function keptBy(store: MemoryObjects): () => void {
  const before = new Map(store.objects);
  return () => {
    store.objects.clear();
    for (const [name, object] of before) store.objects.set(name, object);
  };
}

describe("a store that has lost what a turn has said", () => {
  it.each([
    ["and goes on to say more", ["more"]],
    ["and says no more", []],
  ])("is told it again by the turn, which has ended %s", async (_what, rest) => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const turn = await begin(one, threadWithHistory("t"));
    await turn.say("said");
    const failOver = keptBy(store);
    // It uploads what was said.
    const key = { hash: "h", inputHash: "i", turnId: "t1", startedAtMs: 5 };
    await one.sessions.keepBegun(sessionRefOf(thread("t")), key);
    failOver();
    for (const text of rest) await turn.say(text);
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    await one.sessions.settle(sessionRefOf(thread("t")));
    expect(one.notices).not.toContain("superseded");
    const said = await takeTurn(two, threadWithHistory("t"), "next");
    expect(said).toEqual(["first", "said", ...rest]);
  });
});

describe("a store that has lost the write of a lease", () => {
  it.each([
    ["before", true],
    ["after", false],
  ])("has the turn of the next lease alone, that ends %s the other", async (_what, isFirst) => {
    const { store, one, two } = await replicas();
    await takeTurn(one, thread("t"), "first");
    const failOver = keptBy(store);
    await using lost = await begin(one, threadWithHistory("t"));
    await lost.say("lost");
    failOver();
    await using next = await begin(two, threadWithHistory("t"));
    await next.say("second");
    if (isFirst) await next.finish();
    expect(await codeOf(lost.finish())).toBe("session_taken_over");
    if (!isFirst) await next.finish();
    await lost[Symbol.asyncDispose]();
    await next[Symbol.asyncDispose]();
    expect(one.notices).toEqual(["superseded"]);
    expect(await takeTurn(two, threadWithHistory("t"), "third")).toEqual(["first", "second"]);
  });
});

describe("a turn that waits while its session is deleted, forgotten and begun anew", () => {
  it.each([
    ["", (letter: object) => letter],
    [", of an earlier version", ({ leaseId: _leaseId, ...old }: { leaseId?: string }) => old],
  ])("stays out of that%s", async (_what, asWritten) => {
    const { store, one, two } = await replicas();
    await endDuringOutage(store, await begin(one, thread("t")));
    await one.sessions[Symbol.asyncDispose]();
    const [name = ""] = await outboxOf(one);
    const file = join(one.data, "outbox", name);
    const letter = asWritten(JSON.parse(await readFile(file, "utf8")) as object);
    await writeFile(file, JSON.stringify(letter));
    store.faultOf = () => null;
    const nowMs = Date.now() + LEASE_MS + 1;
    await two.sessions.delete(sessionRefOf(thread("t")), nowMs);
    await two.sessions.forgetGone(nowMs + 8 * 24 * 3600 * 1000, pace());
    await takeTurn(two, thread("t"), "anew");
    const again = await one.restarted();
    await expect.poll(() => again.notices, POLL).toEqual(["superseded"]);
    expect(await takeTurn(again, threadWithHistory("t"), "next")).toEqual(["anew"]);
    expect(await takeTurn(two, threadWithHistory("t"), "last")).toEqual(["anew", "next"]);
  });
});

describe("the time by which leases are judged", () => {
  const leaseTimeMs = 6000;

  /** @returns A clock that was told of these answers of the store, a second apart, from 1000 on. */
  async function clockAfter(answers: string): Promise<LeaseClock> {
    vi.useFakeTimers({ toFake: ["Date", "hrtime"], now: 0 });
    cleanAfterTest(async () => void vi.useRealTimers());
    const clock = new LeaseClock("here", leaseTimeMs);
    for (const answer of answers) {
      vi.advanceTimersByTime(1000);
      await clock.asked(async () => mustBe(answer)).catch(() => {});
    }
    return clock;
  }

  function mustBe(answer: string): void {
    if (answer === "-") throw new AppError("store_unavailable", "Cannot reach the store");
    if (answer === "?") throw new AppError("session_not_found", "Cannot find it");
  }

  it.each([
    ["now while the store answers", "+?+++", 5000, undefined],
    ["that of the last answer while it does not", "++---", 5000, 2000],
    ["the same for the time of a lease after it", "++---+", 11_999, 2000],
    ["now after that", "++---+", 12_000, undefined],
    ["that of the first of two outages that are close", "++-++++++-", 10_000, 2000],
    ["that of the second where they are not", "++-+++++++++-", 13_000, 12_000],
  ])("is %s", async (_what, answers, nowMs, judgedAtMs) => {
    expect((await clockAfter(answers)).terms(nowMs).judgedAtMs).toBe(judgedAtMs);
  });

  it("is not held back by a call that fails now and then among many", async () => {
    const clock = await clockAfter("+");
    for (let call = 0; call < 1000; call += 1) {
      vi.advanceTimersByTime(100);
      await clock.asked(async () => mustBe(call % 10 === 5 ? "-" : "+")).catch(() => {});
    }
    expect(clock.terms(Date.now()).judgedAtMs).toBeUndefined();
  });

  it("is before any, at first, for a server: it cannot know whether there was an outage", async () => {
    const clock = await clockAfter("");
    expect(clock.terms(5)).toEqual({ holder: "here", leaseTimeMs, nowMs: 5 });
    using _watch = clock.watch(async () => {});
    expect(clock.terms(5999)).toMatchObject({ judgedAtMs: 0, graceEndsAtMs: 6000 });
    expect(clock.terms(6000).judgedAtMs).toBeUndefined();
  });

  it.each([
    ["a replica that has just started", ""],
    ["one that saw an outage", "+++--+"],
  ])("is now soon after the start of %s, though its clock is set back", async (_what, answers) => {
    const clock = await clockAfter("+");
    vi.setSystemTime(50_000_000);
    using _watch = clock.watch(async () => {});
    for (const answer of answers) {
      vi.advanceTimersByTime(1000);
      await clock.asked(async () => mustBe(answer)).catch(() => {});
    }
    vi.setSystemTime(Date.now() - 7_200_000);
    expect(clock.terms(Date.now()).judgedAtMs).toBeDefined();
    vi.advanceTimersByTime(leaseTimeMs);
    await clock.asked(async () => {});
    expect(clock.terms(Date.now()).judgedAtMs).toBeUndefined();
  });

  it("is that of the last answer where the clock is set back during an outage", async () => {
    const clock = await clockAfter("+");
    vi.setSystemTime(50_000_000);
    vi.advanceTimersByTime(2 * leaseTimeMs);
    await clock.asked(async () => {});
    await clock.asked(async () => mustBe("-")).catch(() => {});
    vi.advanceTimersByTime(2 * leaseTimeMs);
    vi.setSystemTime(Date.now() - 7_200_000);
    await clock.asked(async () => {});
    expect(clock.terms(Date.now()).judgedAtMs).toBe(Date.now() - 2 * leaseTimeMs);
  });
});
