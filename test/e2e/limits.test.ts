/**
 * Limits of a turn and errors of the model: what the caller is told, and that nothing is left.
 */

import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { startServer, type TestServer } from "../helpers/server.ts";
import { ask, post, refusal, stream } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { userText: again and again }
    usage: { inputTokens: 1000, outputTokens: 1000 }
    reply:
      - tool: { name: add, input: { a: 2, b: 3 } }
  - when: { userText: cheap }
    usage: { inputTokens: 1000, outputTokens: 1000 }
    reply:
      - text: That was cheap.
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - when: { userText: bad key }
    error: { status: 401 }
  - when: { userText: "/bad request$/" }
    error: { status: 400 }
  - when: { userText: too many }
    error: { status: 429, retryAfterSeconds: 0 }
  - when: { userText: overloaded at first }
    error: { status: 529, times: 1 }
    reply:
      - text: The second request got through.
  - when: { userText: overloaded }
    error: { status: 529 }
  - when: { userText: cut }
    cutAfterTokens: 5
    reply:
      - tokens: 100
  - reply:
      - text: "You said: {{userText}}"
`;

const TOOLS = "tools: { functions: [$FIXTURES/tools.js] }";
const AGENTS = [
  "name: helper\ninstructions: You are a test.\n",
  `name: stepper\ninstructions: You are a test.\n${TOOLS}\nlimits: { steps: 2 }\n`,
  `name: saver\ninstructions: You are a test.\n${TOOLS}\nlimits: { budgetUsd: 0.03 }\n`,
  "name: hasty\ninstructions: You are a test.\nlimits: { turnTime: 3s }\n",
  "name: slow\ninstructions: You are a test.\nlimits: { turnTime: 4s }\ntools: { mcp: { silent: " +
    "{ type: stdio, command: sleep, args: ['60'], required: false } } }\n",
  "name: nervous\ninstructions: You are a test.\nlimits: { stallTime: 1s }\n",
];

const SETTINGS = {
  "capacity.memoryLimit": "8GiB",
  // It sheds when it was not given a core for 2.5 s.
  "capacity.guard": "false",
};

let server: TestServer;
beforeAll(async () => {
  server = await startServer({
    script: SCRIPT,
    agents: AGENTS,
    settings: SETTINGS,
  });
});
afterAll(async () => server[Symbol.asyncDispose]());

describe("a turn that reaches a limit of its agent", () => {
  it("of steps has an outcome, with what there is so far", async () => {
    const turn = await ask(server, "Do it again and again", { agent: "stepper" });
    expect(turn).toMatchObject({ status: "limit_reached", stopReason: "steps" });
    expect(turn.toolCalls.length).toBeGreaterThanOrEqual(2);
    const streamed = await stream(server, "Do it again and again", { agent: "stepper" });
    expect(await streamed.outcome()).toMatchObject({ status: "limit_reached", limit: "steps" });
  });

  it("of cost has an outcome too", async () => {
    const turn = await ask(server, "Do it again and again", { agent: "saver" });
    expect(turn).toMatchObject({ status: "limit_reached", stopReason: "budget" });
    expect(turn.usage.costUsd).toBeGreaterThan(0.03);
    expect(turn.usage.costUsd).toBeLessThan(0.1);
  });

  it("of cost has a budget of its own in each turn of a session", async () => {
    const asking = { agent: "saver", threadId: "thrifty" };
    const turns = [];
    for (const number of [1, 2, 3]) turns.push(await ask(server, `It is cheap ${number}`, asking));
    expect(turns.map(({ status }) => status)).toEqual(Array(3).fill("completed"));
    const total = turns.reduce((sum, { usage }) => sum + usage.costUsd, 0);
    expect(total).toBeGreaterThan(0.03);
    const spent = await ask(server, "Do it again and again", asking);
    expect(spent.status).toBe("limit_reached");
  });

  it("of time is answered with 504", async () => {
    const askedAtMs = performance.now();
    const problem = await refusal(post(server, "Hang", { agent: "hasty" }));
    expect(problem).toMatchObject({ status: 504, code: "turn_timeout" });
    expect(performance.now() - askedAtMs).toBeLessThan(50_000);
  });

  it("of time is answered with 504 also where it waits for its start", async () => {
    await using single = await startServer({
      script: SCRIPT,
      agents: AGENTS,
      settings: { ...SETTINGS, "capacity.startsAtOnce": "1" },
    });
    const askedAtMs = performance.now();
    const asked = Array.from({ length: 6 }, () => refusal(post(single, "Hi", { agent: "slow" })));
    for (const problem of await Promise.all(asked)) {
      expect(problem).toMatchObject({ status: 504, code: "turn_timeout" });
    }
    // One after the other they would take 24 s.
    expect(performance.now() - askedAtMs).toBeLessThan(18_000);
  });

  it("of silence is answered with 504", async () => {
    const problem = await refusal(post(server, "Hang", { agent: "nervous" }));
    expect(problem).toMatchObject({ status: 504, code: "turn_stalled" });
    const streamed = await stream(server, "Hang", { agent: "nervous" });
    expect(await streamed.outcome()).toMatchObject({ status: "failed", code: "turn_stalled" });
  });
});

describe("a turn whose model fails", () => {
  it("is answered with the code of the failure, when asking again did not help", async () => {
    const expected = [
      ["This is a bad request", 502, "model_request_refused"],
      ["You have a bad key", 502, "model_auth_failed"],
      ["These are too many", 503, "model_rate_limited"],
      ["You are overloaded", 503, "model_overloaded"],
      ["The answer is cut", 503, "model_unavailable"],
    ] as const;
    const answers = await Promise.all(expected.map(([input]) => refusal(post(server, input))));
    expect(answers.map(({ status, code }) => [status, code])).toEqual(
      expected.map(([, status, code]) => [status, code]),
    );
    expect(JSON.stringify(answers)).not.toContain("x-api-key");
    expect(JSON.stringify(answers)).not.toContain(server.directory);
    expect((await server.capacity()).inflight).toBe(0);
  });

  it("goes on when the model recovers, and says that it was asked again", async () => {
    const turn = await stream(server, "You are overloaded at first");
    expect(await turn.outcome()).toMatchObject({ status: "completed" });
    expect(await turn.until("notice")).toMatchObject({ name: "model_retry" });
    expect(turn.text()).toBe("The second request got through.");
  });

  it("leaves a session that can be continued", async () => {
    await refusal(post(server, "This is a bad request", { threadId: "failed" }));
    const next = await ask(server, "And now?", { threadId: "failed" });
    expect(next.text).toContain("And now?");
  });
});

describe("a tenant with as many sessions as it may have", () => {
  it("begins no other until one is deleted; its own go on, and those of others begin", async () => {
    const keys = ["ada", "bob"].map((tenant) => {
      const sha256 = createHash("sha256").update(`key-of-${tenant}`).digest("hex");
      return `    - { id: ${tenant}, tenant: ${tenant}, sha256: ${sha256} }`;
    });
    const serverFile = `auth:\n  keys:\n${keys.join("\n")}\nsessions: { maxPerTenant: 2 }\n`;
    await using keyed = await startServer({ script: SCRIPT, serverFile });
    const as = (tenant: string, threadId: string) => ({ threadId, key: `key-of-${tenant}` });
    const first = await ask(keyed, "Hello", as("ada", "one"));
    await ask(keyed, "Hello", as("ada", "two"));
    const refused = await refusal(post(keyed, "Hello", as("ada", "three")));
    expect(refused).toMatchObject({ status: 429, code: "too_many_sessions" });
    expect(keyed.gate.inflight).toBe(0);
    expect((await ask(keyed, "Hello", as("ada", "two"))).status).toBe("completed");
    expect((await ask(keyed, "Hello", as("bob", "three"))).status).toBe("completed");

    const headers = { authorization: "Bearer key-of-ada" };
    const url = `${keyed.url}/v1/sessions/${first.sessionId}`;
    expect((await fetch(url, { method: "DELETE", headers })).status).toBe(204);
    expect((await ask(keyed, "Hello", as("ada", "three"))).status).toBe("completed");
  });
});
