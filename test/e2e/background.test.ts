/**
 * Goal: no shell is left in the background, where it would be ended with its turn, unseen.
 * Method: the real Bash tool asked for one; the model must be told that there is no such thing.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { type InProcessServer, startServer } from "../helpers/server.ts";
import { ask } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 20, tokensPerSecond: 500 }
rules:
  - when: { afterTool: true }
    reply: [{ text: Done. }]
  - reply:
      - tool: { name: Bash, input: { command: "echo ran", run_in_background: true } }
`;
const AGENT = `
name: helper
description: Has a shell.
model: { id: claude-sonnet-5 }
instructions: Help.
tools: { builtin: [Bash] }
`;

let server: InProcessServer;

beforeAll(async () => {
  server = await startServer({ script: SCRIPT, agents: [AGENT] });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

describe("a shell asked for in the background", () => {
  it("is refused, in words that the model can act on", async () => {
    const { toolCalls } = await ask(server, "Go");
    expect(toolCalls[0]).toMatchObject({ name: "Bash", isError: true });
    expect(toolCalls[0]?.result).toContain("run_in_background");
  });
});
