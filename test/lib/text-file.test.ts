import { execFileSync } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readTextFile } from "../../src/lib/text-file.ts";

describe("readTextFile", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "plimsoll-text-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const messageFor = async (path: string) => {
    const read = await readTextFile(path, 1024);
    return read.ok ? `read ${JSON.stringify(read.text)}` : read.message;
  };

  it("reads UTF-8 and drops a byte order mark", async () => {
    const path = join(folder, "bom");
    await writeFile(path, "\uFEFFgrüß");
    expect(await messageFor(path)).toBe('read "grüß"');
  });

  it("reads a file of just the size, and refuses one byte more", async () => {
    const path = join(folder, "size");
    await writeFile(path, "x".repeat(1024));
    expect(await messageFor(path)).toMatch(/^read /u);
    await writeFile(path, "x".repeat(1025));
    expect(await messageFor(path)).toBe("is larger than 1KiB");
  });

  it("refuses Latin-1 and UTF-16", async () => {
    const path = join(folder, "latin");
    for (const encoding of ["latin1", "utf16le"] as const) {
      await writeFile(path, Buffer.from("\uFEFFgrüß", encoding));
      expect(await messageFor(path)).toBe("is not UTF-8 text");
    }
  });

  it("does not wait for a pipe's writer", async () => {
    const path = join(folder, "pipe");
    execFileSync("mkfifo", [path]);
    expect(await messageFor(path)).toBe("is not a regular file");
  });

  it("names what else is in the way", async () => {
    const loop = join(folder, "loop");
    await symlink(loop, loop);
    expect(await messageFor(loop)).toBe("is a symbolic link that leads to itself");
    expect(await messageFor(folder)).toBe("is a directory");
    expect(await messageFor(join(folder, "none"))).toBe("does not exist");
    expect(await messageFor(join(folder, "loop", "x"))).toMatch(/symbolic link|does not exist/u);
    expect(await messageFor("a\0b")).toBe("is not a path");
    expect(await messageFor("/dev/zero")).toBe("is not a regular file");
  });
});
