/**
 * Goal: a sweep of a replica that shares its sessions tells what went and what is missing, whatever
 * of it fails, and ends when the replica stops.
 * Method: the sessions as a server opens them, on a store that is a directory.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { openSessions, type OpenSessionsOptions } from "../../src/server/open-sessions.ts";
import { openDataDirectory } from "../../src/session/data-directory.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { dataPathsOf, sessionPathsOf } from "../../src/session/session-paths.ts";
import { OBJECT_MARK } from "../../src/session/stores/file-object-list.ts";
import { goneNameOf, headNameOf, ownerOf } from "../../src/session/stores/names.ts";
import { cleanAfterTest, codeOf, temporaryDirectory, thread } from "../session/fixture.ts";

const DAY_MS = 86_400_000;

interface Options {
  readonly keepFreeBytes?: number;
  readonly copiesBytes?: number;
  /** Of another replica. */
  readonly store?: string;
}

async function open({ keepFreeBytes, copiesBytes = 2 ** 40, store: shared }: Options = {}) {
  const root = await temporaryDirectory();
  const [data, store] = [join(root, "data"), shared ?? join(root, "store")];
  await mkdir(store, { recursive: true });
  const directory = await openDataDirectory(data, 1);
  cleanAfterTest(async () => directory[Symbol.asyncDispose]());
  const lines: string[] = [];
  const write = (_facts: unknown, text: string) => void lines.push(text);
  const log = { info: write, warn: write, error: write, debug: write };
  const limits = { maxAgeMs: null, sessionsPerTenant: null, bytesPerTenant: null, maxBytes: null };
  const opened = await openSessions({
    config: {
      sessions: {
        store: pathToFileURL(store),
        storeTimeoutMs: 5_000,
        leaseTimeMs: 30_000,
        maxPerTenant: 100,
        outboxBytes: 2 ** 20,
        copiesBytes,
      },
      retention: { ...limits, maxIdleMs: 30 * DAY_MS, keepFreeBytes: keepFreeBytes ?? null },
    } as unknown as Config,
    data: directory,
    telemetry: {
      log,
      metrics: { sessionExpired: () => {}, storeNotice: () => {} },
    } as unknown as OpenSessionsOptions["telemetry"],
    single: null,
    kept: { residents: { endOf: async () => {} } } as unknown as OpenSessionsOptions["kept"],
    forgetTurns: () => {},
  });
  cleanAfterTest(async () => opened[Symbol.asyncDispose]());
  return { ...opened, data, store, lines };
}

describe("a sweep of sessions that are shared", () => {
  it("tells what went although the rest of it fails", async () => {
    const { sessions, sweeper, store, data, lines } = await open();
    {
      await using _claim = await sessions.claim(thread("t"), Date.now());
    }
    // Of a session that was deleted long ago, and cannot be read.
    const key = { owner: ownerOf("tenant", "acme"), sessionId: randomUUID() };
    await mkdir(join(store, "objects", goneNameOf(key, 5) + OBJECT_MARK), { recursive: true });
    const head = join(store, "objects", headNameOf(key) + OBJECT_MARK);
    await mkdir(dirname(head), { recursive: true });
    await symlink(head, head);
    const swept = await sweeper.sweep(Date.now() + 31 * DAY_MS);
    expect(swept).toMatchObject({ seen: 1, failed: 0 });
    expect(swept.swept).toHaveLength(1);
    expect(lines).toContain("Cannot forget sessions that were deleted");

    const { tenants } = dataPathsOf(data);
    await rm(tenants, { recursive: true });
    await symlink(tenants, tenants);
    expect(await sweeper.sweep(Date.now())).toMatchObject({ seen: 0, missingBytes: 0 });
    expect(lines).toContain("Cannot look for copies of sessions that have to go");
  });

  it("lets copies go that are due while the store is away", async () => {
    const { sessions, sweeper, store, data } = await open();
    const input = thread("t");
    const ref = sessionRefOf(input);
    {
      await using _claim = await sessions.claim(input, Date.now());
      await sessions.open(input, Date.now());
      await sessions.finish(ref, { totals: null, endedAtMs: Date.now() });
    }
    const { directory } = sessionPathsOf(data, ref);
    expect((await stat(directory)).isDirectory()).toBe(true);
    await rename(store, `${store}.away`);
    expect(await codeOf(sweeper.sweep(Date.now() + 31 * DAY_MS))).toBe("store_unavailable");
    await expect(stat(directory)).rejects.toThrow("ENOENT");
    await rename(`${store}.away`, store);
    expect(await sweeper.sweep(Date.now())).toMatchObject({ seen: 1, swept: [] });
  });

  it("takes no copy of a session that is on hold, wherever that was said", async () => {
    const one = await open();
    const two = await open({ store: one.store });
    const input = thread("t");
    const ref = sessionRefOf(input);
    {
      await using _claim = await one.sessions.claim(input, Date.now());
      const { directories } = await one.sessions.open(input, Date.now());
      await writeFile(join(directories.work, "report"), "made by a tool");
      await one.sessions.finish(ref, { totals: null, endedAtMs: Date.now() });
    }
    const { work } = sessionPathsOf(one.data, ref);
    const isThere = async () => (await readdir(work).catch(() => [""])).includes("report");
    await two.sessions.hold(ref, true, Date.now());
    const later = Date.now() + 31 * DAY_MS;
    expect(await one.sweeper.sweep(later)).toMatchObject({ onHold: 1, swept: [], failed: 0 });
    expect(await isThere()).toBe(true);
    // By now it knows of that by itself.
    await rename(one.store, `${one.store}.away`);
    expect(await codeOf(one.sweeper.sweep(later))).toBe("store_unavailable");
    expect(await isThere()).toBe(true);
    await rename(`${one.store}.away`, one.store);
    await two.sessions.hold(ref, false, Date.now());
    await one.sweeper.sweep(Date.now());
    expect(await isThere()).toBe(true);
    expect((await one.sweeper.sweep(later)).swept).toHaveLength(1);
    expect(await isThere()).toBe(false);
  });

  it("drops the copy of a session that another replica has deleted", async () => {
    const one = await open();
    const two = await open({ store: one.store });
    const input = thread("t");
    const ref = sessionRefOf(input);
    {
      await using _claim = await one.sessions.claim(input, Date.now());
      await one.sessions.open(input, Date.now());
      await one.sessions.finish(ref, { totals: null, endedAtMs: Date.now() });
    }
    const { directory } = sessionPathsOf(one.data, ref);
    await one.sweeper.sweep(Date.now());
    expect((await stat(directory)).isDirectory()).toBe(true);
    await two.sessions.delete(ref, Date.now());
    await one.sweeper.sweep(Date.now(), { isDryRun: true });
    expect((await stat(directory)).isDirectory()).toBe(true);
    await one.sweeper.sweep(Date.now());
    await expect(stat(directory)).rejects.toThrow("ENOENT");
  });

  it("makes room by copies alone, and only where too little of the disk is free", async () => {
    const full = await open({ keepFreeBytes: 2 ** 60 });
    const roomy = await open({ keepFreeBytes: 1, store: full.store });
    const input = thread("t");
    const ref = sessionRefOf(input);
    {
      await using _claim = await full.sessions.claim(input, Date.now());
      await full.sessions.open(input, Date.now());
      await full.sessions.finish(ref, { totals: null, endedAtMs: Date.now() });
    }
    const later = Date.now() + 31 * DAY_MS;
    expect(await roomy.sweeper.makeRoom(later)).toBeNull();
    const { directory } = sessionPathsOf(full.data, ref);
    expect((await stat(directory)).isDirectory()).toBe(true);
    // The copy was idle for so long, and so was the session.
    expect((await full.sweeper.makeRoom(later))?.swept).toHaveLength(1);
    await expect(stat(directory)).rejects.toThrow("ENOENT");
    expect(await full.sessions.read(ref, later)).toMatchObject({ threadId: "t" });
  });

  const MIB = 2 ** 20;

  /** A turn that leaves files of so many bytes in `work/`. @returns Whether the copy is there. */
  async function takeTurn(
    { sessions, locks, data }: Awaited<ReturnType<typeof open>>,
    threadId: string,
    { bytes, endedAtMs = Date.now() }: { readonly bytes: number; readonly endedAtMs?: number },
  ) {
    const input = thread(threadId);
    const ref = sessionRefOf(input);
    using _lock = locks.lock(ref);
    await using _claim = await sessions.claim(input, endedAtMs);
    const { directories } = await sessions.open(input, endedAtMs);
    await writeFile(join(directories.work, "file"), Buffer.alloc(bytes, "x"));
    await sessions.finish(ref, { totals: null, endedAtMs });
    const { work } = sessionPathsOf(data, ref);
    return async () => (await readdir(work).catch((): string[] => [])).includes("file");
  }

  it("holds copies to what they may take, those first that were used the longest ago", async () => {
    const replica = await open({ copiesBytes: 4 * MIB });
    const { sweeper, sessions, locks } = replica;
    const nowMs = Date.now();
    const old = await takeTurn(replica, "old", { bytes: MIB, endedAtMs: nowMs - 3_000 });
    const middle = await takeTurn(replica, "middle", { bytes: MIB, endedAtMs: nowMs - 2_000 });
    const recent = await takeTurn(replica, "new", { bytes: MIB, endedAtMs: nowMs - 1_000 });
    // The first look at all of them; from then on only at what has changed.
    await sweeper.makeRoom(nowMs);
    expect(await sweeper.makeRoom(nowMs)).toBeNull();
    expect([await old(), await middle(), await recent()]).toEqual([true, true, true]);

    // The one that is used the longest ago is in a turn, whose tool writes two MiB and more.
    const input = thread("old");
    {
      using _lock = locks.lock(sessionRefOf(input));
      await using _claim = await sessions.claim(input, nowMs - 3_000);
      const { directories } = await sessions.open(input, nowMs - 3_000);
      expect(await sweeper.makeRoom(nowMs)).toBeNull();
      await writeFile(join(directories.work, "more"), Buffer.alloc(1.5 * MIB, "x"));
      expect((await sweeper.makeRoom(nowMs))?.swept).toMatchObject([{ reason: "total_bytes" }]);
      expect([await old(), await middle(), await recent()]).toEqual([true, false, true]);
      expect(await sweeper.makeRoom(nowMs)).toBeNull();
    }
    // What went can be made again.
    expect(await sessions.read(sessionRefOf(thread("middle")), nowMs)).toMatchObject({
      threadId: "middle",
    });
  });

  it("leaves copies alone that hold a turn the store has not heard of, and counts them not", async () => {
    const replica = await open({ copiesBytes: 2 * MIB });
    const { sessions, sweeper, locks, store } = replica;
    const other = await takeTurn(replica, "other", { bytes: MIB });
    const input = thread("t");
    const ref = sessionRefOf(input);
    {
      using _lock = locks.lock(ref);
      await using _claim = await sessions.claim(input, Date.now());
      const { directories } = await sessions.open(input, Date.now());
      await writeFile(join(directories.work, "file"), Buffer.alloc(3 * MIB, "x"));
      await rename(store, `${store}.away`);
      await sessions.finish(ref, { totals: null, endedAtMs: Date.now() - 60_000 });
    }
    await sweeper.makeRoom(Date.now());
    expect(await sweeper.makeRoom(Date.now())).toBeNull();
    expect(await other()).toBe(true);
    await rename(`${store}.away`, store);
    // Whoever asks what became of a turn has the store hear of it.
    await sessions.keptTurn(ref, "helper", { hash: "none" });
    expect((await sweeper.makeRoom(Date.now()))?.swept).toHaveLength(1);
    expect(await other()).toBe(true);
  });

  it("tells by how much the disk of the copies is too full", async () => {
    const { sweeper } = await open({ keepFreeBytes: 2 ** 60 });
    expect(await sweeper.sweep(Date.now())).toMatchObject({ swept: [] });
    expect((await sweeper.sweep(Date.now())).missingBytes).toBeGreaterThan(2 ** 59);
    expect((await sweeper.sweep(Date.now(), { isDryRun: true })).missingBytes).toBeGreaterThan(0);
  });
});
