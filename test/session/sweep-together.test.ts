/**
 * Goal: a sweep that deletes some sessions at a time takes none more than one that deletes them one
 * after the other: whatever of them is used, held or fails meanwhile, and whoever makes room.
 */
import { statfs, writeFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { openDataDirectory } from "../../src/session/data-directory.ts";
import { FileSessions } from "../../src/session/file-sessions.ts";
import type { ScanOptions } from "../../src/session/sessions.ts";
import type { StoredSession } from "../../src/session/retention.ts";
import { allSessions } from "../../src/session/session-list.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { SessionLocks } from "../../src/session/session-locks.ts";
import { SessionSweeper } from "../../src/session/session-sweeper.ts";
import { mountTmpfs, unmount } from "../helpers/tmpfs.ts";
import {
  NO_LIMITS,
  cleanAfterTest,
  openSessions,
  takeTurn,
  temporaryDirectory,
  thread,
} from "./fixture.ts";

const DAY_MS = 86_400_000;
const NOW_MS = 400 * DAY_MS;
const OLD_MS = NOW_MS - 100 * DAY_MS;
const IDLE = { ...NO_LIMITS, maxIdleMs: 90 * DAY_MS };

const refOf = (name: string) => ({
  tenant: "acme",
  sessionId: sessionRefOf(thread(name)).sessionId,
});
const namesIn = async (data: string) =>
  (await allSessions(data)).records.map(({ threadId }) => threadId).toSorted();

describe("a sweep that deletes some at a time", () => {
  it.each([
    [undefined, 4],
    [16, 16],
  ])("begins with one, and has no more under way than it may (%s)", async (deletedAtOnce, most) => {
    const stored: StoredSession[] = Array.from({ length: 60 }, (_, at) => ({
      ...refOf(`t${at}`),
      createdAtMs: at,
      lastUseAtMs: at,
      bytes: 1,
      isOnHold: false,
      isBusy: false,
    }));
    const [seen, underWay] = [[] as number[], new Set<string>()];
    const sessions = {
      async *scan() {
        yield stored;
      },
      async deleteUnused({ sessionId }: { readonly sessionId: string }) {
        underWay.add(sessionId);
        seen.push(underWay.size);
        await delay(5);
        underWay.delete(sessionId);
        return true;
      },
    };
    const how = { ...(deletedAtOnce !== undefined && { deletedAtOnce }) };
    await using sweeper = new SessionSweeper({ directory: null, sessions, limits: IDLE, ...how });
    const { swept } = await sweeper.sweep(NOW_MS);
    // In their order, each once.
    expect(swept.map(({ sessionId }) => sessionId)).toEqual(
      stored.map(({ sessionId }) => sessionId),
    );
    expect(seen.slice(0, 3)).toEqual([1, 1, 2]);
    expect(Math.max(...seen)).toBe(most);
  });

  it("leaves those that are put on hold, used or taken while others of them go", async () => {
    const { data, sessions, locks } = await openSessions();
    const names = Array.from({ length: 12 }, (_, at) => `t${at + 10}`);
    for (const [at, name] of names.entries()) await takeTurn(sessions, thread(name), OLD_MS + at);
    let asked = 0;
    const lock = { [Symbol.dispose]() {} };
    const deleteUnused: typeof sessions.deleteUnused = async (seen, nowMs) => {
      asked += 1;
      // The second and third go together: what becomes of the third is decided while the second does.
      if (asked === 2) {
        await sessions.hold(refOf("t13"), true, nowMs);
        Object.assign(lock, locks.lock(refOf("t14")));
        await takeTurn(sessions, thread("t15"), NOW_MS);
      }
      if (seen.sessionId === refOf("t16").sessionId) throw new Error("EIO");
      return sessions.deleteUnused(seen, nowMs);
    };
    const scan = (options: ScanOptions) => sessions.scan(options);
    const parts = { directory: data, sessions: { scan, deleteUnused }, limits: IDLE };
    const swept = await new SessionSweeper(parts).sweep(NOW_MS);
    expect(swept).toMatchObject({ seen: 12, skipped: 3, failed: 1 });
    expect(swept.swept).toHaveLength(8);
    expect(await namesIn(data)).toEqual(["t13", "t14", "t15", "t16"]);
  });

  it("ends when the server stops, and what was under way is gone whole", async () => {
    const { data, sessions, reopened } = await openSessions();
    for (let at = 0; at < 12; at += 1) await takeTurn(sessions, thread(`t${at + 10}`), OLD_MS + at);
    let asked = 0;
    const deleteUnused: typeof sessions.deleteUnused = async (seen, nowMs) => {
      asked += 1;
      if (asked === 4) void sweeper[Symbol.asyncDispose]();
      return sessions.deleteUnused(seen, nowMs);
    };
    const scan = (options: ScanOptions) => sessions.scan(options);
    const parts = { directory: data, sessions: { scan, deleteUnused }, limits: IDLE };
    const sweeper = new SessionSweeper(parts);
    const { swept } = await sweeper.sweep(NOW_MS);
    // One, two, four.
    expect(swept).toHaveLength(7);
    expect(await namesIn(data)).toEqual(["t17", "t18", "t19", "t20", "t21"]);
    expect(await reopened().count("acme")).toBe(5);
  });
});

describe("a sweep of a disk of its own", () => {
  const BALLAST_BYTES = 100_000;

  async function prepare(count: number) {
    const root = await temporaryDirectory();
    if (!mountTmpfs(root, "size=64m")) return null;
    cleanAfterTest(async () => unmount(root));
    const data = join(root, "data");
    const directory = await openDataDirectory(data, 1);
    cleanAfterTest(async () => directory[Symbol.asyncDispose]());
    const locks = new SessionLocks();
    const sessions = new FileSessions({ dataDirectory: data, maxPerTenant: 100, locks });
    for (let at = 0; at < count; at += 1) {
      const { directories } = await takeTurn(sessions, thread(`t${at + 10}`), OLD_MS + at);
      await writeFile(join(directories.work, "large"), Buffer.alloc(BALLAST_BYTES));
    }
    const freeBytes = async () => {
      const { bavail, bsize } = await statfs(root);
      return bavail * bsize;
    };
    let each = 0;
    for await (const [seen] of sessions.scan({ withDiskUsage: true })) {
      if (seen !== "unreadable") each = seen?.bytes ?? 0;
    }
    return { root, data, sessions, freeBytes, each };
  }

  it("stops as soon as enough is free, whoever has made room", async ({ skip }) => {
    const there = await prepare(8);
    if (there === null) return skip("mounting a tmpfs is not allowed here");
    const { root, data, sessions, freeBytes, each } = there;
    const file = join(root, "of others");
    await writeFile(file, Buffer.alloc(3 * each));
    const keepFreeBytes = (await freeBytes()) + Math.ceil(4.5 * each);
    const deleteUnused: typeof sessions.deleteUnused = async (seen, nowMs) => {
      await rm(file, { force: true });
      return sessions.deleteUnused(seen, nowMs);
    };
    const scan = (options: ScanOptions) => sessions.scan(options);
    const limits = { ...NO_LIMITS, keepFreeBytes };
    const parts = { directory: data, sessions: { scan, deleteUnused }, limits };
    await using sweeper = new SessionSweeper(parts);
    expect((await sweeper.sweep(NOW_MS, { isDryRun: true })).swept).toHaveLength(5);
    const { swept, missingBytes } = (await sweeper.makeRoom(NOW_MS)) ?? {};
    // Three of the five are what the others took.
    expect([swept?.length, missingBytes]).toEqual([2, 0]);
    expect(await namesIn(data)).toEqual(["t12", "t13", "t14", "t15", "t16", "t17"]);
    expect(await freeBytes()).toBeGreaterThanOrEqual(keepFreeBytes);
    expect(await sweeper.makeRoom(NOW_MS)).toBeNull();
  });

  it("hurries where the disk is about to be full, and only while sessions can make room", async ({
    skip,
  }) => {
    const there = await prepare(40);
    if (there === null) return skip("mounting a tmpfs is not allowed here");
    const { root, data, sessions, freeBytes, each } = there;
    const othersBytes = (await freeBytes()) - 10 * each;
    await writeFile(join(root, "of others"), Buffer.alloc(othersBytes));
    const keepFreeBytes = (await freeBytes()) + 30 * each;
    const limits = { ...NO_LIMITS, keepFreeBytes };
    await using sweeper = new SessionSweeper({ directory: data, sessions, limits });
    // At that pace it would rest for two seconds after each step, and has a dozen of them.
    const slow = { loadRatio: 0.0001 };
    const sweep = await Promise.race([
      sweeper.makeRoom(NOW_MS, slow),
      delay(12_000, "still at it"),
    ]);
    expect(sweep).toMatchObject({ failed: 0, missingBytes: 0 });
    expect(await namesIn(data)).toHaveLength(10);

    const hopeless = { ...NO_LIMITS, maxIdleMs: 90 * DAY_MS, keepFreeBytes: 2 ** 40 };
    const more = new SessionSweeper({ directory: data, sessions, limits: hopeless });
    const sweeping = more.sweep(NOW_MS, slow);
    await delay(1_000);
    expect((await namesIn(data)).length).toBeGreaterThan(0);
    await more[Symbol.asyncDispose]();
    expect((await sweeping).swept.length).toBeLessThan(10);
  }, 30_000);

  it("makes no room where no limit asks for it", async () => {
    const { data, sessions } = await openSessions();
    await takeTurn(sessions, thread("old"), OLD_MS);
    await using sweeper = new SessionSweeper({ directory: data, sessions, limits: IDLE });
    expect(await sweeper.makeRoom(NOW_MS)).toBeNull();
    expect(await namesIn(data)).toEqual(["old"]);
  });
});
