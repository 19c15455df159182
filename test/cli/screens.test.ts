/**
 * Goal: what people read fits on their screen and obeys nobody but us.
 * Method: the pure functions that make it, on data made by hand.
 */
import { describe, expect, it } from "vitest";
import { loadAgents } from "../../src/agent/load.ts";
import { TurnGate } from "../../src/capacity/gate.ts";
import { staticWeights } from "../../src/capacity/weights.ts";
import { serverBanner } from "../../src/cli/banner.ts";
import { painter } from "../../src/cli/paint.ts";
import { prettyLine } from "../../src/cli/pretty-log.ts";
import { TurnPrinter } from "../../src/cli/turn-printer.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { TurnEvent, TurnUsage } from "../../src/turn/turn.ts";
import { HELLO_AGENT } from "./plimsoll.ts";

const PLAIN = painter(false);
// eslint-disable-next-line no-control-regex -- it is what must not be there
const OBEYED = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/u;

describe("serverBanner", () => {
  async function banner(provider: "anthropic" | "rehearsal", flags = {}, agentCount = 1) {
    const workingDirectory = "/nonexistent";
    const { config } = await loadConfig({ flags, environment: {}, workingDirectory });
    const [agent] = await loadAgents(HELLO_AGENT, {}, { provider });
    if (agent === undefined) throw new Error("The example is gone");
    const agents = Array.from({ length: agentCount }, (_, at) =>
      at === 0 ? agent : { ...agent, name: `hello-${at}` },
    );
    const notes: string[] = [];
    const source = "cgroup v2 memory.max of /";
    const memoryLimit = { bytes: 2 ** 31, source, kind: "cgroup2", group: null, notes } as const;
    const gate = new TurnGate({
      weights: staticWeights({ ...config.capacity, limit: () => memoryLimit }),
      maxTurns: config.capacity.maxTurns,
    });
    const ready = Promise.resolve(null);
    const url = "http://127.0.0.1:8080";
    const containment =
      "Each turn runs in a control group of its own (cgroup v1): over its ceiling the kernel ends a process of that turn, and no other";
    const killNow = () => undefined;
    const server = { url, memoryLimit, gate, containment, ready, killNow };
    const facts = { server, config, agents, version: "1.2.3", isRehearsalByFlag: true };
    return { plain: serverBanner(facts, false), colored: serverBanner(facts, true) };
  }

  it("tells the limit, where it was read, the load line and the turns", async () => {
    const { plain } = await banner("anthropic");
    expect(plain).toContain("2,048 MiB, cgroup v2 memory.max of /");
    expect(plain).toContain("2,048 MiB: 400 MiB for the server, 500 MiB a turn");
    expect(plain).toContain("contained   Each turn runs in a control group of its own");
    expect(plain).toContain("3 turns at once; more get 429 and Retry-After");
    expect(plain).not.toContain("REHEARSAL");
  });

  it("tells where to look with a browser, if there is a console", async () => {
    const { plain } = await banner("anthropic");
    expect(plain).toContain("console     http://127.0.0.1:8080/  in a browser");
    const off = await banner("anthropic", { "console.enabled": "false" });
    expect(off.plain).not.toContain("in a browser");
  });

  it("fits 80 columns, but for the line to paste", async () => {
    const { plain } = await banner("rehearsal", { "capacity.maxTurns": "2" });
    const long = plain.split("\n").filter((line) => line.length > 80);
    expect(long).toEqual([expect.stringMatching(/^curl -N /u)]);
  });

  it("cries out that it is a rehearsal, also without colours", async () => {
    const { plain, colored } = await banner("rehearsal");
    expect(plain).toContain("REHEARSAL   This is not Claude.");
    expect(colored).toContain("\u001B[43m REHEARSAL ");
    expect(plain).not.toMatch(OBEYED);
  });

  it("gives many agents one line each", async () => {
    const { plain } = await banner("anthropic", {}, 20);
    expect(plain.match(/\/turns$/gmu)).toHaveLength(2);
    expect(plain).toContain("/v1/agents/{agent}/turns");
    expect(plain).toContain("hello-19");
    expect(plain).toContain("curl -N http://127.0.0.1:8080/v1/agents/hello/turns");
  });
});

describe("prettyLine", () => {
  const line = (fields: object) => prettyLine(`${JSON.stringify(fields)}\n`, PLAIN);
  const time = new Date(2026, 0, 2, 14, 2, 9).toISOString();
  const base = { level: "info", time };

  it("tells a turn by its figures", () => {
    const turn = {
      ...base,
      turnId: "t",
      traceId: "x",
      sessionId: "s",
      agent: "hello",
      outcome: "completed",
      durationMs: 2_412,
      firstTokenMs: 890,
      startMs: 600,
      inputTokens: 621,
      outputTokens: 43,
      costUsd: 0.001_98,
      steps: 1,
      peakBytes: 131 * 2 ** 20,
      msg: "Turn completed",
    };
    expect(line(turn)).toBe(
      "14:02:09 turn completed  hello  2.4 s, first token 0.9 s, 43 tokens out, $0.0020, 131 MiB\n",
    );
  });

  it("tells why a turn failed", () => {
    const err = { name: "Error", message: "gone" };
    const failed = { ...base, level: "error", agent: "hello", code: "agent_crashed", err };
    const shown = line({ ...failed, durationMs: 80, firstTokenMs: null, msg: "Turn failed" });
    expect(shown).toBe(
      '14:02:09 error turn failed     hello  agent_crashed, 80 ms  err={"name":"Error","message":"gone"}\n',
    );
  });

  it("tells anything else by its fields", () => {
    expect(line({ ...base, level: "warn", killed: 2, note: "two words", msg: "Swept" })).toBe(
      '14:02:09 warn Swept  killed=2 note="two words"\n',
    );
    expect(line({ ...base, msg: "Stopped" })).toBe("14:02:09 Stopped\n");
  });

  it("leaves out what the first screen says, and shows the stack of a bug", () => {
    expect(line({ ...base, url: "http://x", msg: "Listening" })).toBe("");
    const err = { name: "TypeError", message: "x", stack: "TypeError: x\n    at y" };
    expect(line({ ...base, level: "error", err, msg: "Request failed" })).toMatch(
      /Request failed {2}err=.*\n {4}TypeError: x\n {4}at y\n$/u,
    );
  });

  it("shows nothing that a terminal obeys, and survives what is no JSON", () => {
    expect(line({ ...base, path: "\u001B[2J\u009B", msg: "a\u0007b" })).not.toMatch(OBEYED);
    expect(prettyLine("no JSON \u001B[2J\n", PLAIN)).toBe("no JSON \uFFFD[2J\n");
    expect(prettyLine("null\n", PLAIN)).toBe("null\n");
  });
});

describe("TurnPrinter", () => {
  const usage: TurnUsage = {
    inputTokens: 1_000,
    outputTokens: 20,
    cacheReadTokens: 400,
    cacheWriteTokens: 100,
    costUsd: 0.0123,
    steps: 2,
    durationMs: 1_500,
    firstTokenMs: null,
    byModel: [],
  };
  const print = (...events: TurnEvent[]) => {
    const printer = new TurnPrinter(PLAIN, true);
    return events.map((event) => printer.print(event)).join("");
  };

  it("begins each part of a turn on a line of its own", () => {
    const shown = print(
      { type: "reasoning_started", messageId: "r" },
      { type: "reasoning_delta", messageId: "r", delta: "Let me" },
      { type: "reasoning_delta", messageId: "r", delta: " see" },
      { type: "reasoning_ended", messageId: "r" },
      { type: "text_started", messageId: "m" },
      { type: "text_delta", messageId: "m", delta: "I look.\n" },
      { type: "text_ended", messageId: "m" },
      { type: "tool_call_started", toolCallId: "c", toolName: "look", messageId: "m" },
      { type: "tool_call_input_delta", toolCallId: "c", delta: '{"at":' },
      { type: "tool_call_input_delta", toolCallId: "c", delta: '"it"}' },
      { type: "tool_call_ended", toolCallId: "c" },
      { type: "tool_result", toolCallId: "c", content: "no\n such  thing", isError: true },
      { type: "turn_ended", outcome: { status: "limit_reached", usage, limit: "steps" } },
    );
    expect(shown).toBe(
      [
        "(thinking) Let me see",
        "I look.",
        '→ look {"at":"it"}',
        "← look failed: no such thing",
        "The turn has used up its steps (limits.steps)",
        "1,500 tokens in (400 from cache), 20 out, $0.0123, 2 steps, 1.5 s",
        "",
      ].join("\n"),
    );
  });

  it("shows nothing that a terminal obeys, whoever wrote it", () => {
    const evil = "\u001B]0;owned\u0007\u009B2J\r";
    const shown = print(
      { type: "text_delta", messageId: "m", delta: evil },
      { type: "tool_call_started", toolCallId: "c", toolName: "look", messageId: "m" },
      { type: "tool_call_input_delta", toolCallId: "c", delta: evil },
      { type: "tool_call_ended", toolCallId: "c" },
      { type: "tool_result", toolCallId: "c", content: evil, isError: false },
      {
        type: "turn_ended",
        outcome: { status: "completed", usage, stopReason: evil, text: "" },
      },
    );
    expect(shown).not.toMatch(OBEYED);
  });

  it("shows structured output, and what a failure says with its cure", () => {
    const structuredOutput = { a: [1] };
    const done = { status: "completed", usage, stopReason: "end_turn", text: "" } as const;
    expect(print({ type: "turn_ended", outcome: { ...done, structuredOutput } })).toMatch(
      /^\{\n {2}"a": \[\n {4}1\n {2}\]\n\}\n1,500 tokens in/u,
    );
    const failed = { status: "failed", usage, code: "turn_stalled", message: "Cannot go" } as const;
    expect(print({ type: "turn_ended", outcome: failed })).toMatch(
      /^turn_stalled: Cannot go\n {2}Send the turn again, or raise `limits.stallTime` of the agent\n/u,
    );
  });
});
