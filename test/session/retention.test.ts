/**
 * Goal: what has to go goes, oldest first, and nothing else does.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  planSweep,
  type RetentionLimits,
  type StoredSession,
} from "../../src/session/retention.ts";
import { NO_LIMITS } from "./fixture.ts";

const NOW_MS = 1_000_000;

function stored(sessionId: string, more: Partial<StoredSession> = {}): StoredSession {
  const times = { createdAtMs: 0, lastUseAtMs: NOW_MS };
  return { tenant: "a", sessionId, ...times, bytes: 10, isOnHold: false, isBusy: false, ...more };
}

function reasons(
  sessions: readonly StoredSession[],
  limits: Partial<RetentionLimits>,
  freeBytes: number | null = null,
): string[] {
  const around = { nowMs: NOW_MS, freeBytes };
  return planSweep(sessions, { ...NO_LIMITS, ...limits }, around).expired.map(
    ({ session, reason }) => `${session.sessionId} ${reason}`,
  );
}

describe("planSweep", () => {
  it("lets nothing go without a limit", () => {
    expect(reasons([stored("x", { lastUseAtMs: 0 })], {})).toEqual([]);
  });

  it("goes by age and by idle time, to the millisecond", () => {
    const sessions = [
      stored("at", { createdAtMs: NOW_MS - 100, lastUseAtMs: NOW_MS - 50 }),
      stored("old", { createdAtMs: NOW_MS - 101, lastUseAtMs: NOW_MS - 50 }),
      stored("idle", { createdAtMs: NOW_MS - 100, lastUseAtMs: NOW_MS - 51 }),
    ];
    expect(reasons(sessions, { maxAgeMs: 100, maxIdleMs: 50 })).toEqual(["idle idle", "old age"]);
  });

  it("takes from each tenant what it has too many of, the longest idle first", () => {
    const sessions = [
      stored("new", { lastUseAtMs: 30 }),
      stored("old", { lastUseAtMs: 10 }),
      stored("mid", { lastUseAtMs: 20, bytes: 100 }),
      stored("other", { tenant: "b", lastUseAtMs: 5 }),
    ];
    expect(reasons(sessions, { sessionsPerTenant: 2 })).toEqual(["old tenant_sessions"]);
    expect(reasons(sessions, { bytesPerTenant: 100 })).toEqual([
      "old tenant_bytes",
      "mid tenant_bytes",
    ]);
  });

  it("counts what is busy or on hold, and takes another for it", () => {
    const sessions = [
      stored("held", { lastUseAtMs: 1, isOnHold: true }),
      stored("busy", { lastUseAtMs: 2, isBusy: true }),
      stored("free", { lastUseAtMs: 3 }),
    ];
    expect(reasons(sessions, { maxBytes: 20 })).toEqual(["free total_bytes"]);
    expect(reasons(sessions, { maxIdleMs: 1, sessionsPerTenant: 1 })).toEqual(["free idle"]);
  });

  it("takes what may be all that is left by its time alone, and others to make room", () => {
    const sessions = [
      stored("last", { lastUseAtMs: 1, goesByTimeAlone: true }),
      stored("copy", { lastUseAtMs: 2 }),
    ];
    const plan = planSweep(
      sessions,
      { ...NO_LIMITS, keepFreeBytes: 10 },
      { nowMs: 9, freeBytes: 0 },
    );
    expect(plan.expired.map(({ session }) => session.sessionId)).toEqual(["copy"]);
    const short = planSweep(
      sessions,
      { ...NO_LIMITS, keepFreeBytes: 15 },
      { nowMs: 9, freeBytes: 0 },
    );
    expect(short).toEqual({ expired: [], missingBytes: 5 });
    expect(reasons(sessions, { maxIdleMs: NOW_MS - 2 })).toEqual(["last idle"]);
  });

  it("frees so much of the disk as is missing, what goes anyway included", () => {
    const sessions = [
      stored("idle", { lastUseAtMs: 0 }),
      stored("one", { lastUseAtMs: NOW_MS - 2 }),
      stored("two", { lastUseAtMs: NOW_MS - 1 }),
    ];
    const limits = { maxIdleMs: 1000, keepFreeBytes: 100 };
    expect(reasons(sessions, limits, 90)).toEqual(["idle idle"]);
    expect(reasons(sessions, limits, 85)).toEqual(["idle idle", "one disk"]);
    expect(reasons(sessions, limits, null)).toEqual(["idle idle"]);
  });

  it("takes nothing for a disk that others fill, and says what is missing", () => {
    const sessions = [stored("one"), stored("held", { isOnHold: true })];
    const limits = { ...NO_LIMITS, keepFreeBytes: 100 };
    const around = { nowMs: NOW_MS, freeBytes: 85 };
    expect(planSweep(sessions, limits, around)).toEqual({ expired: [], missingBytes: 5 });
    expect(reasons(sessions, limits, 90)).toEqual(["one disk"]);
  });

  it("goes from the oldest on until the limit holds, though a later one alone might do", () => {
    const sizes = [10, 100, 90];
    const sessions = sizes.map((bytes, at) => stored(`s${at}`, { bytes, lastUseAtMs: at }));
    expect(reasons(sessions, { maxBytes: 100 })).toEqual(["s0 total_bytes", "s1 total_bytes"]);
  });

  const arbitrary = fc.array(
    fc.record({
      tenant: fc.constantFrom("a", "b"),
      createdAtMs: fc.integer({ min: 0, max: 900 }),
      lastUseAtMs: fc.integer({ min: 900, max: NOW_MS }),
      bytes: fc.integer({ min: 0, max: 100 }),
      isOnHold: fc.boolean(),
      isBusy: fc.boolean(),
    }),
    { maxLength: 30 },
  );
  const limit = (most: number) => fc.option(fc.integer({ min: 1, max: most }), { nil: null });
  const limitsOf = fc.record({
    maxAgeMs: limit(NOW_MS),
    maxIdleMs: limit(NOW_MS),
    sessionsPerTenant: limit(10),
    bytesPerTenant: limit(500),
    maxBytes: limit(1000),
    keepFreeBytes: limit(2000),
  });

  it("keeps every limit, takes none in use, and none that could have stayed", () => {
    fc.assert(
      fc.property(arbitrary, limitsOf, fc.nat(2000), (drawn, limits, freeBytes) => {
        const sessions = drawn.map((each, at) => ({ ...each, sessionId: `s${at}` }));
        const plan = planSweep(sessions, limits, { nowMs: NOW_MS, freeBytes });
        const { expired } = plan;
        const gone = new Set(expired.map(({ session }) => session));
        expect(gone.size).toBe(expired.length);
        expect([...gone].some(({ isOnHold, isBusy }) => isOnHold || isBusy)).toBe(false);

        const crossed = (left: readonly StoredSession[]) =>
          crossedBy(left, sessions, limits, freeBytes);
        const kept = sessions.filter((session) => !gone.has(session));
        const stuck = kept.filter(({ isOnHold, isBusy }) => isOnHold || isBusy);
        // What is still crossed is crossed by what may not go.
        for (const name of crossed(kept)) {
          if (name === "all disk" && plan.missingBytes > 0) continue;
          const mayGo = kept.filter((each) => !stuck.includes(each) && concerns(name, each));
          expect(mayGo, name).toEqual([]);
        }
        // The last of all goes for a limit that its staying would cross.
        const last = expired.at(-1);
        if (last !== undefined) expect(crossed([...kept, last.session])).not.toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});

/** Names of the limits that these sessions cross, `a bytes` for those of a tenant. */
function crossedBy(
  left: readonly StoredSession[],
  all: readonly StoredSession[],
  limits: RetentionLimits,
  freeBytes: number,
): string[] {
  const over = (size: number, most: number | null) => most !== null && size > most;
  const bytes = (sessions: readonly StoredSession[]) =>
    sessions.reduce((sum, each) => sum + each.bytes, 0);
  const names = left.flatMap((each) => [
    ...(over(NOW_MS - each.createdAtMs, limits.maxAgeMs) ? [`${each.sessionId} age`] : []),
    ...(over(NOW_MS - each.lastUseAtMs, limits.maxIdleMs) ? [`${each.sessionId} idle`] : []),
  ]);
  for (const tenant of ["a", "b"]) {
    const own = left.filter((each) => each.tenant === tenant);
    if (over(own.length, limits.sessionsPerTenant)) names.push(`${tenant} count`);
    if (over(bytes(own), limits.bytesPerTenant)) names.push(`${tenant} bytes`);
  }
  if (over(bytes(left), limits.maxBytes)) names.push("all bytes");
  const free = freeBytes + bytes(all) - bytes(left);
  if (limits.keepFreeBytes !== null && free < limits.keepFreeBytes) names.push("all disk");
  return names;
}

/** Whether letting it go would help; one of no bytes frees none. */
function concerns(name: string, session: StoredSession): boolean {
  const [whose, what] = name.split(" ");
  if (what === "age" || what === "idle") return session.sessionId === whose;
  if (whose !== "all" && session.tenant !== whose) return false;
  return what === "count" || session.bytes > 0;
}
