import { describe, expect, it } from "vitest";

import type { AgentProcess } from "../../src/agent-process/agent-process.ts";
import { readOomKillCount } from "../../src/agent-process/oom-kill-counter.ts";
import { readProcessTable, sendSignal } from "../../src/agent-process/proc.ts";
import { spawnAgentProcess } from "../../src/agent-process/spawn.ts";
import { countStrays } from "../../src/agent-process/strays.ts";
import { findTree, sweep } from "../../src/agent-process/terminate.ts";
import { isRunning, optionsFor, printed, until, useServerId } from "./agent-programs.ts";

const serverId = useServerId();

async function start(name: string): Promise<AgentProcess> {
  const agent = spawnAgentProcess(optionsFor(name, serverId));
  await printed(agent, "ready");
  return agent;
}

describe("AgentProcess.terminate", () => {
  it.each([
    ["polite.sh", 20_000, { step: "stdin_closed", code: 0, signal: null }],
    // It has to sit out the first step, and to end within the second.
    ["ignores-input-end.sh", 8_000, { step: "sigterm", code: null, signal: "SIGTERM" }],
    ["ignores-sigterm.sh", 200, { step: "sigkill", code: null, signal: "SIGKILL" }],
  ])("goes as far as it must: %s", async (name, graceMs, expected) => {
    const agent = await start(name);
    expect(await agent.terminate(graceMs)).toEqual(await agent.settled);
    expect(await agent.settled).toMatchObject({ ...expected, outOfMemory: false, survivors: 0 });
  });

  it("kills at once when it is given no time", async () => {
    const agent = await start("polite.sh");
    expect(await agent.terminate(0)).toMatchObject({ step: "sigkill", signal: "SIGKILL" });
  });

  it("is overtaken by a call with less patience", async () => {
    const agent = await start("ignores-sigterm.sh");
    const patient = agent.terminate(60_000);
    await agent.terminate(0);
    expect(await patient).toMatchObject({ step: "sigkill" });
  });

  it("may be called on a process that has ended", async () => {
    const agent = await start("polite.sh");
    await agent.terminate(20_000);
    expect(await agent.terminate(0)).toMatchObject({ step: "stdin_closed", code: 0 });
  });

  it("wakes up a stopped process to end it", async () => {
    const agent = await start("polite.sh");
    sendSignal(agent.pid ?? 0, "SIGSTOP");
    expect(await agent.terminate(50)).toMatchObject({ step: "sigkill", survivors: 0 });
  });
});

describe("the sweep after the end", () => {
  it.each(["leaves-session.sh", "leaves-orphan.sh"])(
    "takes what a polite exit left behind: %s",
    async (name) => {
      const agent = await start(name);
      await until(() => findTree(agent.tree).length >= 3);
      const pids = findTree(agent.tree).map(({ pid }) => pid);
      agent.forSdk.stdin.end();
      expect(await agent.settled).toMatchObject({ code: 0, step: "exited", survivors: 0 });
      expect(pids.filter(isRunning)).toEqual([]);
    },
  );

  it("takes an orphan without a marker that was once seen in the tree", async () => {
    const agent = spawnAgentProcess(optionsFor("leaves-unmarked-orphan.sh", serverId));
    await printed(agent, "ready");
    agent.tree.grow(readProcessTable());
    const before = agent.tree.members;
    agent.forSdk.stdin.write("go on\n");
    await until(() => before.some(({ pid }) => !isRunning(pid)));
    const orphan = before.find(({ pid }) => pid !== agent.pid && isRunning(pid));
    expect(orphan, "the orphan lives").toBeDefined();

    await agent.terminate(1000);
    expect(isRunning(orphan?.pid ?? 0)).toBe(false);
  });

  it("takes the tools of a process that was killed from outside", async () => {
    const agent = await start("leaves-session.sh");
    await until(() => findTree(agent.tree).length >= 3);
    const pids = findTree(agent.tree).map(({ pid }) => pid);
    sendSignal(agent.pid ?? 0, "SIGKILL");
    expect(await agent.settled).toMatchObject({ signal: "SIGKILL", step: "exited", survivors: 0 });
    expect(pids.filter(isRunning)).toEqual([]);
    expect(countStrays(serverId)).toBe(0);
  });
});

describe("sweep", () => {
  it("gives up on what does not go, and counts it", async () => {
    const stuck = { pid: 2 ** 30, startTicks: 1 };
    expect(await sweep(() => [stuck], 30)).toBe(1);
  });
});

describe("AgentExit.outOfMemory", () => {
  const counted = readOomKillCount() !== null;

  it.each(["SIGKILL", "137"])("holds a %s of others for the kernel's", async (how) => {
    const agent = spawnAgentProcess(
      optionsFor(how === "137" ? "exits-137.sh" : "polite.sh", serverId),
    );
    if (how === "SIGKILL") sendSignal(agent.pid ?? 0, "SIGKILL");
    expect(await agent.settled).toMatchObject({
      step: "exited",
      outOfMemory: true,
      oomKillCounterRose: counted ? false : null,
      wasShortForAll: !counted,
    });
  });
});
