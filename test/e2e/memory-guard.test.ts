/**
 * Goal: with no control group of its own a turn that balloons meets the memory guard: its tool ends
 * or the turn itself, its caller is told why, its session goes on, and its siblings do not notice.
 * Method: the real Claude Code behind the server over HTTP, without groups of its own.
 */

import { describe, expect, it } from "vitest";

import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { until } from "../helpers/leaks.ts";
import { startServer } from "../helpers/server.ts";
import { ask, stream } from "./client.ts";
import { floodingModel } from "./flooding-model.ts";
import { inThreeTries, waitedLong } from "./tries.ts";

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

const shell = (turnMemory: string) => `
name: helper
instructions: You are a test.
tools: { builtin: [Bash] }
limits: { turnMemory: ${turnMemory} }
`;

const SETTINGS = {
  "capacity.memoryLimit": "4GiB",
  "agentProcess.ownGroup": "false",
  "journal.turnSize": "1GiB",
  "journal.totalSize": "1GiB",
};

describe("the memory guard of a server", () => {
  it("ends a tool that balloons, and the turn goes on, its siblings unharmed", async () => {
    const agents = [shell("512MiB")];
    await using server = await startServer({ script: SCRIPT, agents, settings: SETTINGS });
    const siblings = await Promise.all([stream(server, "Talk"), stream(server, "Talk")]);
    for (const sibling of siblings) await sibling.until("text_delta");
    const turn = await stream(server, "Balloon");
    expect(await turn.outcome()).toMatchObject({ status: "completed", text: "Done." });
    const result = turn.events.find(({ type }) => type === "tool_result");
    expect(JSON.stringify(result)).toContain("137");
    for (const sibling of siblings) {
      expect(await sibling.outcome()).toMatchObject({ status: "completed" });
    }
    const [told] = server.logs.filter(({ msg }) => msg.startsWith("The memory guard has ended"));
    expect(told).toMatchObject({ turnId: turn.turnId, reason: "ceiling" });
    expect(told?.msg).toMatch(/ended a tool: it held .* of the 512 MiB that one turn may hold/);
    const metrics = await server.metrics();
    expect(metrics).toMatch(/guard_actions_total\{[^}]*guard_target="tool"[^}]*\} 1/);
    const level = /^plimsoll_guard_level(\{[^}]*\})? 0$/m;
    await until(async () => level.test(await server.metrics()), "the guard to see room");
    // What the tool took until it was ended is nothing that a turn is to be predicted.
    const { largestBytes } = (await server.capacity()).footprints["helper"] ?? {};
    expect(largestBytes).toBeLessThan(350 * 2 ** 20);
  });

  it("ends a turn whose process balloons, says why, and its session goes on", async () => {
    await using model = await floodingModel();
    await using server = await startServer({
      script: SCRIPT,
      agents: [shell("192MiB")],
      settings: SETTINGS,
      environment: { ANTHROPIC_BASE_URL: model.url },
    });
    const at = { threadId: "grows" };
    expect(await ask(server, "Hello", at)).toMatchObject({ status: "completed", text: "Short." });
    const turn = await stream(server, "Flood", at);
    const outcome = await turn.outcome();
    expect(outcome).toMatchObject({ status: "failed", code: "turn_out_of_memory" });
    expect(JSON.stringify(outcome)).toMatch(
      /Cannot finish the turn: it held \d+ MiB of the 192 MiB that one turn may hold/,
    );
    const metrics = await server.metrics();
    expect(metrics).toMatch(/process_exits_total\{[^}]*="killed_by_guard"\} 1$/m);
    expect(metrics).toMatch(/process_exits_total\{[^}]*="killed_by_unknown"\} 0$/m);
    expect(await ask(server, "Hello again", at)).toMatchObject({ status: "completed" });
    // It was resumed: the model is told what was said before. Of the turn that was killed Claude Code
    // may not yet have written anything.
    expect(model.asked.at(-1)).toContain("Short.");
    expect(server.gate.snapshot(monotonicMs()).inflight).toBe(0);
  });

  it("has a later turn of a process that lingers raise the prediction at once", async () => {
    await inThreeTries(async () => {
      await using model = await floodingModel();
      await using server = await startServer({
        script: SCRIPT,
        agents: [`${shell("192MiB")}hosting: { linger: 10m }\n`],
        settings: SETTINGS,
        environment: { ANTHROPIC_BASE_URL: model.url },
      });
      const learned = async () => (await server.capacity()).footprints["helper"];
      const at = { threadId: "stays" };
      expect(await ask(server, "Hello", at)).toMatchObject({ status: "completed" });
      const { largestBytes: before = 0 } = (await learned()) ?? {};
      const [resting] = (await server.capacity()).turns;
      expect(resting).toMatchObject({ kind: "resident", turnId: null });
      const flooded = await stream(server, "Flood", at);
      const [working] = (await server.capacity()).turns;
      const { turnId } = flooded;
      const { processId } = resting ?? {};
      const outcome = await flooded.outcome();
      expect(outcome).toMatchObject({ status: "failed", code: "turn_out_of_memory" });
      const [ended] = server.logs.filter(({ msg }) => msg === "Turn failed");
      const worked = ended?.["process"] === "resident";
      if (worked) {
        expect(working).toMatchObject({ kind: "turn", turnId, processId });
        const told = server.logs.find(({ msg }) => msg.startsWith("The memory guard has ended"));
        expect(told).toMatchObject({ turnId, processId });
        expect(processId).not.toBe(turnId);
      }
      const { largestBytes: after = 0 } = (await learned()) ?? {};
      expect(after).toBeGreaterThan(before + 2 ** 25);
      return { worked, wasHeldUp: waitedLong(outcome) };
    }, "a process that lingers has the turn");
  });

  it("ends nothing when it is switched off", async () => {
    await using server = await startServer({
      script: SCRIPT.replace("3 * 2 ** 29, 1); setInterval(() => {}, 1000)", "2 ** 29, 1)"),
      agents: [shell("192MiB")],
      settings: { ...SETTINGS, "capacity.guard": "false" },
    });
    const { toolCalls } = await ask(server, "Balloon");
    expect(toolCalls[0]).toMatchObject({ name: "Bash", isError: false });
  });
});
