/**
 * Goal: in a control group of its own a turn that balloons meets the kernel alone: its tool ends, or
 * the turn itself, and nothing else notices.
 * Method: the real Claude Code behind the server, the memory guard switched off, so that nobody but
 * the kernel can act. Each group has a limit, and is looked up in the system itself.
 */

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { reasonForNoGroups1 } from "../helpers/control-group.ts";
import { claudeOf, until } from "../helpers/leaks.ts";
import { startServer, type InProcessServer } from "../helpers/server.ts";
import { ask, stream } from "./client.ts";
import { floodingModel } from "./flooding-model.ts";

const MIB = 2 ** 20;

/** 1.5 GiB, in one piece. */
const BALLOON = "node -e 'Buffer.alloc(3 * 2 ** 29, 1); setInterval(() => {}, 1000)'";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { afterTool: true }
    reply:
      - text: Done.
  - when: { userText: balloon }
    reply:
      - tool: { name: Bash, input: { command: ${JSON.stringify(BALLOON)}, description: Balloons } }
  - when: { userText: talk }
    tokensPerSecond: 20
    reply:
      - tokens: 100
  - reply:
      - text: "You said: {{userText}}"
`;

const shell = (name: string, turnMemory: string) => `
name: ${name}
instructions: You are a test.
tools: { builtin: [Bash] }
limits: { turnMemory: ${turnMemory} }
`;

const OPTIONS = {
  script: SCRIPT,
  agents: [shell("helper", "512MiB")],
  settings: {
    "capacity.memoryLimit": "4GiB",
    "capacity.guard": "false",
    "journal.turnSize": "1GiB",
    "journal.totalSize": "1GiB",
  },
};

const skipped = reasonForNoGroups1();

const title = `a turn in its own group${skipped ? `: ${skipped}` : ""}`;

describe.skipIf(skipped !== null)(title, () => {
  it("loses the tool that balloons and goes on, its siblings unharmed", async () => {
    await using server = await startServer(OPTIONS);
    const siblings = await Promise.all([stream(server, "Talk"), stream(server, "Talk")]);
    for (const sibling of siblings) await sibling.until("text_delta");
    const turn = await stream(server, "Balloon");
    const directory = groupOf(await claudeOf(turn.turnId));
    expect(directory).toContain(turn.turnId);
    expect(read(directory, "memory.limit_in_bytes")).toBe(`${(512 + 128) * MIB}`);

    expect(await turn.outcome()).toMatchObject({ status: "completed", text: "Done." });
    const result = turn.events.find(({ type }) => type === "tool_result");
    expect(JSON.stringify(result)).toContain("137");
    for (const sibling of siblings) {
      expect(await sibling.outcome()).toMatchObject({ status: "completed" });
    }
    const ended = server.logs.filter(({ msg }) => msg === "Turn completed");
    expect(ended).toHaveLength(3);
    const [warned] = server.logs.filter(({ msg }) => msg.startsWith("The kernel has killed"));
    expect(warned).toMatchObject({ turnId: turn.turnId, killed: 1 });
    expect(await server.metrics()).toMatch(/^plimsoll_tool_oom_kills_total(\{[^}]*\})? 1$/m);
    await until(() => !existsSync(directory), "the group to be removed");
    await until(() => groupsOf(server).length === 0, "no group to be left");
  });

  it("ends when Claude Code itself is over the ceiling, and its session goes on", async () => {
    await using model = await floodingModel();
    await using server = await startServer({
      ...OPTIONS,
      agents: [shell("helper", "192MiB")],
      environment: { ANTHROPIC_BASE_URL: model.url },
    });
    const at = { threadId: "grows" };
    expect(await ask(server, "Hello", at)).toMatchObject({ status: "completed", text: "Short." });
    const turn = await stream(server, "Flood", at);
    expect(await turn.outcome()).toMatchObject({ status: "failed", code: "turn_out_of_memory" });
    expect(await exitsOf(server)).toMatchObject({ killed_by_kernel: 1, killed_by_unknown: 0 });
    expect(await server.metrics()).toMatch(/^plimsoll_tool_oom_kills_total(\{[^}]*\})? 0$/m);
    expect(await ask(server, "Hello again", at)).toMatchObject({ status: "completed" });
    // It was resumed: the model is told what was said before.
    expect(model.asked.at(-1)).toContain("Flood");
    expect(server.gate.snapshot(monotonicMs()).inflight).toBe(0);
  });

  it("has the gate back off when it ended for the limit of all, and only then", async () => {
    await using model = await floodingModel();
    const flooded = async (turnMemory: string, parentBytes: number) => {
      await using server = await startServer({
        ...OPTIONS,
        agents: [shell("helper", turnMemory)],
        environment: { ANTHROPIC_BASE_URL: model.url },
      });
      const parent = join(groupOf("self"), `plimsoll-${server.serverId}`);
      writeFileSync(join(parent, "memory.limit_in_bytes"), String(parentBytes));
      const at = { threadId: "grows" };
      await ask(server, "Hello", at);
      const turn = await stream(server, "Flood", at);
      const outcome = await turn.outcome();
      expect(outcome).toMatchObject({ status: "failed", code: "turn_out_of_memory" });
      const { maxTurnsForNow } = await server.capacity();
      // As half a minute ago: it backs off for 5 s, and on a busy machine they may be over by now.
      const { pressure } = server.gate.snapshot(monotonicMs() - 30_000);
      return { maxTurnsForNow, pressure };
    };
    expect(await flooded("2GiB", 400 * MIB)).toEqual({
      maxTurnsForNow: 1,
      pressure: expect.stringMatching(/^memory ran short: nothing is admitted for/),
    });
    const unbraked = { maxTurnsForNow: null, pressure: null };
    expect(await flooded("192MiB", 2048 * MIB)).toEqual(unbraked);
  });

  it("that somebody kills is not said to have been killed by the kernel", async () => {
    await using server = await startServer(OPTIONS);
    const turn = await stream(server, "Talk");
    process.kill(await claudeOf(turn.turnId), "SIGKILL");
    await turn.outcome();
    expect(await exitsOf(server)).toMatchObject({ killed_by_kernel: 0, killed_by_unknown: 1 });
  });

  it("has none when they are switched off", async () => {
    const settings = { ...OPTIONS.settings, "agentProcess.ownGroup": "false" };
    await using server = await startServer({ ...OPTIONS, settings });
    const turn = await stream(server, "Talk");
    expect(groupOf(await claudeOf(turn.turnId))).toBe(groupOf("self"));
    expect(await turn.outcome()).toMatchObject({ status: "completed" });
  });
});

/** How many agent processes have ended, by how. */
async function exitsOf(server: InProcessServer): Promise<Readonly<Record<string, number>>> {
  const metrics = await server.metrics();
  const lines = metrics.matchAll(/^plimsoll_agent_process_exits_total\{.*"(\w+)"\} (\d+)$/gm);
  return Object.fromEntries(Array.from(lines, ([, reason, count]) => [reason, Number(count)]));
}

/** Where the memory files of the group of a process are. */
function groupOf(pid: number | "self"): string {
  const path = /^\d+:memory:(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "";
  return join("/sys/fs/cgroup/memory", path);
}

/** Names of the groups that the server's turns have now. */
function groupsOf({ serverId }: InProcessServer): readonly string[] {
  const parent = join(groupOf("self"), `plimsoll-${serverId}`);
  const entries = readdirSync(parent, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

function read(directory: string, name: string): string {
  return readFileSync(join(directory, name), "utf8").trim();
}
