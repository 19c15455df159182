/**
 * Goal: what was learned outlives the server, and no state of the disk can hurt it.
 * Method: real books on real files.
 */

import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { FootprintBook } from "../../src/capacity/footprint.ts";
import { openFootprintFile } from "../../src/server/footprint-file.ts";

const MiB = 2 ** 20;

let directory = "";
let file = "";
const newLog = () => ({
  info: vi.fn<(fields: object, message: string) => void>(),
  warn: vi.fn<(fields: object, message: string) => void>(),
});
let log: ReturnType<typeof newLog>;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "footprints-"));
  file = join(directory, "footprints.json");
  log = newLog();
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

function newBook(version = "1"): FootprintBook {
  return new FootprintBook({ priorBytes: 500 * MiB, versionOf: () => version });
}

function learnOne(book: FootprintBook, mebibytes = 120): void {
  const peakBytes = mebibytes * MiB;
  book.learn("a", { carriedBytes: 0, peakBytes, endedForMemory: false, atMs: Date.now() });
}

/** As an idle or a running server does, with an interval that never comes. */
function open(book: FootprintBook, intervalMs = 3_600_000): Promise<AsyncDisposable> {
  return openFootprintFile({ dataDirectory: directory, book, log, intervalMs });
}

async function openAndClose(book: FootprintBook): Promise<void> {
  await using _file = await open(book);
}

describe("openFootprintFile", () => {
  it("writes at the end what was learned, and the next server knows it", async () => {
    const before = newBook();
    await using opened = await open(before);
    learnOne(before);
    await opened[Symbol.asyncDispose]();

    const after = newBook();
    await openAndClose(after);
    expect(after.describe("a")).toEqual(before.describe("a"));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(["footprints.json"]);
    expect(log.warn).not.toHaveBeenCalled();
  });

  it("writes nothing when nothing was learned", async () => {
    await openAndClose(newBook());
    expect(await readdir(directory)).toEqual([]);
  });

  it("writes while it runs, and not again until there is something new", async () => {
    const book = newBook();
    await using _opened = await open(book, 20);
    learnOne(book);
    await vi.waitFor(() => stat(file), { timeout: 10_000, interval: 10 });
    const { ino } = await stat(file);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await stat(file)).ino).toBe(ino);
    learnOne(book);
    await vi.waitFor(
      async () => {
        const { agents } = JSON.parse(await readFile(file, "utf8"));
        expect(agents[0].samples).toHaveLength(2);
      },
      { timeout: 10_000, interval: 10 },
    );
  });

  it.each([
    ["that is damaged", () => writeFile(file, '{"version":1,"agents":[{')],
    ["of zeros", () => writeFile(file, Buffer.alloc(4_096))],
    ["that is too large", () => writeFile(file, Buffer.alloc(17 * MiB, " "))],
    ["that is a directory", () => mkdir(file)],
  ])("starts anew with a file %s, and says so without its path", async (_kind, make) => {
    await make();
    const book = newBook();
    await openAndClose(book);
    expect(book.describe("a").source).toBe("prior");
    const lines = JSON.stringify([log.info.mock.calls, log.warn.mock.calls]);
    expect(lines).toMatch(/ootprints/);
    expect(lines).not.toContain(directory);
  });

  it("replaces a damaged file once there is something to write", async () => {
    await writeFile(file, "{");
    const book = newBook();
    await using opened = await open(book);
    learnOne(book);
    await opened[Symbol.asyncDispose]();
    const after = newBook();
    await openAndClose(after);
    expect(after.describe("a").samples).toBe(1);
  });

  it("takes the file of another version for a hint, and says so", async () => {
    const before = newBook("1");
    await using opened = await open(before);
    for (let turn = 0; turn < 40; turn += 1) learnOne(before);
    await opened[Symbol.asyncDispose]();
    const after = newBook("2");
    await openAndClose(after);
    expect(after.describe("a").samples).toBe(4);
    expect(JSON.stringify(log.info.mock.calls)).toContain("another version is a hint only: a");
  });

  it("goes on when it cannot write, and writes when it can", async () => {
    const book = newBook();
    await using opened = await open(book, 20);
    await rm(directory, { recursive: true });
    learnOne(book);
    await vi.waitFor(() => expect(log.warn).toHaveBeenCalled(), { timeout: 10_000, interval: 10 });
    expect(log.warn.mock.calls[0]?.[0]).toEqual({ reason: "ENOENT" });
    await mkdir(directory);
    await chmod(directory, 0o700);
    await opened[Symbol.asyncDispose]();
    expect(JSON.parse(await readFile(file, "utf8")).agents).toHaveLength(1);
  });
});
