import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { openObjectStore } from "../../../src/session/stores/open-object-store.ts";
import { cleanAfterTest, errorOf, temporaryDirectory } from "../fixture.ts";
import { until } from "../../helpers/leaks.ts";
import { countOf, countUp, countUpElsewhere, startCounting } from "./count-up.ts";
import { describeObjectStore, textOf } from "./object-store-conformance.ts";

async function openFiles(directory: string) {
  const store = await openObjectStore({ url: pathToFileURL(directory), timeoutMs: 20_000 });
  cleanAfterTest(async () => store[Symbol.asyncDispose]());
  return store;
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));
}

describe("objects as files", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "plimsoll-objects-"));
  });
  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  describeObjectStore({
    open: () => openObjectStore({ url: pathToFileURL(directory), timeoutMs: 20_000 }),
    manyNames: 2_000,
    listedNames: 200,
    randomRuns: 40,
    hasFreshVersions: true,
  });

  it("loses no count of several processes", async () => {
    const store = await openFiles(directory);
    const elsewhere = countUpElsewhere(pathToFileURL(directory), "p/count", 60, 2);
    await Promise.all([elsewhere, countUp(store, "p/count", 60)]);
    expect(countOf((await store.get("p/count"))?.body)).toBe(180);
  });

  it("loses no count, and is not held up, when processes are killed", async () => {
    const store = await openFiles(directory);
    const url = pathToFileURL(directory);
    let least = 0;
    let most = 0;
    for (let round = 0; round < 3; round += 1) {
      const countings = [0, 1].map(() => startCounting(url, "k/count", 100_000));
      await until(
        async () => {
          const found = await store.get("k/count");
          return countOf(found?.body) > most + 20;
        },
        "the processes to count",
        60_000,
      );
      for (const { kill } of countings) kill();
      for (const { counted } of await Promise.all(countings.map(({ ended }) => ended))) {
        least += counted;
        // One may be killed after it has written, and before it has said so.
        most += counted + 1;
      }
      await countUp(store, "k/count", 5);
      [least, most] = [least + 5, most + 5];
      const count = countOf((await store.get("k/count"))?.body);
      expect(count).toBeGreaterThanOrEqual(least);
      expect(count).toBeLessThanOrEqual(most);
    }
    const object = join(directory, "objects", "k", "count@");
    expect(await readdir(object)).toHaveLength(2);
    // What those left that were killed is removed when it is old.
    await rm(join(directory, "drafts"), { recursive: true });
    await mkdir(join(directory, "drafts"));
  });

  it("leaves no drafts, and of each object only what is needed", async () => {
    const store = await openFiles(directory);
    expect(await readdir(join(directory, "drafts"))).toEqual([]);
    const names = await store.list({ prefix: "", limit: 100_000 });
    for (const name of names) {
      expect(await readdir(join(directory, "objects", `${name}@`)), name).toHaveLength(2);
    }
  });
});

describe("a store of files", () => {
  it("leaves nothing of what is deleted, also of the directories above", async () => {
    const directory = await temporaryDirectory();
    const store = await openFiles(directory);
    await store.put("a/b/c", Buffer.from("1"), "absent");
    await store.put("a/b/c", Buffer.from("2"), "any");
    await store.delete(["a/b/c", "meta/layout"]);
    const left = ["drafts", "objects", "plimsoll-store", "reserve"];
    expect((await filesBelow(directory)).sort()).toEqual(left);
  });

  it("is for its owner alone", async () => {
    const directory = await temporaryDirectory();
    const store = await openFiles(directory);
    await store.put("a/b", Buffer.from("1"), "absent");
    const found = await store.get("a/b");
    await store.put("a/b", Buffer.from("2"), { version: found?.version ?? "" });
    for (const file of await filesBelow(directory)) {
      const { mode } = await stat(join(directory, file));
      expect((mode & 0o077).toString(8), file).toBe("0");
    }
  });

  it.each(["ENOENT of the directory", "an empty directory in its place"])(
    "does not take %s for an empty store",
    async (kind) => {
      const directory = join(await temporaryDirectory(), "store");
      await mkdir(directory);
      const store = await openFiles(directory);
      const version = await store.put("a/b", Buffer.from("1"), "absent");
      await rename(directory, `${directory}-away`);
      if (!kind.startsWith("ENOENT")) await mkdir(directory);
      const calls = [
        () => store.get("a/b"),
        () => store.list({ prefix: "", limit: 1 }),
        () => store.put("a/b", Buffer.from("2"), "absent"),
        () => store.put("a/b", Buffer.from("2"), "any"),
        () => store.put("a/b", Buffer.from("2"), { version: version ?? "" }),
        () => store.delete(["a/b"]),
      ];
      for (const call of calls) {
        const { code, message } = await errorOf(call());
        expect(code).toBe("store_unavailable");
        expect(message).toMatch(/^Cannot \w+ .*: its directory is not there$/);
      }
      await rm(directory, { recursive: true, force: true });
      await rename(`${directory}-away`, directory);
      expect(await textOf(store, "a/b")).toBe("1");
    },
  );

  it("goes on after a crash at any step of a write or a deletion", async () => {
    const directory = await temporaryDirectory();
    const store = await openFiles(directory);
    const version = (await store.put("a", Buffer.from("1"), "absent")) ?? "";
    const place = join(directory, "objects", "a@");
    const other = "f".repeat(32);
    // Bytes beside, and no rename.
    await writeFile(join(place, `${version}.${other}`), "torn");
    expect(await textOf(store, "a")).toBe("1");
    const second = (await store.put("a", Buffer.from("2"), { version })) ?? "";
    expect((await readdir(place)).sort()).toEqual([`${version}.${second}`, second].sort());
    // The rename, and the old bytes still there.
    await writeFile(join(place, `${"e".repeat(32)}.${version}`), "1");
    expect(await textOf(store, "a")).toBe("2");
    // The token removed, and the bytes still there.
    await rm(join(place, second));
    expect(await store.get("a")).toBeNull();
    expect(await store.put("a", Buffer.from("3"), { version: second })).toBeNull();
    expect(await store.put("a", Buffer.from("3"), "absent")).not.toBeNull();
    expect(await textOf(store, "a")).toBe("3");
    expect(await readdir(place)).toHaveLength(2);
  });

  it("gives an object that has lost its bytes without them, and not as one that is absent", async () => {
    const directory = await temporaryDirectory();
    const store = await openFiles(directory);
    const version = (await store.put("a", Buffer.from("1"), "absent")) ?? "";
    await rm(join(directory, "objects", "a@", `0.${version}`));
    const found = await store.get("a");
    expect(found).toEqual({ body: Buffer.alloc(0), version });
    expect(await store.put("a", Buffer.from("2"), { version })).not.toBeNull();
    expect(await textOf(store, "a")).toBe("2");
    await store.delete(["a"]);
    expect(await store.get("a")).toBeNull();
  });

  it("removes what is left of writers that have ended long ago", async () => {
    const directory = await temporaryDirectory();
    await openFiles(directory);
    const drafts = join(directory, "drafts");
    await mkdir(join(drafts, "old"));
    await mkdir(join(drafts, "new"));
    await utimes(join(drafts, "old"), 1_000, 1_000);
    await openFiles(directory);
    expect(await readdir(drafts)).toEqual(["new"]);
  });
});
