/**
 * Goal: however a turn ends, and whenever, its outcome names the first cause, nothing of it is
 * left, and nothing is thrown that nobody waits for.
 * Method: turns of the real Claude Code on a scripted model, stopped at every stage.
 */

import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { addTotals, NO_TOTALS, type SessionTotals } from "../../src/session/session-record.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";
import { openHttpMcpServer } from "./http-mcp-server.ts";
import { openSseMcpServer } from "./sse-mcp-server.ts";
import { deadlineIn } from "../../src/turn/watch.ts";
import { AgentLab, type LabEnd, type LabTurn } from "./real-agents.ts";

const SLOW = { reply: [{ tokens: 500 }], tokensPerSecond: 20 };
/** Of this and of the tool nobody sees the end. */
const ENDLESS = { reply: [{ tokens: 6_000 }], tokensPerSecond: 20 };
const CALLS_BASH = {
  when: { userText: "/tool$/", afterTool: false },
  reply: [{ tool: { name: "Bash", input: { command: "sleep 300", description: "waits" } } }],
};
const WITH_BASH = { tools: { builtin: ["Bash"] } };

const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
beforeAll(() => void process.on("unhandledRejection", onUnhandled));
afterAll(() => {
  process.off("unhandledRejection", onUnhandled);
  expect(unhandled).toEqual([]);
});

function killAll(lab: AgentLab): void {
  for (const { pid } of lab.processes.live) process.kill(pid ?? 0, "SIGKILL");
}

/** Calls `act` once, when the turn has come to the stage. */
function at(stage: string, act: () => void): Pick<LabTurn, "onEvent"> {
  let isDone = false;
  const once = (): void => {
    if (!isDone) act();
    isDone = true;
  };
  const wanted: Record<string, TurnEvent["type"]> = {
    "in a text": "text_delta",
    "in a tool": "tool_call_ended",
    "after the answer": "text_ended",
  };
  return { onEvent: ({ type }) => void (type === wanted[stage] && once()) };
}

/** Something to do once, and the time since it was done. */
function stopwatch(act: () => void): { readonly act: () => void; sinceMs(): number } {
  let doneAtMs = Number.NaN;
  return {
    act: () => {
      doneAtMs = performance.now();
      act();
    },
    sinceMs: () => performance.now() - doneAtMs,
  };
}

/** A turn that is cancelled when its process is so old, and how old it really was. */
async function cancelAt(lab: AgentLab, ageMs: number) {
  const controller = new AbortController();
  const cancel = stopwatch(() => controller.abort("cancel_requested"));
  const age = stopwatch(() => {});
  let agedMs = Number.NaN;
  const turn = await lab.turn({
    signal: controller.signal,
    run: {
      spawn: (options) => {
        const agent = lab.processes.spawn(options);
        age.act();
        setTimeout(() => {
          agedMs = age.sinceMs();
          cancel.act();
        }, ageMs);
        return agent;
      },
    },
  });
  return { ...turn, agedMs, tookMs: cancel.sinceMs() };
}

/** Whether that its process had started is no fault but that of the timer. */
function isLate({ end, agedMs }: Awaited<ReturnType<typeof cancelAt>>, ageMs: number): boolean {
  return end.startMs !== null && agedMs > ageMs + 50;
}

describe("a cancelled turn", () => {
  it("is never begun if it was cancelled before", async () => {
    await using lab = await AgentLab.open([SLOW]);
    const { end, events } = await lab.turn({ signal: AbortSignal.abort("client_gone") });
    expect(end).toMatchObject({
      exit: null,
      outcome: { status: "cancelled", cause: "client_gone" },
    });
    expect({ events, requests: lab.requests }).toEqual({ events: [], requests: [] });
  });

  it.each([0, 20, 150])("ends at once when its process is %d ms old", async (ageMs) => {
    await using lab = await AgentLab.open([SLOW]);
    let turn = await cancelAt(lab, ageMs);
    // A timer that is late finds a process that has started, and said so.
    for (let tries = 1; tries < 10 && isLate(turn, ageMs); tries += 1) {
      turn = await cancelAt(lab, ageMs);
    }
    const { end, events, tookMs } = turn;
    expect(end).toMatchObject({ startMs: null, exit: { step: "sigkill" } });
    expect(end.outcome).toMatchObject({ status: "cancelled", cause: "cancel_requested" });
    expect(events).toEqual([]);
    expect(tookMs).toBeLessThan(5_000);
  });

  it.each(["in a text", "in a tool"])("is interrupted %s and tells what it cost", async (stage) => {
    await using lab = await AgentLab.open([CALLS_BASH, ENDLESS]);
    const controller = new AbortController();
    const leave = stopwatch(() => controller.abort("client_gone"));
    const { end, events } = await lab.turn({
      say: stage,
      agent: WITH_BASH,
      signal: controller.signal,
      // For the process to say what it cost, however busy the machine is.
      run: { endGraceMs: 20_000 },
      ...at(stage, leave.act),
    });
    const tookMs = leave.sinceMs();
    expect(end.outcome).toMatchObject({ status: "cancelled", cause: "client_gone" });
    expect(end.outcome.usage).toMatchObject({ steps: 1, costUsd: expect.any(Number) });
    expect(end.outcome.usage.costUsd).toBeGreaterThan(0);
    expect(end.totals?.costUsd).toBeGreaterThan(0);
    const last = stage === "in a text" ? "text_ended" : "tool_result";
    expect(events.map(({ type }) => type)).toContain(last);
    // All graces together are 41 s, and by itself it would go on for 300.
    expect(tookMs).toBeLessThan(60_000);
  });

  it("is completed when the whole answer had been given", async () => {
    await using lab = await AgentLab.open([{ reply: [{ text: "Hi" }] }]);
    const controller = new AbortController();
    const { end } = await lab.turn({
      signal: controller.signal,
      ...at("after the answer", () => controller.abort("client_gone")),
    });
    expect(["completed", "cancelled"]).toContain(end.outcome.status);
    if (end.outcome.status === "completed") expect(end.outcome.text).toBe("Hi");
  });

  it("keeps the code of an error that ended it", async () => {
    await using lab = await AgentLab.open([SLOW]);
    const controller = new AbortController();
    const tooLarge = new AppError("turn_output_too_large", "Cannot finish the turn: too slow");
    const { end } = await lab.turn({
      signal: controller.signal,
      ...at("in a text", () => controller.abort(tooLarge)),
    });
    expect(end.outcome).toMatchObject({ status: "failed", code: "turn_output_too_large" });
  });
});

describe("a process that is killed from outside", () => {
  it("before it is ready did not start", async () => {
    await using lab = await AgentLab.open([SLOW]);
    const { end } = await lab.turn({
      run: {
        spawn: (options) => {
          const agent = lab.processes.spawn(options);
          // However late the timer is, it does not get ready before.
          if (agent.pid !== null) process.kill(agent.pid, "SIGSTOP");
          setTimeout(() => killAll(lab), 20);
          return agent;
        },
      },
    });
    expect(end.outcome).toMatchObject({ status: "failed" });
    expect(end).toMatchObject({ startMs: null, totals: null, exit: { signal: "SIGKILL" } });
  });

  it.each(["in a text", "in a tool"])("%s ends the turn with whole events", async (stage) => {
    await using lab = await AgentLab.open([CALLS_BASH, SLOW]);
    const { end, events } = await lab.turn({
      say: stage,
      agent: WITH_BASH,
      ...at(stage, () => killAll(lab)),
    });
    expect(end.outcome).toMatchObject({ status: "failed", code: "turn_out_of_memory" });
    expect(end).toMatchObject({ totals: null, exit: { signal: "SIGKILL", survivors: 0 } });
    expect(end.outcome.usage.steps).toBe(1);
    expect(events.at(-1)?.type).toBe(stage === "in a text" ? "text_ended" : "tool_call_ended");
  });
});

describe("a turn's clocks", () => {
  it("end a process that does not start", async () => {
    await using lab = await AgentLab.open([SLOW]);
    const { end, tookMs } = await lab.turn({
      run: {
        startTimeoutMs: 300,
        spawn: (options) => lab.processes.spawn({ ...options, command: "sleep", args: ["60"] }),
      },
    });
    expect(end.outcome).toMatchObject({ status: "failed", code: "agent_start_failed" });
    // By itself it would end after 60 s.
    expect(tookMs).toBeLessThan(30_000);
  });

  it("end a turn whose model is silent", async () => {
    await using lab = await AgentLab.open([{ reply: [{ tokens: 50 }], hangAfterTokens: 5 }]);
    const { end, events } = await lab.turn({ run: { stallTimeMs: 10_000 } });
    expect(end.outcome).toMatchObject({ status: "failed", code: "turn_stalled" });
    expect(events.at(-1)?.type).toBe("text_ended");
  });

  it("end a turn that goes on for too long", async () => {
    await using lab = await AgentLab.open([SLOW]);
    using deadline = deadlineIn(2_500);
    const { end } = await lab.turn({ signal: deadline.signal });
    expect(end.outcome).toMatchObject({ status: "failed", code: "turn_timeout" });
  });

  it("end a process that no longer listens", async () => {
    await using lab = await AgentLab.open([SLOW]);
    const freeze = stopwatch(() => {
      for (const { pid } of lab.processes.live) process.kill(pid ?? 0, "SIGSTOP");
    });
    const { end } = await lab.turn({
      run: { stallTimeMs: 10_000, endGraceMs: 300 },
      ...at("in a text", freeze.act),
    });
    const tookMs = freeze.sinceMs();
    expect(end.outcome).toMatchObject({ status: "failed", code: "turn_stalled" });
    expect(end.exit).toMatchObject({ step: "sigkill", survivors: 0, outOfMemory: false });
    // Of which 10 s are the stall.
    expect(tookMs).toBeLessThan(17_000);
  });
});

describe.concurrent("a turn that cannot start", () => {
  it("has an outcome when the spawn throws", async () => {
    await using lab = await AgentLab.open([SLOW]);
    const spawn = (): never => {
      throw new AppError("draining", "Cannot start an agent process: shutting down");
    };
    const { end } = await lab.turn({ run: { spawn } });
    expect(end.outcome).toMatchObject({ status: "failed", code: "agent_start_failed" });
    expect(end.diagnosis.thrown).toBeInstanceOf(AppError);
  });

  it("has an outcome when there is no such program", async () => {
    await using lab = await AgentLab.open([SLOW]);
    const { end } = await lab.turn({
      run: { spawn: (options) => lab.processes.spawn({ ...options, command: "/none/such" }) },
    });
    expect(end.outcome).toMatchObject({ status: "failed", code: "agent_start_failed" });
  });

  it("has an outcome when the SDK does not take its options", async () => {
    await using lab = await AgentLab.open([SLOW]);
    const options = { model: "claude-sonnet-5", fallbackModel: "claude-sonnet-5" };
    const { end } = await lab.turn({ run: { options } });
    expect(end.outcome).toMatchObject({ status: "failed", code: "agent_start_failed" });
    expect(end.exit).toBeNull();
  });

  it("has an outcome when the transcript is not there, and keeps the totals", async () => {
    await using lab = await AgentLab.open([SLOW]);
    const { end } = await lab.turn({ isNew: false, counted: { costUsd: 1, byModel: [] } });
    expect(end.outcome).toMatchObject({ status: "failed", code: "agent_start_failed" });
    expect(end.totals).toBeNull();
    expect(end.diagnosis.stderrTail).toContain("No conversation found");
  });

  it("is over before the model answers when the process offers other tools than were declared", async () => {
    await using lab = await AgentLab.open([{ reply: [{ text: "Hi" }] }], {
      firstTokenMs: 15_000,
      tokensPerSecond: 100,
    });
    const detail = "offers undeclared tools: Bash";
    const run = { postureFault: () => ({ code: "agent_posture_mismatch", detail }) as const };
    const { end, events } = await lab.turn({ run });
    expect(end.outcome).toMatchObject({ status: "failed", code: "agent_posture_mismatch" });
    expect(end.diagnosis.posture).toBe(detail);
    expect({ events, totals: end.totals }).toEqual({ events: [], totals: null });
  });
});

describe.concurrent("errors of the model", () => {
  const once = { CLAUDE_CODE_MAX_RETRIES: "1" };

  it.each([
    [400, "model_request_refused"],
    [401, "model_auth_failed"],
    [404, "model_request_refused"],
    [429, "model_rate_limited"],
    [500, "model_unavailable"],
    [529, "model_overloaded"],
  ] as const)("%d is %s", async (status, code) => {
    await using lab = await AgentLab.open([{ error: { status } }]);
    const { end } = await lab.turn({ environment: once });
    const message = `Cannot finish the turn: the model provider refused (HTTP ${status})`;
    expect(end.outcome).toMatchObject({ status: "failed", code, message });
    expect(end.outcome.usage).toMatchObject({ costUsd: 0, steps: 0, firstTokenMs: null });
  });

  it("keep the provider's words for the log, and from the caller", async () => {
    const error = { status: 400 as const, message: `no such effort ${"x".repeat(600)}` };
    await using lab = await AgentLab.open([{ error }]);
    const { end } = await lab.turn({ environment: once });
    expect(end.diagnosis.providerAnswer).toContain("no such effort");
    expect(end.diagnosis.providerAnswer.length).toBeLessThanOrEqual(500);
    expect(JSON.stringify(end.outcome)).not.toContain("no such effort");
  });

  it("are tried again for seconds, not for minutes, and then told", async () => {
    await using lab = await AgentLab.open([{ error: { status: 529 } }]);
    const { end, events, tookMs } = await lab.turn();
    expect(end.outcome).toMatchObject({ status: "failed", code: "model_overloaded" });
    expect(events.map((event) => event.type === "notice" && event.name)).toEqual(
      Array.from({ length: 4 }, () => "model_retry"),
    );
    expect(lab.requests).toHaveLength(5);
    // Of which 7.5 s are waits.
    expect(tookMs).toBeLessThan(45_000);
  });

  it("take the fallback model, and never the model itself", async () => {
    const overloaded = { when: { model: "sonnet" }, error: { status: 529 as const } };
    await using lab = await AgentLab.open([overloaded, { reply: [{ text: "from {{model}}" }] }]);
    const fallback = ["claude-sonnet-5", "claude-haiku-4-5"];
    const { end } = await lab.turn({ agent: { model: { fallback } } });
    expect(end.outcome).toMatchObject({ status: "completed", text: "from claude-haiku-4-5" });
    expect(end.outcome.usage.byModel.map(({ model }) => model)).toEqual(["claude-haiku-4-5"]);
  });

  it("in the midst of a stream leave whole events, and the answer comes", async () => {
    const cut = { when: { requestNumber: 1 }, reply: [{ tokens: 40 }], cutAfterTokens: 10 };
    await using lab = await AgentLab.open([cut, { reply: [{ text: "whole" }] }]);
    const { end, events } = await lab.turn();
    expect(end.outcome).toMatchObject({ status: "completed", text: "whole" });
    expect(events.at(-1)).toMatchObject({ type: "text_ended" });
  });

  it.each([
    ["max_tokens", "the answer is longer than the model can write"],
    ["refusal", "the model declined to answer"],
  ] as const)("%s is said in words", async (stopReason, words) => {
    await using lab = await AgentLab.open([{ reply: [{ text: "half" }], stopReason }]);
    const { end } = await lab.turn();
    const message = `Cannot finish the turn: ${words}`;
    expect(end.outcome).toMatchObject({ code: "model_request_refused", message });
  });
});

describe("structured output", () => {
  const outputSchema = {
    type: "object",
    properties: { answer: { type: "number" } },
    required: ["answer"],
  };

  it("is the outcome's, and its tool is hidden", async () => {
    await using lab = await AgentLab.open([{ reply: [{ structured: { answer: 42 } }] }]);
    const { end, events } = await lab.turn({ agent: { outputSchema } });
    expect(end.outcome).toMatchObject({ status: "completed", structuredOutput: { answer: 42 } });
    expect(end.outcome.usage.steps).toBe(1);
    expect(events).toEqual([]);
  });

  it.each([
    ["never given", [{ text: "I would rather not." }]],
    ["never right", [{ structured: { answer: "forty-two" } }]],
  ])("that is %s is a failure", async (_why, reply) => {
    await using lab = await AgentLab.open([{ reply }]);
    const { end } = await lab.turn({ agent: { outputSchema } });
    expect(end.outcome).toMatchObject({ status: "failed", code: "model_unavailable" });
  });
});

describe("usage", () => {
  it("is each turn's own, also after one that failed, died or was cancelled", async () => {
    const usage = { inputTokens: 100_000, outputTokens: 1_000, cacheReadTokens: 0 };
    const bash = { tool: { name: "Bash", input: { command: "echo hi", description: "greets" } } };
    await using lab = await AgentLab.open([
      { when: { userText: "/fail$/" }, error: { status: 400 } },
      { when: { userText: "/hang$/" }, reply: [{ tokens: 30 }], usage, hangAfterTokens: 10 },
      { when: { userText: "/loop$/" }, reply: [bash], usage },
      { reply: [{ text: "Hi" }], usage },
    ]);
    const sessionId = randomUUID();
    let counted: SessionTotals = NO_TOTALS;
    let totals: SessionTotals = NO_TOTALS;
    let isNew = true;
    const say = async (text: string, more: LabTurn = {}): Promise<LabEnd> => {
      const turn = await lab.turn({ say: text, sessionId, isNew, counted, ...more });
      ({ counted } = turn);
      totals = addTotals(totals, turn.end.totals ?? NO_TOTALS);
      isNew = false;
      return turn;
    };
    const price = (await say("one")).end.outcome.usage.costUsd;
    expect(price).toBeGreaterThan(0.1);
    const plain = { costUsd: price, inputTokens: 100_000, outputTokens: 1_000, steps: 1 };
    expect((await say("two")).end.outcome.usage).toMatchObject(plain);
    expect((await say("fail")).end.outcome.usage).toMatchObject({ costUsd: 0, steps: 0 });
    expect((await say("three")).end.outcome.usage).toMatchObject(plain);
    const died = await say(
      "hang",
      at("in a text", () => killAll(lab)),
    );
    expect(died.end.outcome.usage).toMatchObject({ costUsd: 0, steps: 1 });
    expect((await say("four")).end.outcome.usage).toMatchObject(plain);
    expect(totals.costUsd).toBeCloseTo(4 * price, 6);

    // A budget is the turn's, though the session has spent more than that long ago.
    const budget = { limits: { budgetUsd: 1.5 * price }, ...WITH_BASH };
    const broke = (await say("loop", { agent: budget })).end.outcome;
    expect(broke).toMatchObject({ status: "limit_reached", limit: "budget" });
    expect(broke.usage.costUsd).toBeCloseTo(2 * price, 6);
    const short = (await say("loop", { agent: { limits: { steps: 2 }, ...WITH_BASH } })).end
      .outcome;
    expect(short).toMatchObject({ status: "limit_reached", limit: "steps", usage: { steps: 2 } });
  });
});

describe("MCP servers", () => {
  const rules = [
    { when: { afterTool: false }, reply: [{ tool: { name: "mcp__vault__open", input: {} } }] },
    { reply: [{ text: "It says: {{toolResult}}" }] },
  ];
  const secret = `secret-${randomUUID()}`;

  it("over stdio may be used, and no command line has their secrets", async () => {
    await using lab = await AgentLab.open(rules);
    const file = fileURLToPath(new URL("./mcp-server.mjs", import.meta.url));
    const args = [file];
    const vault = {
      type: "stdio",
      command: process.execPath,
      args,
      env: { VAULT: secret },
      required: true,
    } as const;
    let commandLines = "";
    const { end, events } = await lab.turn({
      agent: { tools: { mcp: { vault } } },
      onEvent: ({ type }) => {
        if (type === "tool_call_started" || type === "tool_result")
          commandLines += allCommandLines();
      },
    });
    expect(end.outcome).toMatchObject({ status: "completed", text: `It says: inside: ${secret}` });
    expect(events).toContainEqual(
      expect.objectContaining({ type: "tool_call_started", toolName: "open", serverName: "vault" }),
    );
    expect(commandLines).toContain(file);
    expect(commandLines).not.toContain(secret);
    expect(end.diagnosis.absentServers).toEqual([]);
  });

  it.each([
    ["HTTP", "http", openHttpMcpServer],
    ["SSE", "sse", openSseMcpServer],
  ] as const)("over %s may be used, and no command line has their headers", async (...how) => {
    const [, type, open] = how;
    await using server = await open();
    await using lab = await AgentLab.open(rules);
    const headers = { authorization: `Bearer ${secret}` };
    const vault = { type, url: server.url, headers, required: true };
    let commandLines = "";
    const { end } = await lab.turn({
      agent: { tools: { mcp: { vault } } },
      onEvent: () => void (commandLines += allCommandLines()),
    });
    const text = `It says: asked with Bearer ${secret}`;
    expect(end.outcome).toMatchObject({ status: "completed", text });
    expect(commandLines).not.toContain(secret);
  });

  it.each([
    [true, { status: "failed", code: "mcp_server_unavailable" }],
    [false, { status: "completed", text: "Without it." }],
  ])("that cannot be reached though required is %s", async (required, outcome) => {
    await using lab = await AgentLab.open([{ reply: [{ text: "Without it." }] }], {
      firstTokenMs: required ? 15_000 : 500,
      tokensPerSecond: 100,
    });
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/mcp`;
    const { end, events } = await lab.turn({
      environment: { MCP_TIMEOUT: "1000" },
      agent: {
        tools: {
          mcp: {
            silent: { type: "http", url, headers: {}, required },
            broken: { type: "stdio", command: "/none/such", args: [], env: {}, required: false },
          },
        },
      },
    });
    silent.closeAllConnections();
    silent.close();
    expect(end.outcome).toMatchObject(outcome);
    expect([...end.diagnosis.absentServers].sort()).toEqual(["broken", "silent"]);
    if (required) expect(end.diagnosis.posture).toMatch(/^lacks MCP servers: silent \(\w+\)$/u);
    if (required) expect(events).toEqual([]);
  });
});

/** Of every process there is. */
function allCommandLines(): string {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map((pid) => readIfThere(`/proc/${pid}/cmdline`)).join("\n");
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
