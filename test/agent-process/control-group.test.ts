/**
 * Goal: what a group of its own promises, shown by the kernel itself.
 * Method: little programs in real groups of cgroup v1; in v2, where this system has no memory
 * controller, what goes without one.
 */

import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import type { AgentProcess } from "../../src/agent-process/agent-process.ts";
import { ControlGroup, MAX_TASKS, pidsIn } from "../../src/agent-process/control-group.ts";
import { TOOL_OOM_SCORE } from "../../src/agent-process/oom-ladder.ts";
import { settleInGroup, spawnAgentProcess } from "../../src/agent-process/spawn.ts";
import { groupLimitBytes, MIN_CEILING_BYTES } from "../../src/capacity/turn-ceiling.ts";
import {
  readGroup,
  reasonForNoGroups1,
  reasonForNoGroups2,
  testGroups1,
  testGroups2,
  type TestGroups,
} from "../helpers/control-group.ts";
import {
  isRunning,
  nameOf,
  optionsFor,
  PATH,
  printed,
  until,
  useServerId,
} from "./agent-programs.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const serverId = useServerId();
const skipped1 = reasonForNoGroups1();
const skipped2 = reasonForNoGroups2();

/** Of a group in which a turn may hold the least. */
const LIMIT_BYTES = groupLimitBytes(MIN_CEILING_BYTES);
/** Holds memory in steps of 8 MiB until it is ended. */
const BALLOON = "const held = []; setInterval(() => held.push(Buffer.alloc(8 * 2 ** 20, 1)), 2)";

/** Where who is to enter by itself cannot. */
class Doorless extends ControlGroup {
  override get doors(): readonly string[] {
    return ["/dev/null/closed"];
  }
}

/** A program in shell words, in a group of its own. */
function start(
  { parent }: TestGroups,
  script: string,
  limitBytes = LIMIT_BYTES,
  given: ControlGroup | null = null,
) {
  const options = optionsFor("", serverId, {
    command: "/bin/sh",
    args: ["-c", script],
    env: { PATH, BALLOON, NODE: process.execPath, RANK: String(TOOL_OOM_SCORE) },
  });
  const group = given ?? ControlGroup.make(parent, options.processId, limitBytes);
  return spawnAgentProcess({ ...options, group });
}

const none = (groups: TestGroups) => until(() => groups.names().length === 0);

describe.skipIf(skipped1 !== null)(`a group of cgroup v1${skipped1 ? `: ${skipped1}` : ""}`, () => {
  it("is entered by its process itself, before that is anything else", async () => {
    await using groups = testGroups1(GIB);
    await using agent = start(groups, "echo ready; cat");
    await printed(agent, "ready");
    expect(agent.group?.has(agent.pid ?? 0)).toBe(true);
    await settleInGroup(agent);
    expect(agent.group?.has(agent.pid ?? 0)).toBe(true);
  });

  it("gets a process that could not enter by itself", async () => {
    await using groups = testGroups1(GIB);
    ControlGroup.make(groups.parent, "late", LIMIT_BYTES);
    const group = new Doorless(groups.parent, "late");
    await using agent = start(groups, "echo ready; cat", LIMIT_BYTES, group);
    await printed(agent, "ready");
    expect(group.has(agent.pid ?? 0)).toBe(false);
    await settleInGroup(agent);
    expect(group.has(agent.pid ?? 0)).toBe(true);
    expect(agent.group).toBe(group);
  });

  it("is left by a process that cannot be moved there, and not by one that has ended", async () => {
    await using groups = testGroups1(GIB);
    const gone = () => new Doorless(groups.parent, "never-made");
    await using agent = start(groups, "echo ready; cat", LIMIT_BYTES, gone());
    await settleInGroup(agent);
    // What the replica counts is what there is to judge its end by.
    expect(agent.group).toBeNull();
    await using short = start(groups, "exit", LIMIT_BYTES, gone());
    await settleInGroup(short);
    expect(short.group).not.toBeNull();
  });

  it("ends what balloons in it, and nobody else", async () => {
    await using groups = testGroups1(GIB);
    await using sibling = start(groups, "echo ready; cat");
    await printed(sibling, "ready");
    await using agent = start(groups, 'exec "$NODE" -e "$BALLOON"');
    expect(await agent.settled).toMatchObject({
      signal: "SIGKILL",
      step: "exited",
      outOfMemory: true,
      oomKillCounterRose: true,
      wasShortForAll: false,
      survivors: 0,
    });
    expect(agent.toolOomKills).toBe(0);
    expect(agent.chargedPeakBytes).toBeGreaterThan(0.9 * LIMIT_BYTES);
    expect(agent.chargedPeakBytes).toBeLessThanOrEqual(LIMIT_BYTES);
    await sibling.terminate(5000);
    expect(await sibling.settled).toMatchObject({ code: 0, oomKillCounterRose: false });
    await none(groups);
  });

  it("knows that it ended for the limit of all, and not for its own", async () => {
    await using groups = testGroups1(GIB / 4);
    await using agent = start(groups, 'exec "$NODE" -e "$BALLOON"', groupLimitBytes(GIB));
    expect(await agent.settled).toMatchObject({
      signal: "SIGKILL",
      outOfMemory: true,
      oomKillCounterRose: true,
      wasShortForAll: true,
    });
  });

  it("kills a tool before the agent process, however small the tool", async () => {
    await using groups = testGroups1(GIB);
    const tool = 'echo "$RANK" >/proc/self/oom_score_adj; exec "$NODE" -e "$BALLOON"';
    // The agent process holds 100 MiB itself.
    const program = `const held = Buffer.alloc(100 * 2 ** 20, 1);
      const { spawnSync } = require("child_process");
      console.log("the tool:", spawnSync("sh", ["-c", process.env.TOOL]).signal, held.length);`;
    await using agent = start(
      groups,
      `export TOOL=${quoted(tool)} PROGRAM=${quoted(program)}; exec "$NODE" -e "$PROGRAM"`,
      256 * MIB,
    );
    await printed(agent, `the tool: SIGKILL ${100 * MIB}`);
    const exit = await agent.settled;
    expect(exit).toMatchObject({ code: 0, outOfMemory: false, oomKillCounterRose: true });
    await none(groups);
    expect(agent.toolOomKills).toBe(1);
    expect(agent.toolsEndedForMemory).toBe(1);
  });

  it("holds a process that has left its parent, its session and its environment", async () => {
    await using groups = testGroups1(GIB);
    const agent = start(groups, "(env -i setsid sleep 1000 &); echo ready; cat");
    await printed(agent, "ready");
    const directory = agent.group?.directory ?? "";
    await until(() =>
      pidsIn(directory).some((pid) => pid !== agent.pid && nameOf(pid) === "sleep"),
    );
    const hidden = pidsIn(directory).find((pid) => nameOf(pid) === "sleep") ?? 0;
    expect(readFileSync(`/proc/${hidden}/environ`, "utf8")).toBe("");
    agent.forSdk.stdin.end();
    expect(await agent.settled).toMatchObject({ code: 0, survivors: 0 });
    expect(isRunning(hidden)).toBe(false);
    await none(groups);
  });

  it("bounds a fork storm", async () => {
    await using groups = testGroups1(GIB);
    const agent = start(groups, "for i in $(seq 600); do sleep 1000 & done; wait");
    const inPids = join(groups.parent.pidsDirectory ?? "", agent.processId);
    await until(() => readGroup(inPids, "pids.events") !== "max 0");
    expect(Number(readGroup(inPids, "pids.current"))).toBeLessThanOrEqual(MAX_TASKS);
    await agent.terminate(0);
    await agent.treeGone;
    await none(groups);
  });

  it("can have its limit raised and lowered while it is in use", async () => {
    await using groups = testGroups1(GIB);
    await using agent = start(groups, "echo ready; cat");
    await printed(agent, "ready");
    const { group } = agent;
    const limit = () => Number(readGroup(group?.directory ?? "", "memory.limit_in_bytes"));
    for (const limitBytes of [512 * MIB, 256 * MIB]) {
      group?.setLimit(limitBytes);
      expect(limit()).toBe(limitBytes);
    }
  });

  it("is removed with the groups that its processes made in it", async () => {
    await using groups = testGroups1(GIB);
    // Not before we have moved it into its group from outside, too.
    const nest =
      "read -r _ && mkdir $GROUP/nested && echo $$ >$GROUP/nested/cgroup.procs && echo ready; cat";
    const options = optionsFor("", serverId, { command: "/bin/sh", args: ["-c", nest] });
    const group = ControlGroup.make(groups.parent, options.processId, LIMIT_BYTES);
    const env = { PATH, GROUP: group.directory };
    const agent = spawnAgentProcess({ ...options, env, group });
    agent.forSdk.stdin.write("go on\n");
    await printed(agent, "ready");
    expect(pidsIn(group.directory)).toEqual([]);
    await agent.terminate(0);
    await none(groups);
  });

  it("is none for a process that never started", async () => {
    await using groups = testGroups1(GIB);
    const options = optionsFor("", serverId, { command: "/missing" });
    const group = ControlGroup.make(groups.parent, options.processId, LIMIT_BYTES);
    const agent = spawnAgentProcess({ ...options, group });
    expect(await agent.settled).toMatchObject({ spawnError: "ENOENT" });
    expect(agent.group).toBeNull();
    await none(groups);
  });

  it("leaves nothing after 200 processes", async () => {
    await using groups = testGroups1(GIB);
    for (let batch = 0; batch < 20; batch += 1) {
      const agents = Array.from({ length: 10 }, () => start(groups, "(setsid sleep 1000 &); exit"));
      await Promise.all(agents.map((agent) => agent.treeGone));
    }
    await none(groups);
  });
});

describe.skipIf(skipped2 !== null)(`a group of cgroup v2${skipped2 ? `: ${skipped2}` : ""}`, () => {
  /** Made by hand: there is no memory controller to set a ceiling with. */
  function startIn({ parent }: TestGroups, script: string): AgentProcess {
    const options = optionsFor("", serverId, { command: "/bin/sh", args: ["-c", script] });
    const group = new ControlGroup(parent, options.processId);
    expect(() => ControlGroup.make(parent, options.processId, LIMIT_BYTES)).toThrow("ENOENT");
    mkdirSync(group.directory);
    return spawnAgentProcess({ ...options, group });
  }

  it("kills all its members at once, and is removed", async () => {
    await using groups = testGroups2();
    const agent = startIn(groups, "(env -i setsid sleep 1000 &); echo ready; cat");
    await printed(agent, "ready");
    const directory = agent.group?.directory ?? "";
    await until(() => pidsIn(directory).length === 3 || pidsIn(directory).some(isSleep));
    const members = pidsIn(directory);
    agent.group?.killAll();
    await until(() => members.every((pid) => !isRunning(pid)));
    expect(await agent.settled).toMatchObject({ signal: "SIGKILL", survivors: 0 });
    await none(groups);
  });
});

function isSleep(pid: number): boolean {
  return nameOf(pid) === "sleep";
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
