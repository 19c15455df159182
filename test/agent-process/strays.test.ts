import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { randomUUID } from "node:crypto";

import { describe, expect, it } from "vitest";

import type { AgentProcess } from "../../src/agent-process/agent-process.ts";
import { spawnAgentProcess } from "../../src/agent-process/spawn.ts";
import { countStrays, sweepStrays } from "../../src/agent-process/strays.ts";
import {
  isRunning,
  nameOf,
  optionsFor,
  printed,
  programPath,
  until,
  useServerId,
} from "./agent-programs.ts";

const serverId = useServerId();
const otherServerId = useServerId();

/** Starts a server with one agent process, and kills it without a word of warning. */
async function killServerOf(program: string): Promise<number> {
  const server = spawn(
    process.execPath,
    [
      "--import",
      "jiti/register",
      programPath("server.ts"),
      programPath(program),
      randomUUID(),
      serverId,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const lines = createInterface({ input: server.stdout });
  const pid = await new Promise<number>((resolve) =>
    lines.once("line", (line) => resolve(Number(line))),
  );
  expect(isRunning(pid)).toBe(true);
  const exit = once(server, "exit");
  server.kill("SIGKILL");
  await exit;
  return pid;
}

/** Whether it has a child with this program. Not by its tree, which would know the child then. */
function runs({ pid }: AgentProcess, program: string): boolean {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  return children.some((child) => nameOf(Number(child)) === program);
}

describe("a server that is killed", () => {
  it("takes its agent process with it, at once and with nobody to sweep it", async () => {
    const pid = await killServerOf("ignores-input-end.sh");
    await until(() => !isRunning(pid));
  });

  it("may leave a stubborn one, which the next server sweeps", async () => {
    const pid = await killServerOf("ignores-sigterm.sh");
    await until(() => countStrays(serverId) === 1 && nameOf(pid) === "sleep");
    expect(await sweepStrays(serverId)).toBe(1);
    expect(isRunning(pid)).toBe(false);
    expect(await sweepStrays(serverId)).toBe(0);
  });
});

describe("sweepStrays", () => {
  it("kills whole trees of its server and leaves those of another", async () => {
    await using stray = spawnAgentProcess(optionsFor("leaves-session.sh", serverId));
    await using other = spawnAgentProcess(optionsFor("polite.sh", otherServerId));
    await Promise.all([printed(stray, "ready"), printed(other, "ready")]);
    // Who is just becoming another program has no environment to be known by.
    await until(() => runs(stray, "sleep") && runs(stray, "cat"));

    expect(await sweepStrays(serverId)).toBeGreaterThanOrEqual(3);
    expect(countStrays(serverId)).toBe(0);
    expect(await stray.settled).toMatchObject({ signal: "SIGKILL" });
    expect(isRunning(other.pid ?? 0)).toBe(true);
  });

  it("leaves what another server has started from within such a tree", async () => {
    await using stray = spawnAgentProcess(
      optionsFor("starts-server.sh", serverId, { args: [otherServerId] }),
    );
    await printed(stray, "ready");
    await until(() => countStrays(otherServerId) === 1 && runs(stray, "sleep"));
    // The shell says that it is ready before it has started the `cat` it waits for.
    await until(() => runs(stray, "cat") && countStrays(serverId) === 2);

    expect(await sweepStrays(serverId)).toBe(2);
    await stray.settled;
    expect(await sweepStrays(otherServerId)).toBe(1);
  });
});

describe("countStrays", () => {
  it("does not count what a running tree has started since it was last looked at", async () => {
    await using agent = spawnAgentProcess(optionsFor("leaves-session.sh", serverId));
    await printed(agent, "ready");
    expect(agent.tree.members).toHaveLength(1);
    // Its second child says nothing as it starts.
    await until(() => countStrays(serverId) >= 3);
    expect(countStrays(serverId, [agent])).toBe(0);
  });
});
