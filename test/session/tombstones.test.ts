import { readdir } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { hasTombstone, writeTombstone } from "../../src/session/tombstones.ts";
import { temporaryDirectory } from "./fixture.ts";

describe("writeTombstone", () => {
  it("forgets the oldest beyond the limit, and never the newest", async () => {
    const directory = await temporaryDirectory();
    for (let index = 0; index < 35; index += 1) {
      await writeTombstone(join(directory, `s${index}`), 1_000 + index, 20);
      expect((await readdir(directory)).length).toBeLessThanOrEqual(20);
      expect(await hasTombstone(join(directory, `s${index}`), 2_000)).toBe(true);
    }
    expect(await hasTombstone(join(directory, "s0"), 2_000)).toBe(false);
    for (let index = 20; index < 35; index += 1) {
      expect(await hasTombstone(join(directory, `s${index}`), 2_000)).toBe(true);
    }
  });
});
