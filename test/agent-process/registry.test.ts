import { describe, expect, it } from "vitest";

import type { AgentExit } from "../../src/agent-process/agent-process.ts";
import { ControlGroup } from "../../src/agent-process/control-group.ts";
import { AgentProcesses, type AgentProcessesOptions } from "../../src/agent-process/registry.ts";
import { findTree } from "../../src/agent-process/terminate.ts";
import { MIN_CEILING_BYTES, TEXT_ROOM_BYTES } from "../../src/capacity/turn-ceiling.ts";
import { readGroup, reasonForNoGroups1, testGroups1 } from "../helpers/control-group.ts";
import { isRunning, optionsFor, printed, until, useServerId } from "./agent-programs.ts";

const serverId = useServerId();

const skipped = reasonForNoGroups1();

function agentProcesses(
  exits: AgentExit[] = [],
  notices: string[] = [],
  more: Partial<Pick<AgentProcessesOptions, "containment" | "endGraceMs">> = {},
): AgentProcesses {
  return new AgentProcesses({
    serverId,
    stderrTailBytes: 1000,
    // What is polite ends within it on a busy machine too.
    endGraceMs: 20_000,
    sampleIntervalMs: 20,
    ...more,
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
    const exit = await agent.settled;
    expect(agents.live.size).toBe(0);
    expect(exits).toEqual([exit]);
    expect(agent.peakBytes).toBeGreaterThan(0);
  });

  it("forgets a process that could not be started", async () => {
    const exits: AgentExit[] = [];
    await using agents = agentProcesses(exits);
    await agents.spawn(optionsFor("no-such-program", serverId)).settled;
    expect(agents.live.size).toBe(0);
    expect(exits).toMatchObject([{ spawnError: "ENOENT" }]);
  });

  it.each([
    ["polite.sh", 20_000, "stdin_closed"],
    ["ignores-sigterm.sh", 200, "sigkill"],
  ])("ends all of them when it is disposed, and starts no more: %s", async (name, ...how) => {
    const [endGraceMs, step] = how;
    const exits: AgentExit[] = [];
    const agents = agentProcesses(exits, [], { endGraceMs });
    for (let count = 0; count < 2; count += 1) {
      await printed(agents.spawn(optionsFor(name, serverId)), "ready");
    }
    await agents[Symbol.asyncDispose]();
    expect(exits).toMatchObject([{ step }, { step }]);
    expect(() => agents.spawn(optionsFor("polite.sh", serverId))).toThrowError(/shutting down/);
  });

  it("kills all at once without waiting, as the last resort", async () => {
    await using agents = agentProcesses();
    const agent = agents.spawn(optionsFor("leaves-session.sh", serverId));
    await printed(agent, "ready");
    await until(() => findTree(agent.tree).length >= 3);
    const pids = agent.tree.members.map(({ pid }) => pid);
    agents.killAllNow();
    expect(await agent.settled).toMatchObject({ step: "sigkill", survivors: 0 });
    expect(pids.filter(isRunning)).toEqual([]);
  });

  it("gives no notice where all protections are there", async () => {
    const notices: string[] = [];
    await using agents = agentProcesses([], notices);
    await agents.spawn(optionsFor("exits-137.sh", serverId)).settled;
    expect(notices).toEqual([]);
  });
});

const title = `ceilings of those that run${skipped ? `: ${skipped}` : ""}`;

describe.skipIf(skipped !== null)(title, () => {
  it("follow the limit of the replica, in their groups and for the guard", async () => {
    const MIB = 2 ** 20;
    await using groups = testGroups1(1024 * MIB);
    const containment = {
      kind: "cgroup1",
      openGroup: (id: string, limitBytes: number) =>
        ControlGroup.make(groups.parent, id, limitBytes),
      expectStart: () => {},
    } as const;
    await using agents = agentProcesses([], [], { containment });
    const share = { bytes: 512 * MIB };
    const [bounded, own] = [() => share.bytes, () => 256 * MIB].map((ceilingBytes) =>
      agents.spawn({ ...optionsFor("polite.sh", serverId), ceilingBytes }),
    );
    if (bounded === undefined || own === undefined) throw new Error("Nothing was started");
    for (const agent of [bounded, own]) await printed(agent, "ready");
    for (const bytes of [768 * MIB, 300 * MIB, MIN_CEILING_BYTES]) {
      share.bytes = bytes;
      agents.renewCeilings();
      const limit = readGroup(bounded.group?.directory ?? "", "memory.limit_in_bytes");
      expect(Number(limit)).toBe(bytes + TEXT_ROOM_BYTES);
      expect(agents.guard.factsOf(bounded.processId)).toMatchObject({ ceilingBytes: bytes });
    }
    const limit = readGroup(own.group?.directory ?? "", "memory.limit_in_bytes");
    expect(Number(limit)).toBe(256 * MIB + TEXT_ROOM_BYTES);
  });
});
