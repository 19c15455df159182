/**
 * Goal: a full or read-only disk is told apart from a bug, and loses nothing that was kept.
 * Method: real tiny file systems, where this process may mount them, and a Redis that takes no more.
 */

import { execFileSync } from "node:child_process";
import { readdir, rm, statfs, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

import { Redis } from "ioredis";
import { describe, expect, it } from "vitest";

import { openDataDirectory } from "../../src/session/data-directory.ts";
import { FileSessions } from "../../src/session/file-sessions.ts";
import { SessionLocks } from "../../src/session/session-locks.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { INDEX, ownerOf, prefixOf } from "../../src/session/stores/names.ts";
import { openObjectStore } from "../../src/session/stores/open-object-store.ts";
import { hasRedis, startRedis } from "../helpers/redis-server.ts";
import { mountTmpfs, unmount } from "../helpers/tmpfs.ts";
import {
  TOTALS,
  cleanAfterTest,
  codeOf,
  errorOf,
  takeTurn,
  temporaryDirectory,
  thread,
  userLine,
  writeTranscript,
} from "./fixture.ts";
import { begin, replica, takeTurn as takeTurnAt } from "./replicas.ts";

function mounted(path: string, options: string): boolean {
  if (!mountTmpfs(path, options)) return false;
  cleanAfterTest(async () => {
    unmount(path);
    await Promise.resolve();
  });
  return true;
}

describe("sessions on a full disk", () => {
  it("say storage_full, name no path, and go on once there is space", async ({ skip }) => {
    const data = await temporaryDirectory();
    if (!mounted(data, "size=64k")) skip("mounting a tmpfs is not allowed here");
    const directory = await openDataDirectory(data, 1);
    cleanAfterTest(async () => directory[Symbol.asyncDispose]());
    const sessions = new FileSessions({
      dataDirectory: data,
      maxPerTenant: 10,
      locks: new SessionLocks(),
    });
    const { sessionId } = await takeTurn(sessions, thread("kept"), 5);
    const ref = { tenant: "acme", sessionId };
    const ballast = join(data, "ballast");
    await expect(writeFile(ballast, Buffer.alloc(128 * 1024))).rejects.toThrow("ENOSPC");

    const errors = [
      await errorOf(sessions.open(thread("new"), 6)),
      await errorOf(sessions.finish(ref, { totals: TOTALS, endedAtMs: 6 })),
    ];
    for (const error of errors) {
      expect(error.code).toBe("storage_full");
      expect(error.message).not.toContain(data);
    }
    expect(await sessions.read(ref, 6)).toMatchObject({ turns: 1, lastTurnAtMs: 5 });
    expect(await sessions.count("acme")).toBe(1);

    await rm(ballast);
    expect(await sessions.open(thread("new"), 7)).toMatchObject({ isNew: true });
    await sessions.finish(ref, { totals: TOTALS, endedAtMs: 7 });
    expect(await sessions.count("acme")).toBe(2);
  });

  it("shorten a transcript once there is space, and take none for it until then", async ({
    skip,
  }) => {
    const data = await temporaryDirectory();
    if (!mounted(data, "size=600k")) skip("mounting a tmpfs is not allowed here");
    const directory = await openDataDirectory(data, 1);
    cleanAfterTest(async () => directory[Symbol.asyncDispose]());
    const options = { dataDirectory: data, maxPerTenant: 10, locks: new SessionLocks() };
    const sessions = new FileSessions(options);
    const session = await sessions.open(thread("t"), 5);
    const lines = Array.from({ length: 30 }, (_, at) => userLine("x".repeat(10_000), `u${at}`));
    const path = await writeTranscript(session, lines.join(""));
    const ref = { tenant: "acme", sessionId: session.sessionId };
    await sessions.finish(ref, { totals: TOTALS, endedAtMs: 6 });
    const transcript = { maxBytes: 200_000, whenFull: "shorten" } as const;
    const files = async () => (await readdir(dirname(path), { recursive: true })).sort();
    const before = await statfs(data);
    // Enough for nothing, for the draft, and for some of what is dropped.
    for (const sizeKiB of [320, 450, 500, 550, 600]) {
      execFileSync("mount", ["-o", `remount,size=${sizeKiB}k`, data]);
      expect(await codeOf(sessions.open(thread("t"), 7, { transcript }))).toBe("storage_full");
      expect((await files()).filter((name) => name.endsWith(".shortened"))).toEqual([]);
    }
    const { bfree } = await statfs(data);
    expect((before.bfree - bfree) * before.bsize).toBeLessThan(16 * 1024);
    execFileSync("mount", ["-o", "remount,size=4m", data]);
    const { shortened } = await sessions.open(thread("t"), 8, { transcript });
    expect(shortened).toMatchObject({ at: "question" });
    let exported = "";
    for await (const chunk of await sessions.exported(ref, 9)) exported += chunk.toString();
    const ids = exported
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { uuid: string }).uuid);
    expect(ids).toEqual(lines.map((_, at) => `u${at}`));
  });

  it("can be emptied: deleting needs no space", async ({ skip }) => {
    const data = await temporaryDirectory();
    if (!mounted(data, "size=64k")) skip("mounting a tmpfs is not allowed here");
    const directory = await openDataDirectory(data, 1);
    cleanAfterTest(async () => directory[Symbol.asyncDispose]());
    const options = { dataDirectory: data, maxPerTenant: 10, locks: new SessionLocks() };
    const sessions = new FileSessions(options);
    const { sessionId, directories } = await takeTurn(sessions, thread("large"), 5);
    await expect(
      writeFile(join(directories.work, "large"), Buffer.alloc(128 * 1024)),
    ).rejects.toThrow("ENOSPC");
    const { bytes } = await sessions.delete({ tenant: "acme", sessionId }, 6);
    expect(bytes).toBeGreaterThan(16 * 1024);
    expect(await sessions.open(thread("new"), 7)).toMatchObject({ isNew: true });
  });
});

/** @returns Has it full, so that it takes nothing, or not. */
async function fileStore(): Promise<FullStore | null> {
  const directory = await temporaryDirectory();
  if (!mounted(directory, "size=8m")) return null;
  const ballast = join(directory, "ballast");
  const setFull = async (isFull: boolean): Promise<void> => {
    await rm(ballast, { force: true });
    if (isFull) await expect(writeFile(ballast, Buffer.alloc(2 ** 24))).rejects.toThrow("ENOSPC");
  };
  return { url: pathToFileURL(directory), setFull };
}

async function redisStore(): Promise<FullStore | null> {
  if (!hasRedis()) return null;
  const server = await startRedis({ args: ["--maxmemory-policy", "noeviction"] });
  cleanAfterTest(async () => server[Symbol.asyncDispose]());
  const client = new Redis(server.url);
  cleanAfterTest(async () => client.disconnect());
  const setFull = async (isFull: boolean): Promise<void> =>
    void (await client.config("SET", "maxmemory", isFull ? 1 : 0));
  return { url: new URL(server.url), setFull };
}

interface FullStore {
  readonly url: URL;
  readonly setFull: (isFull: boolean) => Promise<void>;
}

describe.each([
  ["files", fileStore],
  ["Redis", redisStore],
])("a store of %s that is full", (_kind, make) => {
  it("says so, and can be emptied: deleting needs no space", async ({ skip }) => {
    const made = await make();
    if (made === null) return skip("there is none here");
    const { url, setFull } = made;
    const opened = async () => {
      const store = await openObjectStore({ url, timeoutMs: 60_000 });
      cleanAfterTest(async () => store[Symbol.asyncDispose]());
      return store;
    };
    const one = await replica("one", await opened());
    for (const each of ["a", "b"]) await takeTurnAt(one, thread(each), "x".repeat(20_000));
    await setFull(true);
    // As a command does.
    const store = await opened();
    const at = await replica("two", store);
    const refused = await errorOf(begin(at, thread("c")));
    expect(refused.code).toBe("store_unavailable");
    expect(refused.message).toContain("no space is left");
    for (const each of ["a", "b"]) {
      const ref = sessionRefOf(thread(each));
      expect((await at.sessions.delete(ref, Date.now())).bytes).toBeGreaterThan(20_000);
      expect(await codeOf(at.sessions.read(ref, Date.now()))).toBe("session_gone");
      // Its head alone.
      const prefix = prefixOf({ owner: ownerOf("tenant", "acme"), sessionId: ref.sessionId });
      expect(await store.list({ prefix, limit: 9 })).toHaveLength(1);
      expect((await store.list({ prefix: INDEX, limit: 9 })).join()).not.toContain(ref.sessionId);
    }
    await setFull(false);
    expect(await takeTurnAt(at, thread("a"), "anew")).toEqual([]);
  });
});

describe("sessions on a read-only disk", () => {
  it("say storage_failed", async ({ skip }) => {
    const data = await temporaryDirectory();
    if (!mounted(data, "size=256k")) skip("mounting a tmpfs is not allowed here");
    const directory = await openDataDirectory(data, 1);
    const options = { dataDirectory: data, maxPerTenant: 10, locks: new SessionLocks() };
    const sessions = new FileSessions(options);
    const { sessionId } = await takeTurn(sessions, thread("kept"), 5);
    execFileSync("mount", ["-o", "remount,ro", data]);
    const ref = { tenant: "acme", sessionId };
    expect(await codeOf(sessions.open(thread("new"), 6))).toBe("storage_failed");
    expect(await codeOf(sessions.finish(ref, { totals: TOTALS, endedAtMs: 6 }))).toBe(
      "storage_failed",
    );
    expect(await codeOf(sessions.delete(ref, 6))).toBe("storage_failed");
    expect(await sessions.read(ref, 6)).toMatchObject({ turns: 1 });
    expect(await sessions.count("acme")).toBe(1);
    const closed = (async () => directory[Symbol.asyncDispose]())();
    expect(await codeOf(closed)).toBe("storage_failed");
  });
});
