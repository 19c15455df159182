import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { openDataDirectory } from "../../src/session/data-directory.ts";
import { openEphemeralSession } from "../../src/session/ephemeral-session.ts";
import { cleanAfterTest, codeOf, temporaryDirectory, thread } from "./fixture.ts";

describe("openEphemeralSession", () => {
  it("makes directories of its own for each turn, and leaves none behind", async () => {
    const data = join(await temporaryDirectory(), "data");
    const directory = await openDataDirectory(data, 1);
    cleanAfterTest(async () => directory[Symbol.asyncDispose]());
    const one = await openEphemeralSession(data, thread("t"));
    const other = await openEphemeralSession(data, thread("t"));
    expect(one).toMatchObject({ threadId: "t", isNew: true });
    expect(one.sessionId).not.toBe(other.sessionId);
    for (const path of Object.values(one.directories)) {
      expect((await stat(path)).mode & 0o777).toBe(0o700);
    }
    await mkdir(join(one.directories.config, "projects"));
    await one[Symbol.asyncDispose]();
    for (const path of Object.values(one.directories)) {
      await expect(stat(path)).rejects.toThrow("ENOENT");
    }
    for (const path of Object.values(other.directories)) await stat(path);
  });

  it("does not pretend to remember", async () => {
    const data = await temporaryDirectory();
    const withHistory = { by: "thread", threadId: "t", expectsHistory: true } as const;
    expect(await codeOf(openEphemeralSession(data, thread("t", { target: withHistory })))).toBe(
      "session_not_found",
    );
  });
});
