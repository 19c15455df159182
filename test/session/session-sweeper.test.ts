/**
 * Goal: a sweep deletes from a real data directory what the limits let go, all of it, and touches
 * nothing that is in use, on hold or damaged.
 */
import { chmod, cp, mkdir, readdir, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { AppError } from "../../src/lib/errors.ts";
import { borrowDataDirectory, openDataDirectory } from "../../src/session/data-directory.ts";
import type { ScanOptions } from "../../src/session/sessions.ts";
import type { RetentionLimits, StoredSession } from "../../src/session/retention.ts";
import { allSessions, findSession } from "../../src/session/session-list.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { dataPathsOf } from "../../src/session/session-paths.ts";
import { SessionSweeper, type Sweep } from "../../src/session/session-sweeper.ts";
import { until } from "../helpers/leaks.ts";
import {
  codeOf,
  NO_LIMITS,
  openSessions,
  takeTurn,
  temporaryDirectory,
  thread,
} from "./fixture.ts";

const DAY_MS = 86_400_000;
const NOW_MS = 400 * DAY_MS;
const LIMITS: RetentionLimits = { ...NO_LIMITS, maxIdleMs: 90 * DAY_MS };

async function prepare(limits: Partial<RetentionLimits> = {}) {
  const opened = await openSessions();
  const { data: directory, sessions } = opened;
  const all = { ...LIMITS, ...limits };
  const told: Sweep[] = [];
  const onSwept = (sweep: Sweep) => void told.push(sweep);
  const sweeper = new SessionSweeper({ directory, sessions, limits: all, onSwept });
  return { ...opened, sweeper, told };
}

async function touched(file: string): Promise<string> {
  await writeFile(file, "");
  return file;
}

const idsIn = async (data: string) =>
  (await allSessions(data)).records
    .map(({ threadId, tenant }) => `${tenant}/${threadId}`)
    .toSorted();

describe("SessionSweeper", () => {
  it("deletes what is due of all tenants, with all files, and the thread can begin anew", async () => {
    const { data, sessions, sweeper } = await prepare({ maxBytes: 2 ** 40 });
    const old = await takeTurn(sessions, thread("old"), NOW_MS - 91 * DAY_MS);
    await writeFile(join(old.directories.work, "made by a tool"), "x".repeat(1000));
    await takeTurn(sessions, thread("old", { tenant: "other" }), NOW_MS - 91 * DAY_MS);
    await takeTurn(sessions, thread("new"), NOW_MS - 89 * DAY_MS);

    const swept = await sweeper.sweep(NOW_MS);
    expect(swept).toMatchObject({ seen: 3, onHold: 0, unreadable: 0, skipped: 0 });
    expect(swept.swept.map(({ tenant, reason }) => `${tenant} ${reason}`).toSorted()).toEqual([
      "acme idle",
      "other idle",
    ]);
    expect(swept.swept.find(({ tenant }) => tenant === "acme")?.bytes).toBeGreaterThan(1000);
    expect(await idsIn(data)).toEqual(["acme/new"]);
    await expect(stat(old.directories.work)).rejects.toThrow("ENOENT");
    expect(await readdir(dataPathsOf(data).trash)).toEqual([]);
    // As after any deletion.
    const ref = { tenant: "acme", sessionId: old.sessionId };
    expect(await codeOf(sessions.read(ref, NOW_MS))).toBe("session_gone");
    expect((await sessions.open(thread("old"), NOW_MS)).isNew).toBe(true);
    expect(await sessions.count("acme")).toBe(2);
  });

  it("says of a dry run the same, and changes nothing", async () => {
    const { data, sessions, sweeper } = await prepare({ sessionsPerTenant: 1 });
    await takeTurn(sessions, thread("one"), NOW_MS - 2);
    await takeTurn(sessions, thread("two"), NOW_MS - 1);
    const dry = await sweeper.sweep(NOW_MS, { isDryRun: true });
    expect(await idsIn(data)).toEqual(["acme/one", "acme/two"]);
    expect(await sweeper.sweep(NOW_MS)).toEqual(dry);
    expect(await idsIn(data)).toEqual(["acme/two"]);
  });

  it("leaves alone what has a turn, also one that began while it looked", async () => {
    const { data, sessions, locks, sweeper } = await prepare();
    const { sessionId } = await takeTurn(sessions, thread("busy"), NOW_MS - 100 * DAY_MS);
    const lock = locks.lock({ tenant: "acme", sessionId });
    expect((await sweeper.sweep(NOW_MS)).swept).toEqual([]);
    lock[Symbol.dispose]();

    const seen = { tenant: "acme", sessionId, lastUseAtMs: NOW_MS - 100 * DAY_MS };
    await takeTurn(sessions, thread("busy"), NOW_MS);
    expect(await sessions.deleteUnused(seen, NOW_MS)).toBe(false);
    expect(await idsIn(data)).toEqual(["acme/busy"]);
  });

  it("counts a session as used whose last turn was cut off before its end", async () => {
    const { data, sessions, sweeper } = await prepare();
    await takeTurn(sessions, thread("cut off"), NOW_MS - 100 * DAY_MS);
    await sessions.open(thread("cut off"), NOW_MS - DAY_MS);
    expect((await sweeper.sweep(NOW_MS)).swept).toEqual([]);
    expect(await idsIn(data)).toEqual(["acme/cut off"]);
  });

  it("skips what is used between the look and the deletion, and tells what it could not delete", async () => {
    const { data, sessions } = await prepare();
    for (const name of ["a", "b", "c"]) {
      await takeTurn(sessions, thread(name), NOW_MS - 100 * DAY_MS);
    }
    const answers = ["busy", "broken"];
    const deleteUnused: typeof sessions.deleteUnused = async (seen, nowMs) => {
      const answer = answers.shift();
      if (answer === "busy") throw new AppError("session_busy", "Cannot: it is in a turn");
      if (answer === "broken") throw new Error("EIO");
      return sessions.deleteUnused(seen, nowMs);
    };
    const scan = (options: ScanOptions) => sessions.scan(options);
    const parts = { directory: data, sessions: { scan, deleteUnused }, limits: LIMITS };
    const swept = await new SessionSweeper(parts).sweep(NOW_MS);
    expect(swept).toMatchObject({ seen: 3, skipped: 1, failed: 1 });
    expect(swept.swept).toHaveLength(1);
    expect(await idsIn(data)).toHaveLength(2);
  });

  it("leaves alone a copy beside a session, and a record that speaks of another", async () => {
    const { data, sessions, sweeper } = await prepare({ sessionsPerTenant: 1 });
    const { directories } = await takeTurn(sessions, thread("one"), NOW_MS - DAY_MS);
    const directory = join(directories.work, "..");
    await cp(directory, `${directory}.bak`, { recursive: true });
    await writeFile(join(data, "tenants", "stray file"), "");
    expect(await sweeper.sweep(NOW_MS)).toMatchObject({ seen: 1, unreadable: 1, swept: [] });
  });

  it("weighs what is taken of the disk: a sparse file is light, many small ones are heavy", async () => {
    const { sessions, sweeper } = await prepare({ maxBytes: 2 ** 30 });
    const { directories } = await takeTurn(sessions, thread("sparse"), NOW_MS - DAY_MS);
    await truncate(await touched(join(directories.work, "large")), 2 ** 40);
    const { seenBytes, swept } = await sweeper.sweep(NOW_MS);
    expect(swept).toEqual([]);
    expect(seenBytes).toBeGreaterThan(16_384);
    expect(seenBytes).toBeLessThan(2 ** 20);
  });

  it("deletes what a tool made read-only", async () => {
    const { data, sessions, sweeper } = await prepare();
    const { directories } = await takeTurn(sessions, thread("old"), NOW_MS - 100 * DAY_MS);
    await mkdir(join(directories.home, "go", "mod"), { recursive: true });
    await writeFile(join(directories.home, "go", "mod", "file"), "");
    await chmod(join(directories.home, "go", "mod"), 0o555);
    expect((await sweeper.sweep(NOW_MS)).swept).toHaveLength(1);
    expect(await readdir(dataPathsOf(data).trash)).toEqual([]);
  });

  it("never deletes a session on hold, by whatever way, until it is released", async () => {
    const { data, sessions, sweeper } = await prepare();
    const { sessionId } = await takeTurn(sessions, thread("held"), NOW_MS - 100 * DAY_MS);
    const ref = { tenant: "acme", sessionId };
    await sessions.hold(ref, true, NOW_MS);
    expect(await sweeper.sweep(NOW_MS)).toMatchObject({ onHold: 1, swept: [] });
    expect(await codeOf(sessions.delete(ref, NOW_MS))).toBe("session_on_hold");
    // A turn goes on, and does not take it off.
    await takeTurn(sessions, thread("held"), NOW_MS - 99 * DAY_MS);
    expect(await sweeper.sweep(NOW_MS)).toMatchObject({ onHold: 1, swept: [] });
    await sessions.hold(ref, false, NOW_MS);
    expect((await sweeper.sweep(NOW_MS)).swept).toHaveLength(1);
    expect(await idsIn(data)).toEqual([]);
  });

  it("counts the use of a turn that was cut off also once it was on hold", async () => {
    const { sessions, sweeper } = await prepare();
    const { sessionId } = await takeTurn(sessions, thread("held"), NOW_MS - 100 * DAY_MS);
    await sessions.open(thread("held"), NOW_MS - DAY_MS);
    const ref = { tenant: "acme", sessionId };
    for (const isOnHold of [true, false]) await sessions.hold(ref, isOnHold, NOW_MS);
    expect(await sweeper.sweep(NOW_MS)).toMatchObject({ seen: 1, swept: [] });
  });

  it("keeps and counts a session whose record is damaged", async () => {
    const { data, sessions, sweeper } = await prepare();
    const { directories } = await takeTurn(sessions, thread("damaged"), NOW_MS - 100 * DAY_MS);
    await takeTurn(sessions, thread("old"), NOW_MS - 100 * DAY_MS);
    const record = join(directories.work, "..", "session.json");
    await writeFile(record, "{ half");
    const swept = await sweeper.sweep(NOW_MS);
    expect(swept).toMatchObject({ seen: 1, unreadable: 1 });
    expect(swept.swept).toHaveLength(1);
    expect((await stat(record)).isFile()).toBe(true);
    expect(await idsIn(data)).toEqual([]);
  });

  it("is one for all who ask at the same time, at the faster pace, and told once", async () => {
    const { sessions, sweeper, told } = await prepare();
    for (let at = 0; at < 40; at += 1) {
      await takeTurn(sessions, thread(`old-${at}`), NOW_MS - 100 * DAY_MS);
    }
    expect((await sweeper.sweep(NOW_MS, { signal: AbortSignal.abort() })).swept).toEqual([]);
    const slow = sweeper.sweep(NOW_MS, { loadRatio: 0.0001 });
    const quick = await sweeper.sweep(NOW_MS);
    expect(quick.swept).toHaveLength(40);
    expect(await slow).toBe(quick);
    await sweeper.sweep(NOW_MS, { isDryRun: true });
    // The one before it was over before it had begun.
    expect(told.slice(1)).toEqual([quick]);
  }, 60_000);
});

describe("a sweep beside others that delete", () => {
  it.each<readonly [string, Partial<RetentionLimits>]>([
    ["the number", { sessionsPerTenant: 3 }],
    ["the bytes of a tenant", { bytesPerTenant: 3 * 6 * 4_096 }],
    ["the bytes of all", { maxBytes: 3 * 6 * 4_096 }],
  ])("takes none that may stay by now, where the limit is of %s", async (_what, limits) => {
    const { data, sessions } = await prepare();
    for (let at = 0; at < 6; at += 1) {
      await takeTurn(sessions, thread(`t${at}`), NOW_MS - 6 + at);
    }
    let deleted = 0;
    let beganMs = Number.NaN;
    const deleteUnused: typeof sessions.deleteUnused = async (seen, nowMs) => {
      deleted += 1;
      // As slow as many files are, slower than the look was: what that saw is old then. The user makes
      // room meanwhile, and deletes what would have stayed.
      await delay(performance.now() - beganMs + 300);
      const others = deleted === 1 ? ["t3", "t4", "t5"] : [];
      for (const name of others) {
        const { sessionId } = sessionRefOf(thread(name));
        await sessions.delete({ tenant: "acme", sessionId }, nowMs);
      }
      return sessions.deleteUnused(seen, nowMs);
    };
    const scan = (options: ScanOptions) => sessions.scan(options);
    const all = { ...LIMITS, maxIdleMs: null, ...limits };
    const parts = { directory: data, sessions: { scan, deleteUnused }, limits: all };
    beganMs = performance.now();
    const { swept, seen } = await new SessionSweeper(parts).sweep(NOW_MS);
    expect(swept).toHaveLength(1);
    expect(seen).toBe(6);
    expect(await idsIn(data)).toEqual(["acme/t1", "acme/t2"]);
  });

  it("reaches its limits all the same, and tries none twice", async () => {
    const { data, sessions } = await prepare();
    for (let at = 0; at < 6; at += 1) {
      await takeTurn(sessions, thread(`t${at}`), NOW_MS - 6 + at);
    }
    const tried: string[] = [];
    const deleteUnused: typeof sessions.deleteUnused = async (seen, nowMs) => {
      tried.push(seen.sessionId);
      await delay(50);
      if (tried.length === 1) throw new Error("EIO");
      return sessions.deleteUnused(seen, nowMs);
    };
    const scan = (options: ScanOptions) => sessions.scan(options);
    const limits = { ...LIMITS, sessionsPerTenant: 2 };
    const parts = { directory: data, sessions: { scan, deleteUnused }, limits };
    const { swept, failed } = await new SessionSweeper(parts).sweep(NOW_MS);
    expect([swept.length, failed, new Set(tried).size]).toEqual([3, 1, 4]);
    expect(await idsIn(data)).toEqual(["acme/t0", "acme/t4", "acme/t5"]);
  });
});

describe("a sweep beside a server", () => {
  it("rests between its steps, and ends at once when the server stops", async () => {
    const { data, sessions } = await openSessions();
    for (let at = 0; at < 40; at += 1) {
      await takeTurn(sessions, thread(`old-${at}`), NOW_MS - 100 * DAY_MS);
    }
    const rests: Promise<string>[] = [];
    /** Work enough for the longest rest there is to follow; this one ends before that. */
    const work = async (): Promise<void> => {
      await delay(10);
      rests.push(delay(2_000, "rested"));
    };
    const deleteUnused: typeof sessions.deleteUnused = async (seen, nowMs) => {
      const isDeleted = await sessions.deleteUnused(seen, nowMs);
      await work();
      return isDeleted;
    };
    async function* scan(options: ScanOptions): ReturnType<typeof sessions.scan> {
      for await (const found of sessions.scan(options)) {
        await work();
        yield found;
      }
    }
    const parts = { directory: data, sessions: { scan, deleteUnused }, limits: LIMITS };
    const sweeper = new SessionSweeper(parts);
    const sweeping = sweeper.sweep(NOW_MS, { loadRatio: 0.0001 });
    // Without rests all would be over by then.
    await delay(1_500);
    expect((await idsIn(data)).length).toBeGreaterThan(20);
    rests.length = 0;
    await until(() => rests.length > 0, "the next rest to begin");
    const isDisposed = sweeper[Symbol.asyncDispose]().then(() => "disposed");
    expect(await Promise.race([...rests, isDisposed])).toBe("disposed");
    expect((await sweeping).swept.length).toBeLessThan(20);
    expect((await sweeper.sweep(NOW_MS)).seen).toBe(0);
  });
});

describe("findSession", () => {
  it("finds a session without its tenant, and none that is not there", async () => {
    const { data, sessions } = await prepare();
    const { sessionId } = await takeTurn(sessions, thread("x", { tenant: "far" }), NOW_MS);
    expect(await findSession(data, sessionId)).toMatchObject({ tenant: "far", threadId: "x" });
    expect(await findSession(data, sessionId.replace(/^./, "0"))).toBeUndefined();
  });
});

describe("borrowDataDirectory", () => {
  it("is refused while a server has the directory", async () => {
    const { data } = await prepare();
    expect(await codeOf(borrowDataDirectory(data, NOW_MS))).toBe("data_directory_in_use");
  });

  it("leaves the mark of a run that was killed to the next server", async () => {
    const data = join(await temporaryDirectory(), "data");
    await (await openDataDirectory(data, 1))[Symbol.asyncDispose]();
    const holder = { nonce: "n", pid: 4_000_000, startTicks: null, pidSpace: null, takenAtMs: 7 };
    await writeFile(dataPathsOf(data).lock, JSON.stringify(holder));
    await (await borrowDataDirectory(data, 2))[Symbol.asyncDispose]();
    await using server = await openDataDirectory(data, 3);
    expect(server.lastRun).toEqual({ ended: "unclean", startedAtMs: 7, pid: 4_000_000 });
  });
});

it("ends where sessions begin faster than it deletes them", async () => {
  const there: StoredSession[] = [];
  const begin = (count: number): void => {
    for (let nth = 0; nth < count; nth += 1) {
      const atMs = NOW_MS + there.length;
      const { sessionId } = sessionRefOf(thread(`${atMs}`));
      const facts = { bytes: 1, isOnHold: false, isBusy: false };
      there.push({ tenant: "acme", sessionId, createdAtMs: atMs, lastUseAtMs: atMs, ...facts });
    }
  };
  begin(6);
  const oldest = there.slice(0, 4).map(({ sessionId }) => sessionId);
  const deleted = new Set<string>();
  const sessions = {
    async *scan() {
      yield there.filter(({ sessionId }) => !deleted.has(sessionId));
      begin(5);
    },
    // Longer than a look, which is out of date after each of them then.
    async deleteUnused({ sessionId }: { readonly sessionId: string }) {
      await delay(20);
      deleted.add(sessionId);
      return true;
    },
  };
  const limits = { ...LIMITS, sessionsPerTenant: 2 };
  await using sweeper = new SessionSweeper({ directory: null, sessions, limits });
  const { swept } = await sweeper.sweep(NOW_MS);
  expect(swept.map(({ sessionId }) => sessionId)).toEqual(oldest);
});
