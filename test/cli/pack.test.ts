/**
 * Goal: what npm would publish works in an empty folder: init, serve, a turn.
 * Method: the package is packed and installed from its file, with the registry for the rest.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT, run, start } from "./plimsoll.ts";

const LIMIT_MS = 180_000;

const execute = promisify(execFile);

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-pack-"));
});
afterAll(() => rm(directory, { recursive: true }));

describe("the package", () => {
  it("serves a new agent from a folder that has nothing else", { timeout: LIMIT_MS }, async () => {
    // Without scripts: the tests have built the program, and must not build it under each other.
    const pack = ["pack", "--ignore-scripts", "--pack-destination", directory];
    await execute("npm", pack, { cwd: ROOT });
    const archives = (await readdir(directory)).filter((name) => name.endsWith(".tgz"));
    expect(archives).toHaveLength(1);

    const home = join(directory, "home");
    await mkdir(home);
    // Or npm would look for a package further up.
    await writeFile(join(home, "package.json"), "{}\n");
    const archive = join(directory, archives[0] ?? "");
    const install = ["install", "--no-audit", "--no-fund", "--prefer-offline", archive];
    await execute("npm", install, { cwd: home });

    const npx = ["npx", "--no-install", "plimsoll"] as const;
    const made = await run(["init", "my-agent"], { directory: home, program: [...npx] });
    expect(made.stdout).toContain("npx plimsoll serve");
    expect(made.code).toBe(0);

    // Without npx, which gives SIGTERM to a shell that does not pass it on.
    const program = [join(home, "node_modules", ".bin", "plimsoll")] as const;
    const folder = join(home, "my-agent");
    const args = ["serve", "--port", "0", "--banner"];
    await using server = start(args, { directory: folder, program: [...program] });
    await server.prints('"msg":"Ready for turns"', LIMIT_MS);
    const url = /http:\S+\/turns/u.exec(server.stdout())?.[0] ?? "";
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ input: "Hello" }),
    });
    expect(await response.json()).toMatchObject({ status: "completed", agent: "my-agent" });
    server.signal("SIGTERM");
    expect((await server.exited).code).toBe(0);
  });
});
