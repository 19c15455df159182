/**
 * Goal: a replica says that it is not ready while Claude Code cannot be started, also when it could
 * before, and no agent file can make it say so.
 * Method: the built program with a Claude Code of its own, which is taken away and put back.
 */

import { cp, link, mkdir, mkdtemp, readdir, rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

import { until } from "../helpers/leaks.ts";
import { startServerProcess, type ServerProcess } from "../helpers/server.ts";
import { ask, post, refusal } from "./client.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const SCOPE = join("node_modules", "@anthropic-ai");
const OF_SYSTEM = join(SCOPE, `claude-agent-sdk-${process.platform}-${process.arch}`);
const SCRIPT = 'rules: [{ reply: [{ text: "Yes" }] }]';
const PLAIN = "name: helper\ninstructions: You are a test.\n";
const NEVER_STARTS = `
name: never
instructions: You are a test.
tools:
  mcp:
    silent: { type: stdio, command: sleep, args: ["1000"] }
`;

let home: string;
let program: string;
beforeAll(async () => {
  // On the same disk as the installed one, which is too large to copy.
  home = await mkdtemp(join(import.meta.dirname, ".program-"));
  program = join(home, OF_SYSTEM, "claude");
  await mkdir(join(home, OF_SYSTEM), { recursive: true });
  for (const name of await readdir(join(ROOT, "node_modules"))) {
    if (name === "@anthropic-ai") continue;
    await symlink(join(ROOT, "node_modules", name), join(home, "node_modules", name));
  }
  for (const part of ["build", "package.json", join(SCOPE, "claude-agent-sdk")]) {
    await cp(join(ROOT, part), join(home, part), { recursive: true });
  }
  await cp(join(ROOT, OF_SYSTEM, "package.json"), join(home, OF_SYSTEM, "package.json"));
  await link(join(ROOT, OF_SYSTEM, "claude"), program);
});
afterAll(() => rm(home, { recursive: true }));

async function readyz({ url }: ServerProcess): Promise<readonly [number, string]> {
  const response = await fetch(`${url}/readyz`);
  return [response.status, ((await response.json()) as { status: string }).status];
}

it("is told of a replica whose program is gone, until that is back", async () => {
  const main = join(home, "build", "main.js");
  await using server = await startServerProcess({ script: SCRIPT, agents: [PLAIN], main });
  expect((await ask(server, "Hello")).status).toBe("completed");
  await rename(program, `${program}.away`);
  for (let turns = 0; turns < 3; turns += 1) {
    expect(await readyz(server)).toEqual([200, "ready"]);
    expect(await refusalOrEnd(server, "helper")).toBe("agent_start_failed");
  }
  await until(async () => (await readyz(server))[0] === 503, "the replica to say so");
  expect(await readyz(server)).toEqual([503, "broken"]);
  expect((await refusal(post(server, "Hello"))).code).toBe("not_ready");
  await rename(`${program}.away`, program);
  await until(async () => (await readyz(server))[0] === 200, "the replica to be back", 60_000);
  expect((await ask(server, "Hello")).status).toBe("completed");
});

it("is not told for an agent that never starts", async () => {
  const settings = { "agentProcess.startTime": "10s" };
  const agents = [PLAIN, NEVER_STARTS];
  await using server = await startServerProcess({ script: SCRIPT, agents, settings });
  for (let turns = 0; turns < 4; turns += 1) {
    expect(await refusalOrEnd(server, "never")).toBe("agent_start_failed");
    expect(await readyz(server)).toEqual([200, "ready"]);
  }
  const tries = () => server.logs.filter(({ msg }) => msg === "Ready for turns").length;
  await until(() => tries() > 1, "the replica to have tried", 60_000);
  expect(await readyz(server)).toEqual([200, "ready"]);
});

/** The code that a turn fails with. */
async function refusalOrEnd(server: ServerProcess, agent: string): Promise<string> {
  const response = await post(server, "Hello", { agent });
  return ((await response.json()) as { code?: string; error?: { code: string } }).code ?? "none";
}
