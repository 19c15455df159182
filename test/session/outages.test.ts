/**
 * Goal: no outage of the store, however long, costs a turn that was acknowledged; and none keeps the
 * session of a dead replica from the others for longer than the time of a lease.
 * Method: replicas over a store in memory, with a clock that is set forward.
 */

import { setTimeout as delay } from "node:timers/promises";

import { describe, expect, it, vi } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { LeaseClock } from "../../src/session/lease-clock.ts";
import { cleanAfterTest, codeOf, errorOf, thread, threadWithHistory } from "./fixture.ts";
import { begin, endDuringOutage, LEASE_MS, replica, replicas, takeTurn } from "./replicas.ts";

/** What the replicas do in each of these is done before the next one. */
const STEP_MS = LEASE_MS / 12;

/** @returns What lets time pass for leases, and for nothing else. */
function leaseTime(): (ms: number) => Promise<void> {
  vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval"] });
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

describe("the time by which leases are judged", () => {
  const leaseTimeMs = 6000;

  /** @returns A clock that was told of these answers of the store, a second apart, from 1000 on. */
  async function clockAfter(answers: string): Promise<LeaseClock> {
    vi.useFakeTimers({ toFake: ["Date"], now: 0 });
    cleanAfterTest(async () => void vi.useRealTimers());
    const clock = new LeaseClock("here", leaseTimeMs);
    for (const answer of answers) {
      vi.setSystemTime(Date.now() + 1000);
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
      vi.setSystemTime(Date.now() + 100);
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
});
