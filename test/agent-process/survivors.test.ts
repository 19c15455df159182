/** Processes that outlive SIGKILL: nobody waits for them, and they are not forgotten. */

import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";

import type { AgentProcess } from "../../src/agent-process/agent-process.ts";
import { AgentProcesses, type AgentProcessesOptions } from "../../src/agent-process/registry.ts";
import { spawnAgentProcess } from "../../src/agent-process/spawn.ts";
import { countStrays } from "../../src/agent-process/strays.ts";
import { findTree, outlast } from "../../src/agent-process/terminate.ts";
import { Freezer, reasonNotToFreeze } from "../helpers/freezer.ts";
import { nameOf, optionsFor, PATH, printed, until, useServerId } from "./agent-programs.ts";

const serverId = useServerId();
const countedServerId = useServerId();
const skipped = reasonNotToFreeze();

/** What goes on for as long as they are frozen is not over by then. */
const BOUND_MS = 30_000;

describe.skipIf(skipped !== null).concurrent(`survivors${skipped ? `: ${skipped}` : ""}`, () => {
  it("are counted in bounded time, and their end is told when they are gone", async () => {
    const agent = spawnAgentProcess(optionsFor("polite.sh", serverId));
    await printedAndWaiting(agent);
    await using freezer = new Freezer();
    await freezer.freezeProcess(agent.pid ?? 0);
    const startMs = performance.now();
    const exit = await agent.terminate(50);
    expect(exit).toMatchObject({ step: "sigkill", survivors: 1, outOfMemory: false });
    expect(performance.now() - startMs).toBeLessThan(BOUND_MS);
    expect(agent.treeState).toBe("surviving");
    // A second call has nothing left to wait for.
    expect(await agent.terminate(1000)).toBe(exit);

    freezer.thaw();
    await agent.treeGone;
    expect(agent.treeState).toBe("gone");
    expect(findTree(agent.tree)).toEqual([]);
  });

  it("may be a tool of a process that is gone itself", async () => {
    const agent = spawnAgentProcess(optionsFor("leaves-session.sh", serverId));
    await printed(agent, "ready");
    const toolOf = () => findTree(agent.tree).find(({ pid }) => nameOf(pid) === "sleep");
    await until(() => toolOf() !== undefined);
    const tool = toolOf();
    await using freezer = new Freezer();
    await freezer.freezeProcess(tool?.pid ?? 0);
    agent.forSdk.stdin.end();
    expect(await agent.settled).toMatchObject({ code: 0, survivors: 1 });
    expect(agent.tree.members).toMatchObject([{ pid: tool?.pid }]);
    freezer.thaw();
    await agent.treeGone;
  });

  it("may be a single thread, though the kernel calls its process a zombie", async () => {
    const program = "setInterval(() => {}, 1000); console.log('ready')";
    const options = { command: process.execPath, args: ["-e", program], env: { PATH } };
    const agent = spawnAgentProcess(optionsFor("", serverId, options));
    await printed(agent, "ready");
    const threads = readdirSync(`/proc/${agent.pid}/task`).map(Number);
    await using freezer = new Freezer();
    await freezer.freezeThread(threads.find((id) => id !== agent.pid) ?? 0);
    expect(await agent.terminate(0)).toMatchObject({ survivors: 1 });
    freezer.thaw();
    await agent.treeGone;
  });

  it("stay among the live ones, measured and counted as strays, until they are gone", async () => {
    await using agents = agentProcesses({ serverId: countedServerId });
    const agent = agents.spawn(optionsFor("polite.sh", serverId));
    await printedAndWaiting(agent);
    await until(() => agent.currentBytes !== null);
    await until(() => countStrays(countedServerId, agents.live) === 0);
    await using freezer = new Freezer();
    await freezer.freezeProcess(agent.pid ?? 0);
    await agent.terminate(0);
    expect([...agents.live]).toEqual([agent]);
    expect(agent.currentBytes).toBeGreaterThan(0);
    expect(countStrays(countedServerId, agents.live)).toBe(1);

    freezer.thaw();
    await until(() => agents.live.size === 0);
    expect(agent.treeState).toBe("gone");
  });

  it("are told and left behind when the server goes", async () => {
    const abandoned: AgentProcess[] = [];
    const agents = agentProcesses({ onAbandoned: (agent) => abandoned.push(agent) });
    const agent = agents.spawn(optionsFor("polite.sh", serverId));
    await printedAndWaiting(agent);
    await using freezer = new Freezer();
    await freezer.freezeProcess(agent.pid ?? 0);
    const startMs = performance.now();
    await agents[Symbol.asyncDispose]();
    expect(performance.now() - startMs).toBeLessThan(BOUND_MS);
    expect(abandoned).toEqual([agent]);
  });
});

describe("outlast", () => {
  it("looks until there is nothing more to find", async () => {
    const stuck = { pid: 2 ** 30, startTicks: 1 };
    let looks = 0;
    const find = () => ((looks += 1) < 3 ? [stuck] : []);
    expect(await outlast(find, new AbortController().signal)).toBe(true);
    expect(looks).toBe(3);
  });

  it("stops when it is told to", async () => {
    const stop = new AbortController();
    const outlasting = outlast(() => [{ pid: 2 ** 30, startTicks: 1 }], stop.signal);
    stop.abort();
    expect(await outlasting).toBe(false);
  });
});

/** The shell of `polite.sh` says that it is ready before it has started the `cat` it waits for. */
async function printedAndWaiting(agent: AgentProcess): Promise<void> {
  await printed(agent, "ready");
  await until(() => findTree(agent.tree).length === 2);
}

function agentProcesses(more: Partial<AgentProcessesOptions>): AgentProcesses {
  return new AgentProcesses({
    serverId,
    stderrTailBytes: 1000,
    endGraceMs: 100,
    sampleIntervalMs: 20,
    onExit: () => {},
    onAbandoned: () => {},
    onNotice: () => {},
    ...more,
  });
}
