/**
 * Goal: an error that a function tool forgets costs its own call at most, and never the turns of
 * others; one that leaves the process in doubt ends it, and nothing is left.
 * Method: the built program, with tools that forget.
 */

import { describe, expect, it } from "vitest";

import { startServerProcess, type ServerProcess } from "../helpers/server.ts";
import { until } from "../helpers/leaks.ts";
import { ask, stream } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 1, tokensPerSecond: 2000 }
rules:
  - when: { userText: hang }
    hangAfterTokens: 3
    reply: [{ tokens: 10 }]
  - when: { userText: "/forget$/", afterTool: false }
    reply: [{ tool: { name: mcp__tools__forget, input: {} } }]
  - when: { userText: "/neglect$/", afterTool: false }
    reply: [{ tool: { name: mcp__tools__neglect, input: {} } }]
  - when: { userText: "/explode$/", afterTool: false }
    reply: [{ tool: { name: mcp__tools__explode, input: {} } }]
  - when: { afterTool: true }
    reply: [{ text: "It says: {{toolResult}}" }]
`;
const AGENT = `
name: helper
instructions: You are a test.
tools: { functions: [$FIXTURES/forgetful-tools.js] }
`;

function startForgetful(): Promise<ServerProcess> {
  return startServerProcess({ script: SCRIPT, agents: [AGENT] });
}

async function loggedRejection(server: ServerProcess, text: string) {
  const find = () => server.logs.find((line) => JSON.stringify(line["err"])?.includes(text));
  await until(() => find()?.level === "error", `the log to tell of "${text}"`);
  return find();
}

describe("a rejection that nobody handles", () => {
  it("is logged with its tool, and ends neither the server nor any turn", async () => {
    await using server = await startForgetful();
    const other = await stream(server, "Now hang");
    await other.until("text_delta");
    const said = await ask(server, "Please forget");
    expect(said).toMatchObject({ status: "completed", text: "It says: Answered" });
    expect(await loggedRejection(server, "Forgotten")).toMatchObject({
      toolName: "forget",
      turnId: said.turnId,
      err: { message: "Forgotten", stack: expect.stringContaining("forgetful-tools.js") as string },
    });
    expect(other.events.some(({ type }) => type === "turn_ended")).toBe(false);
    await fetch(`${server.url}/v1/turns/${other.turnId}/cancel`, { method: "POST" });
    expect(await other.outcome()).toMatchObject({ status: "cancelled" });
  });

  it("fails the call it came from while that is under way", async () => {
    await using server = await startForgetful();
    const said = await ask(server, "Please neglect");
    expect(said).toMatchObject({ status: "completed", text: "It says: Neglected" });
    expect(await loggedRejection(server, "Neglected")).toMatchObject({ turnId: said.turnId });
  });
});

describe("an exception that nobody catches", () => {
  it("ends the server with its stack, and leaves no process", async () => {
    await using server = await startForgetful();
    void ask(server, "Please explode").catch(() => undefined);
    expect(await server.exited).toMatchObject({ code: 70 });
    expect(server.stderr()).toContain("forgetful-tools.js");
  });
});
