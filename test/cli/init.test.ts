/**
 * Goal: `plimsoll init` makes an agent that fits and answers at once, and takes nothing away.
 * Method: the built program as a child process, in empty folders.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run, start } from "./plimsoll.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-init-"));
});
afterEach(() => rm(directory, { recursive: true }));

const FILES = [".gitignore", "README.md", "agent.yaml", "plimsoll.yaml", "tools"];

describe("plimsoll init", () => {
  it("makes an agent that fits, answers and uses its tool", async () => {
    const made = await run(["init", "My Agent"], { directory });
    expect(made.stderr).toBe("");
    expect(made.code).toBe(0);
    expect(made.stdout).toContain('cd "My Agent"');
    const folder = join(directory, "My Agent");
    expect((await readdir(folder)).sort()).toEqual(FILES);
    expect(await readFile(join(folder, "README.md"), "utf8")).toMatch(/^# my-agent\n/u);

    const checked = await run(["check"], { directory: folder });
    expect(checked.stderr).toBe("");
    expect(checked.code).toBe(0);
    expect(checked.stdout).toMatch(/^my-agent {2}agent\.yaml\n/u);

    const flags = ["--port", "0", "--banner"];
    await using server = start(["serve", ...flags], { directory: folder });
    await server.prints('"msg":"Ready for turns"');
    expect(server.stderr(), "no warning of Node about the tool's module").toBe("");
    expect(server.stdout()).toContain("write `provider: anthropic`");
    const url = /http:\S+\/turns/u.exec(server.stdout())?.[0] ?? "";
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ input: "Please roll_dice" }),
    });
    const turn = (await response.json()) as { toolCalls: { name: string; result: string }[] };
    expect(turn.toolCalls).toMatchObject([
      { name: "roll_dice", isError: false, result: expect.stringMatching(/^\[[1-6]\]$/u) },
    ]);
  });

  it("replaces nothing unless it is told to", async () => {
    await mkdir(join(directory, "mine"));
    await writeFile(join(directory, "mine", "plimsoll.yaml"), "mine\n");
    const refused = await run(["init", "mine"], { directory });
    expect(refused.code).toBe(64);
    expect(refused.stderr).toContain("Cannot write mine/plimsoll.yaml: it is there already");
    expect(refused.stderr).toContain("--force");
    expect(await readdir(join(directory, "mine"))).toEqual(["plimsoll.yaml"]);

    const forced = await run(["init", "mine", "--force"], { directory });
    expect(forced.code).toBe(0);
    expect(await readFile(join(directory, "mine", "plimsoll.yaml"), "utf8")).toContain("listen:");
  });

  it.each([
    ["日本", [], 'Cannot name the agent "" of the folder\'s name; say --name'],
    ["a", ["--name", "My Agent"], 'Cannot name the agent "My Agent"'],
  ])("refuses a name that cannot be: %s %j", async (folder, flags, said) => {
    const { code, stderr } = await run(["init", folder, ...flags], { directory });
    expect(stderr).toContain(said);
    expect(code).toBe(64);
    expect(await readdir(directory)).toEqual([]);
  });

  it("makes an agent that fits of a name that YAML takes for no text", async () => {
    const names = ["007", "1e3", "2026", "null", "true"];
    for (const name of names)
      expect(await run(["init", name], { directory })).toMatchObject({ code: 0 });
    const { code, stdout, stderr } = await run(["check", "."], { directory });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const name of names) expect(stdout).toContain(`${name}  ${name}/agent.yaml\n`);
  });

  it("takes this folder, and a name of its own", async () => {
    const { code, stdout } = await run(["init", ".", "--name", "helper"], { directory });
    expect(code).toBe(0);
    expect(stdout).toContain("The agent helper is in this folder");
    expect(stdout).not.toContain("cd ");
    expect((await readdir(directory)).sort()).toEqual(FILES);
  });

  it("says why a folder cannot be written", async () => {
    await writeFile(join(directory, "file"), "");
    const { code, stderr } = await run(["init", "file/agent", "--name", "a"], { directory });
    expect(stderr).toMatch(/Cannot write file\/agent\/\S+: ENOTDIR/u);
    expect(code).toBe(64);
  });
});
