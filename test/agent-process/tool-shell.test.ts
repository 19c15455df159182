import { execFile } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { writeToolShell } from "../../src/agent-process/tool-shell.ts";

const run = promisify(execFile);
let directory = "";
let shell = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll tool-shell 'quoted' "));
  shell = (await writeToolShell(join(directory, "run"))) ?? "";
});
afterAll(() => rm(directory, { recursive: true }));

describe("writeToolShell", () => {
  it("writes a program, as often as it is asked", async () => {
    expect(await writeToolShell(join(directory, "run"))).toBe(shell);
    expect((await stat(shell)).mode & 0o777).toBe(0o755);
  });

  it("offers none that Claude Code would read as a program and its options", async () => {
    expect(await writeToolShell(join(directory, "a -b"))).toBeNull();
  });

  it("runs its argument in bash, on the step of tools", async () => {
    const command = "cat /proc/self/oom_score_adj; [[ -n $BASH_VERSION ]] && echo bash";
    expect((await run(shell, [command])).stdout).toBe("1000\nbash\n");
  });

  it("hands the argument on as it is", async () => {
    const words = `it's "so" $HOME \`id\` \\ * ; & | \t two  spaces`;
    const command = `printf '%s\n' '${words.replaceAll("'", `'\\''`)}' && printf end`;
    expect((await run(shell, [command])).stdout).toBe(`${words}\nend`);
  });

  it("ends as its command ends", async () => {
    await expect(run(shell, ["exit 7"])).rejects.toMatchObject({ code: 7 });
    await expect(run(shell, ["kill -9 $$"])).rejects.toMatchObject({ signal: "SIGKILL" });
  });

  it("makes do with sh where there is no bash", async () => {
    const { stdout } = await run(shell, ['echo "${BASH_VERSION:-none}"'], { env: { PATH: "" } });
    expect(stdout).toMatch(/^(none|\d)/);
  });
});
