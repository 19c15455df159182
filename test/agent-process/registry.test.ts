import { describe, expect, it } from "vitest";

import type { AgentExit } from "../../src/agent-process/agent-process.ts";
import { AgentProcesses } from "../../src/agent-process/registry.ts";
import { findTree } from "../../src/agent-process/terminate.ts";
import { isRunning, optionsFor, printed, until, useServerId } from "./agent-programs.ts";

const serverId = useServerId();

function agentProcesses(exits: AgentExit[] = [], notices: string[] = []): AgentProcesses {
  return new AgentProcesses({
    serverId,
    stderrTailBytes: 1000,
    endGraceMs: 200,
    sampleIntervalMs: 20,
    onExit: (_agent, exit) => exits.push(exit),
    onAbandoned: () => {},
    onNotice: (notice) => notices.push(notice),
  });
}

describe("AgentProcesses", () => {
  it("holds a process until its tree is gone, and tells its end once", async () => {
    const exits: AgentExit[] = [];
    await using agents = agentProcesses(exits);
    const agent = agents.spawn(optionsFor("leaves-session.sh", serverId));
    await printed(agent, "ready");
    await until(() => agent.currentBytes !== null);
    expect([...agents.live]).toEqual([agent]);
    expect(exits).toEqual([]);

    agent.forSdk.stdin.end();
    const exit = await agent.exited;
    expect(agents.live.size).toBe(0);
    expect(exits).toEqual([exit]);
    expect(agent.peakBytes).toBeGreaterThan(0);
  });

  it("forgets a process that could not be started", async () => {
    const exits: AgentExit[] = [];
    await using agents = agentProcesses(exits);
    await agents.spawn(optionsFor("no-such-program", serverId)).exited;
    expect(agents.live.size).toBe(0);
    expect(exits).toMatchObject([{ spawnError: "ENOENT" }]);
  });

  it("ends all of them when it is disposed, and starts no more", async () => {
    const exits: AgentExit[] = [];
    const agents = agentProcesses(exits);
    for (const name of ["polite.sh", "ignores-sigterm.sh"]) {
      await printed(agents.spawn(optionsFor(name, serverId)), "ready");
    }
    await agents[Symbol.asyncDispose]();
    expect(exits.map(({ step }) => step).toSorted()).toEqual(["sigkill", "stdin_closed"]);
    expect(() => agents.spawn(optionsFor("polite.sh", serverId))).toThrowError(/shutting down/);
  });

  it("kills all at once without waiting, as the last resort", async () => {
    await using agents = agentProcesses();
    const agent = agents.spawn(optionsFor("leaves-session.sh", serverId));
    await printed(agent, "ready");
    await until(() => findTree(agent.tree).length >= 3);
    const pids = agent.tree.members.map(({ pid }) => pid);
    agents.killAllNow();
    expect(await agent.exited).toMatchObject({ step: "sigkill", survivors: 0 });
    expect(pids.filter(isRunning)).toEqual([]);
  });

  it("gives no notice where all protections are there", async () => {
    const notices: string[] = [];
    await using agents = agentProcesses([], notices);
    await agents.spawn(optionsFor("exits-137.sh", serverId)).exited;
    expect(notices).toEqual([]);
  });
});
