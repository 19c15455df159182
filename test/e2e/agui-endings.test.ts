/**
 * Goal: a run that ends in another way than by an answer is one that the official AG-UI clients take:
 * cancelled, at a limit, out of time, with structured output.
 * Method: the real server and binary, asked by both whole clients with all that they verify.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { until } from "../helpers/leaks.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { AGENTS as CLIENTS, type ClientRun } from "../protocol/agui-clients.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { declaresTool: StructuredOutput, afterTool: false }
    reply:
      - structured: { city: Paris, degrees: 21 }
  - when: { declaresTool: add }
    reply:
      - text: "Once more. "
      - tool: { name: add, input: { a: 2, b: 3 } }
  - hangAfterTokens: 3
    reply:
      - tokens: 10
`;

const AGENTS = [
  "name: patient\ninstructions: You are a test.\n",
  "name: hasty\ninstructions: You are a test.\nlimits: { turnTime: 3s }\n",
  `
name: stepper
instructions: You are a test.
tools: { functions: [$FIXTURES/tools.js] }
limits: { steps: 2 }
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
    settings: { "capacity.memoryLimit": "8GiB", "agentProcess.endGrace": "500ms" },
  });
});
afterAll(async () => server[Symbol.asyncDispose]());

describe.each(["1.0", "0.0.59"] as const)("the AG-UI client %s", (version) => {
  const say = (agent: string, watch?: (type: string) => void): Promise<ClientRun> =>
    CLIENTS[version](`${server.url}/v1/agents/${agent}/agui`, `${agent} of ${version}`, watch);

  it("reads the end of a run that was cancelled in the middle of the text", async () => {
    let hasText = false;
    const running = say("patient", (type) => (hasText ||= type === "TEXT_MESSAGE_CONTENT"));
    await until(() => hasText, "some text");
    await cancelTurn();
    const run = await running;
    expect(run.messages.at(-1)).toMatchObject({ role: "assistant" });
    const end = onlyEndOf(run);
    if (version === "1.0") {
      expect(run.failure).toBeUndefined();
      expect(end).toMatchObject({ type: "RUN_FINISHED", outcome: { type: "cancelled" } });
    } else {
      // It fails on an outcome that only 1.0 knows.
      expect(run.failure).toBe("cancelled");
      expect(end).toMatchObject({ type: "RUN_ERROR", code: "cancelled" });
    }
  });

  it("reads one error when the agent has no steps left, after the calls that it made", async () => {
    const run = await say("stepper");
    expect(onlyEndOf(run)).toMatchObject({ type: "RUN_ERROR", code: "limit_reached" });
    expect(run.failure).toBe("limit_reached");
    const results = run.events.filter(({ type }) => type === "TOOL_CALL_RESULT");
    expect(results.length).toBeGreaterThanOrEqual(2);
  });

  it("reads one error when the time of the turn is over", async () => {
    const run = await say("hasty");
    expect(onlyEndOf(run)).toMatchObject({ type: "RUN_ERROR", code: "turn_timeout" });
    expect(run.failure).toBe("turn_timeout");
  });

  it("reads structured output as the result of the run", async () => {
    const run = await say("weather");
    expect(run.failure).toBeUndefined();
    const result = { city: "Paris", degrees: 21 };
    expect(onlyEndOf(run)).toMatchObject({ type: "RUN_FINISHED", result });
    expect(run.events.map(({ type }) => type)).not.toContain("TOOL_CALL_START");
  });
});

/** The last event; fails the test unless it ends the run, and the client took no other that does. */
function onlyEndOf({ events }: ClientRun): object {
  expect(events[0]?.type).toBe("RUN_STARTED");
  const ends = events.filter(({ type }) => type === "RUN_FINISHED" || type === "RUN_ERROR");
  expect(ends).toEqual(events.slice(-1));
  return ends[0] ?? {};
}

/** Cancels the only turn there is. */
async function cancelTurn(): Promise<void> {
  const { turns } = (await (await fetch(`${server.url}/v1/turns`)).json()) as {
    turns: { turnId: string }[];
  };
  expect(turns).toHaveLength(1);
  const url = `${server.url}/v1/turns/${turns[0]?.turnId}/cancel`;
  expect((await fetch(url, { method: "POST" })).status).toBe(202);
}
