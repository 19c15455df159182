/**
 * Goal: a full or read-only disk is told apart from a bug, and loses nothing that was kept.
 * Method: real tiny file systems, where this process may mount them.
 */

import { execFileSync } from "node:child_process";
import { readdir, rm, statfs, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { describe, expect, it } from "vitest";

import { openDataDirectory } from "../../src/session/data-directory.ts";
import { FileSessions } from "../../src/session/file-sessions.ts";
import { SessionLocks } from "../../src/session/session-locks.ts";
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
