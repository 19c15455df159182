/**
 * Goal: an agent file that its user may not read, or that is far too large, is named as what it is.
 * Method: the built program; where the tests run as root, which may read everything, as nobody.
 */
import { spawnSync } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT, run } from "./plimsoll.ts";

const MAIN = join(ROOT, "build", "main.js");
const AS_NOBODY = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
const PROGRAM: readonly [string, ...string[]] =
  process.getuid?.() === 0
    ? ["setpriv", ...AS_NOBODY, process.execPath, MAIN]
    : [process.execPath, MAIN];
const [command, ...before] = PROGRAM;
const canTry = spawnSync(command, [...before, "--version"]).status === 0;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-unreadable-"));
  // It is the file alone that may not be read.
  await chmod(directory, 0o777);
});
afterAll(() => rm(directory, { recursive: true }));

describe.each(["check", "serve"])("plimsoll %s", (name) => {
  it.skipIf(!canTry)("says which file may not be read (as root it needs setpriv)", async () => {
    await writeFile(join(directory, "closed.yaml"), "name: closed\ninstructions: Be kind.\n");
    const asNobody = { directory, program: PROGRAM };
    expect((await run(["check", "closed.yaml"], asNobody)).code).toBe(0);
    await chmod(join(directory, "closed.yaml"), 0);
    const { code, stdout, stderr } = await run([name, "closed.yaml"], asNobody);
    await rm(join(directory, "closed.yaml"));
    expect(stderr).toContain("closed.yaml error: the agent file may not be read by this user");
    expect(stderr).toContain("Change its permissions or the user");
    expect(stdout).toBe("");
    expect(code).toBe(78);
  });

  it("says which file is too large, at 10 MB", async () => {
    const comment = `# ${"x".repeat(98)}\n`;
    const agent = `name: huge\ninstructions: Be kind.\n${comment.repeat(100_000)}`;
    await writeFile(join(directory, "huge.yaml"), agent);
    const { code, stdout, stderr } = await run([name, "huge.yaml"], { directory });
    expect(stderr).toContain("huge.yaml error: the agent file is larger than 1MiB");
    expect(stderr).toContain("Make it smaller");
    expect(stderr.length).toBeLessThan(1_000);
    expect(stdout).toBe("");
    expect(code).toBe(78);
  });
});
