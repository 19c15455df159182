import { readdir } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { hasTombstone, Tombstones } from "../../src/session/tombstones.ts";
import { temporaryDirectory } from "./fixture.ts";

describe("Tombstones", () => {
  it("forgets the oldest beyond the limit, and never the newest", async () => {
    const directory = await temporaryDirectory();
    const tombstones = new Tombstones(20);
    for (let index = 0; index < 35; index += 1) {
      await tombstones.write(join(directory, `s${index}`), 1_000 + index);
      expect((await readdir(directory)).length).toBeLessThanOrEqual(20);
      expect(await hasTombstone(join(directory, `s${index}`), 2_000)).toBe(true);
    }
    expect(await hasTombstone(join(directory, "s0"), 2_000)).toBe(false);
    for (let index = 20; index < 35; index += 1) {
      expect(await hasTombstone(join(directory, `s${index}`), 2_000)).toBe(true);
    }
  });

  it("counts those that an earlier run has left", async () => {
    const directory = await temporaryDirectory();
    for (let index = 0; index < 5; index += 1) {
      await new Tombstones(3).write(join(directory, `s${index}`), 1_000 + index);
      expect((await readdir(directory)).length).toBeLessThanOrEqual(3);
    }
  });
});
