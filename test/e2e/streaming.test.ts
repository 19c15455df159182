/**
 * What a caller of the REST protocol receives: events as they happen, tools, structured output,
 * and figures that belong to one turn alone.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { claudeOf, until } from "../helpers/leaks.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { ask, post, refusal, stream } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 20, tokensPerSecond: 500 }
rules:
  - when: { declaresTool: StructuredOutput, afterTool: false }
    reply:
      - structured: { city: Paris, degrees: 21 }
  - when: { afterTool: true }
    reply:
      - text: "I was told: {{toolResult}}"
  - when: { userText: add }
    reply:
      - text: "I add. "
      - tool: { name: add, input: { a: 2, b: 3 } }
  - when: { userText: broken }
    reply:
      - tool: { name: fail, input: {} }
  - when: { userText: think }
    reply:
      - thinking: First I think about it.
      - text: Then I answer.
  - when: { userText: slowly }
    tokensPerSecond: 20
    reply:
      - tokens: 100
  - when: { userText: silent for long }
    firstTokenMs: 170000
    reply:
      - text: Never.
  - when: { userText: silent }
    firstTokenMs: 2500
    reply:
      - text: At last.
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - when: { userText: count }
    usage: { inputTokens: 100, outputTokens: 10, cacheReadTokens: 1000, cacheCreationTokens: 50 }
    reply:
      - text: Counted.
  - reply:
      - text: "You said: {{userText}}"
`;

const AGENTS = [
  `
name: helper
model: { id: claude-sonnet-5, thinking: { budgetTokens: 1024 } }
instructions: You are a test.
tools: { functions: [$FIXTURES/tools.js] }
`,
  `
name: weather
instructions: You are a test.
output:
  schema:
    type: object
    properties: { city: { type: string }, degrees: { type: number } }
    required: [city, degrees]
`,
];

let server: TestServer;
beforeAll(async () => {
  server = await startServer({
    script: SCRIPT,
    agents: AGENTS,
    settings: { "http.heartbeat": "1s", "capacity.memoryLimit": "4GiB" },
  });
});
afterAll(async () => server[Symbol.asyncDispose]());

describe("a streamed turn", () => {
  it("sends text while the model still writes", async () => {
    const endless = await stream(server, "Now hang");
    // What came must not wait for what is to come.
    await endless.until("text_delta");
    expect(server.model.openRequestCount).toBe(1);
    await cancel(endless.turnId);
    await endless.closed;

    const turn = await stream(server, "Speak slowly");
    const outcome = await turn.outcome();
    expect(outcome).toMatchObject({ status: "completed", stopReason: "end_turn" });
    const deltas = turn.events.filter(({ type }) => type === "text_delta");
    expect(deltas.length).toBeGreaterThan(10);
    expect(turn.text().trim().split(" ")).toHaveLength(100);
  });

  it("starts with the ids of the turn and its session, and is not to be cached", async () => {
    const response = await post(server, "Hi", { accept: "text/event-stream", threadId: "ids" });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(response.headers.get("cache-control")).toContain("no-cache");
    const turnId = response.headers.get("x-turn-id");
    const text = await response.text();
    expect(text).toMatch(/^id: [0-9a-f]{8}-1\nevent: turn_started\n/);
    expect(text).toContain(`"turnId":"${turnId}"`);
    expect(text).toContain('"threadId":"ids"');
  });

  it("shows what the model thinks apart from what it says", async () => {
    const turn = await stream(server, "Please think");
    await turn.outcome();
    const thought = turn.events.flatMap((event) =>
      event.type === "reasoning_delta" ? [event.delta] : [],
    );
    expect(thought.join("")).toBe("First I think about it.");
    expect(turn.text()).toBe("Then I answer.");
    const types = turn.events.map(({ type }) => type);
    expect(types.indexOf("reasoning_ended")).toBeLessThan(types.indexOf("text_started"));
  });

  it("shows the call of a function tool, its input, its result and the answer after it", async () => {
    const turn = await stream(server, "Please add");
    await turn.outcome();
    const started = await turn.until("tool_call_started");
    expect(started).toMatchObject({ toolName: "add", serverName: "tools" });
    const input = turn.events.flatMap((event) =>
      event.type === "tool_call_input_delta" ? [event.delta] : [],
    );
    expect(JSON.parse(input.join(""))).toEqual({ a: 2, b: 3 });
    expect(await turn.until("tool_result")).toMatchObject({
      toolCallId: started.toolCallId,
      content: "The sum is 5",
      isError: false,
    });
    expect(turn.text()).toBe("I add. I was told: The sum is 5");
  });

  it("beats while the model is silent", async () => {
    const mute = await stream(server, "Be silent for long");
    await until(() => mute.heartbeats >= 2, "two heartbeats");
    await cancel(mute.turnId);
    expect(await mute.outcome()).toMatchObject({ status: "cancelled" });
    expect(mute.text()).toBe("");
    const turn = await stream(server, "Be silent for a while");
    await turn.outcome();
    expect(turn.text()).toBe("At last.");
  });

  it("ends in exactly one event, and says why, when the process is killed in its middle", async () => {
    const turn = await stream(server, "Now hang");
    await turn.until("text_delta");
    process.kill(await claudeOf(turn.turnId), "SIGKILL");
    // Whoever kills a process from outside is taken for the kernel.
    const killed = { status: "failed", code: "turn_out_of_memory" };
    expect(await turn.outcome()).toMatchObject(killed);
    const types = turn.events.map(({ type }) => type);
    expect(types.filter((type) => type === "text_ended")).toHaveLength(1);
  });
});

describe("a turn as JSON", () => {
  it("has the last text, the tool calls with their results, and the reason of its end", async () => {
    const turn = await ask(server, "Please add");
    expect(turn).toMatchObject({
      agent: "helper",
      status: "completed",
      stopReason: "end_turn",
      text: "I was told: The sum is 5",
      toolCalls: [
        {
          name: "add",
          server: "tools",
          input: { a: 2, b: 3 },
          result: "The sum is 5",
          isError: false,
        },
      ],
    });
    expect(turn.usage.steps).toBe(2);
  });

  it("marks the result of a tool that failed, and goes on", async () => {
    const turn = await ask(server, "Use what is broken");
    expect(turn.status).toBe("completed");
    expect(turn.toolCalls).toMatchObject([{ name: "fail", isError: true }]);
    expect(turn.toolCalls[0]?.result).toContain("out of order");
  });

  it("has a value that fits the schema where the agent file asks for one", async () => {
    const turn = await ask(server, "How is the weather?", { agent: "weather" });
    expect(turn.structuredOutput).toEqual({ city: "Paris", degrees: 21 });
    expect(turn.toolCalls).toEqual([]);
  });

  it("answers with the status of the failure when the process is killed", async () => {
    const answer = post(server, "Now hang", { threadId: "killed" });
    const turnId = await runningTurn(server);
    process.kill(await claudeOf(turnId), "SIGKILL");
    const problem = await refusal(answer);
    expect(problem).toMatchObject({ status: 502, turnId });
  });
});

describe("usage of a turn", () => {
  it("counts the turn alone, however many came before it in the session", async () => {
    const turns = [];
    for (const number of [1, 2, 3]) {
      turns.push(await ask(server, `Please count ${number}`, { threadId: "counting" }));
    }
    for (const { usage } of turns) {
      expect(usage).toMatchObject({
        inputTokens: 100,
        outputTokens: 10,
        cacheReadTokens: 1000,
        cacheWriteTokens: 50,
        steps: 1,
      });
      expect(usage.byModel).toHaveLength(1);
      expect(usage.firstTokenMs).toBeLessThanOrEqual(usage.durationMs);
    }
    const costs = turns.map(({ usage }) => usage.costUsd);
    expect(costs[0]).toBeGreaterThan(0);
    expect(costs[1]).toBeCloseTo(costs[0] ?? 0, 9);
    expect(costs[2]).toBeCloseTo(costs[0] ?? 0, 9);
    const session = await fetch(`${server.url}/v1/sessions/${turns[0]?.sessionId}`);
    const { costUsd } = (await session.json()) as { costUsd: number };
    expect(costUsd).toBeCloseTo(3 * (costs[0] ?? 0), 9);
  });
});

async function cancel(turnId: string): Promise<void> {
  await fetch(`${server.url}/v1/turns/${turnId}/cancel`, { method: "POST" });
}

async function runningTurn({ url }: TestServer): Promise<string> {
  for (;;) {
    const answer = await fetch(`${url}/v1/turns`);
    const { turns } = (await answer.json()) as { turns: { turnId: string }[] };
    if (turns[0] !== undefined) return turns[0].turnId;
  }
}
