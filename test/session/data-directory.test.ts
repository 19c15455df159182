import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "vitest";

import { openDataDirectory } from "../../src/session/data-directory.ts";
import type { DataDirectory } from "../../src/session/data-directory.ts";
import { OBSERVATION_MS } from "../../src/session/directory-lock.ts";
import { cleanAfterTest, codeOf, errorOf, temporaryDirectory } from "./fixture.ts";

const HOLDER = fileURLToPath(new URL("./hold-data-directory.ts", import.meta.url));

/** A real process that holds the directory until it is killed or its stdin ends. */
async function holdElsewhere(
  path: string,
): Promise<{ pid: number; kill: () => Promise<void>; end: () => Promise<void> }> {
  const child = spawn(process.execPath, ["--import", "jiti/register", HOLDER, path], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await exit;
  };
  cleanAfterTest(kill);
  const held = once(child.stdout, "data");
  await Promise.race([
    held,
    exit.then(() => Promise.reject(new Error("The holder ended before it held the directory"))),
  ]);
  const end = async (): Promise<void> => {
    child.stdin.end();
    await exit;
  };
  return { pid: child.pid ?? 0, kill, end };
}

async function dataPath(): Promise<string> {
  return join(await temporaryDirectory(), "nested", "data");
}

async function openUntilEnd(path: string, nowMs = 9): Promise<DataDirectory> {
  const directory = await openDataDirectory(path, nowMs);
  cleanAfterTest(async () => directory[Symbol.asyncDispose]());
  return directory;
}

describe("openDataDirectory", () => {
  it("makes a private directory, and knows how the run before ended", async () => {
    const path = await dataPath();
    const first = await openDataDirectory(path, 1);
    expect(first.lastRun).toEqual({ ended: "first" });
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    await first[Symbol.asyncDispose]();
    const second = await openUntilEnd(path);
    expect(second.lastRun).toEqual({ ended: "clean" });
    expect(second.serverId).toBe(first.serverId);
    expect(second.serverId).toMatch(/^[0-9a-f-]{36}$/);
    expect((await readdir(path)).sort()).toEqual([
      "run",
      "server-id",
      "server.lock",
      "tenants",
      "trash",
    ]);
  });

  it("empties what need not outlive a run, and nothing else", async () => {
    const path = await dataPath();
    const first = await openDataDirectory(path, 1);
    for (const name of ["run", "trash", "tenants"]) {
      await mkdir(join(path, name, "kept"));
      await writeFile(join(path, name, "kept", "file"), "x");
    }
    await first[Symbol.asyncDispose]();
    await openUntilEnd(path);
    expect(await readdir(join(path, "run"))).toEqual([]);
    expect(await readdir(join(path, "trash"))).toEqual([]);
    expect(await readdir(join(path, "tenants"))).toEqual(["kept"]);
  });

  it("is not held up by a pipe where its id should be", async () => {
    const path = await dataPath();
    const first = await openDataDirectory(path, 1);
    await first[Symbol.asyncDispose]();
    await rm(join(path, "server-id"));
    execFileSync("mkfifo", [join(path, "server-id")]);
    const { serverId } = await openUntilEnd(path);
    expect(serverId).not.toBe(first.serverId);
    expect((await readFile(join(path, "server-id"), "utf8")).trim()).toBe(serverId);
  });

  it("refuses a directory that this process holds already", async () => {
    const path = await dataPath();
    const first = await openUntilEnd(path);
    expect(await codeOf(openDataDirectory(path, 2))).toBe("data_directory_in_use");
    expect(await readdir(first.path)).not.toContain("server.lock.claim");
  });

  it("refuses a directory that a living server holds", async () => {
    const path = await dataPath();
    const holder = await holdElsewhere(path);
    expect(await codeOf(openDataDirectory(path, 2))).toBe("data_directory_in_use");
    await holder.end();
    expect((await openUntilEnd(path)).lastRun).toEqual({ ended: "clean" });
  });

  it("takes it over from a server that was killed, and says so once", async () => {
    const path = await dataPath();
    const holder = await holdElsewhere(path);
    await holder.kill();
    const next = await openDataDirectory(path, 2);
    expect(next.lastRun).toEqual({ ended: "unclean", startedAtMs: 77, pid: holder.pid });
    await next[Symbol.asyncDispose]();
    expect((await openUntilEnd(path)).lastRun).toEqual({ ended: "clean" });
  });

  it("gives a dead server's directory to one of many that want it", async () => {
    const path = await dataPath();
    await (await holdElsewhere(path)).kill();
    const codes = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        const taking = openUntilEnd(path, index);
        return taking.then(
          () => "open",
          () => codeOf(taking),
        );
      }),
    );
    expect(codes.filter((code) => code === "open")).toHaveLength(1);
    expect(codes.filter((code) => code === "data_directory_in_use")).toHaveLength(7);
  });

  it("is not fooled by a process that has the dead one's pid", async () => {
    const path = await dataPath();
    await (await openDataDirectory(path, 1))[Symbol.asyncDispose]();
    const holder = await holdElsewhere(path);
    await holder.kill();
    const lock = join(path, "server.lock");
    const text = await readFile(lock, "utf8");
    await writeFile(lock, text.replace(`"pid":${holder.pid}`, `"pid":${process.pid}`));
    expect((await openUntilEnd(path)).lastRun).toMatchObject({ ended: "unclean" });
  });

  it.each([
    ["another container", (text: string) => text.replace(/pid:\[\d+\]/, "pid:[1]")],
    ["a damaged lock", () => "{"],
  ])("watches the heartbeat where it cannot ask: %s", async (_name, change) => {
    const path = await dataPath();
    await (await openDataDirectory(path, 1))[Symbol.asyncDispose]();
    const holder = await holdElsewhere(path);
    const lock = join(path, "server.lock");
    await writeFile(lock, change(await readFile(lock, "utf8")));
    expect(await codeOf(openDataDirectory(path, 2))).toBe("data_directory_in_use");
    await holder.kill();
    // Its time is not compared with ours: only that it stands still counts.
    const future = new Date(Date.now() + 1e9);
    await utimes(lock, future, future);
    const startMs = performance.now();
    expect((await openUntilEnd(path)).lastRun).toMatchObject({ ended: "unclean" });
    expect(performance.now() - startMs).toBeGreaterThan(OBSERVATION_MS - 100);
  });

  it("gives way to one that took it over while it was still watching", async () => {
    const path = await dataPath();
    await (await openDataDirectory(path, 1))[Symbol.asyncDispose]();
    const lock = join(path, "server.lock");
    // The same time on both, so that only the second look at the text can tell them apart.
    const time = new Date(1_700_000_000_000);
    for (const [file, text] of [
      [lock, "{"],
      [`${lock}.other`, "{}"],
    ] as const) {
      await writeFile(file, text);
      await utimes(file, time, time);
    }
    const taking = codeOf(openDataDirectory(path, 2));
    await sleep(OBSERVATION_MS / 2);
    await rename(`${lock}.other`, lock);
    expect(await taking).toBe("data_directory_in_use");
    expect(await readFile(lock, "utf8")).toBe("{}");
  });

  it("reports a place it cannot use, without naming it", async () => {
    const parent = await temporaryDirectory();
    const inTheWay = join(parent, "file");
    await writeFile(inTheWay, "");
    for (const path of [inTheWay, join(inTheWay, "data")]) {
      const error = await errorOf(openDataDirectory(path, 1));
      expect(error.code).toBe("storage_failed");
      expect(error.message).not.toContain(parent);
    }
  });
});
