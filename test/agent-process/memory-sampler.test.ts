import { describe, expect, it } from "vitest";

import { MemorySampler, pauseAfter } from "../../src/agent-process/memory-sampler.ts";
import { AgentProcesses } from "../../src/agent-process/registry.ts";
import { spawnAgentProcess } from "../../src/agent-process/spawn.ts";
import { oomScoreOf, optionsFor, printed, until, useServerId } from "./agent-programs.ts";

const serverId = useServerId();
const MIB = 2 ** 20;

describe("MemorySampler", () => {
  it("counts a child outside the group, and keeps the peak when it has gone", async () => {
    using sampler = new MemorySampler({ intervalMs: 20 });
    await using agent = spawnAgentProcess(optionsFor("holds-100-mib.sh", serverId));
    sampler.add(agent.tree);
    expect(agent.peakBytes).toBeNull();
    await printed(agent, "ready");
    await until(() => (agent.currentBytes ?? 0) > 100 * MIB);
    expect(agent.currentBytes).toBeLessThan(160 * MIB);

    await agent.terminate(1000);
    sampler.sample();
    expect(agent.peakBytes).toBeGreaterThan(100 * MIB);
  });

  it("counts an orphan that it never saw with its parent, by its marker", async () => {
    await using agent = spawnAgentProcess(optionsFor("leaves-orphan.sh", serverId));
    await printed(agent, "ready");
    using sampler = new MemorySampler({ intervalMs: 60_000 });
    sampler.add(agent.tree);
    // The orphan, the shell, and the shell's cat.
    await until(() => {
      sampler.sample();
      return agent.tree.members.length === 3;
    });
  });

  it("puts what the process started on the step of tools, but not the process", async () => {
    using sampler = new MemorySampler({ intervalMs: 20 });
    await using agent = spawnAgentProcess(optionsFor("leaves-session.sh", serverId));
    const own = oomScoreOf(agent.pid ?? 0);
    sampler.add(agent.tree);
    await until(() => agent.tree.members.length >= 3);
    for (const { pid } of agent.tree.members) {
      expect(oomScoreOf(pid)).toBe(pid === agent.pid ? own : 1000);
    }
  });

  it("is not needed for the peak of a process that was asked to end before a sample", async () => {
    await using agent = spawnAgentProcess(optionsFor("holds-100-mib.sh", serverId));
    await printed(agent, "ready");
    await agent.terminate(1000);
    expect(agent.peakBytes).toBeGreaterThan(100 * MIB);
  });

  it("is cheap for eight trees", async () => {
    using sampler = new MemorySampler({ intervalMs: 60_000 });
    await using agents = new AgentProcesses({
      serverId,
      stderrTailBytes: 0,
      endGraceMs: 1000,
      sampleIntervalMs: 60_000,
      onExit: () => {},
      onAbandoned: () => {},
      onNotice: () => {},
    });
    for (let count = 0; count < 8; count++) {
      const agent = agents.spawn(optionsFor("leaves-session.sh", serverId));
      sampler.add(agent.tree);
      await printed(agent, "ready");
    }
    const before = process.cpuUsage();
    const samples = 20;
    for (let count = 0; count < samples; count++) sampler.sample();
    const { user, system } = process.cpuUsage(before);
    // About 3 ms of the main thread, for some 30 processes in trees and 100 others.
    expect((user + system) / 1000 / samples).toBeLessThan(15);
  });
});

describe("pauseAfter", () => {
  it("leaves the main thread to others, but is never blind for long", () => {
    expect(pauseAfter(3, 250)).toBe(250);
    expect(pauseAfter(40, 250)).toBeCloseTo(800);
    // A sample that was kept waiting for a core, not one that worked for so long.
    expect(pauseAfter(5_000, 250)).toBe(2_000);
    expect(pauseAfter(5_000, 10_000)).toBe(10_000);
  });
});
