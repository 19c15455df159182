/** Goal: a process that waits as it starts does not keep others from starting. */

import { expect, it } from "vitest";
import { startServer } from "../helpers/server.ts";
import { ask } from "./client.ts";

/** Silent for the ten seconds that Claude Code waits for the server. */
const WAITING = `
name: waiting
instructions: You are a test.
tools: { mcp: { silent: { type: stdio, command: sleep, args: ["86399"], required: false } } }
`;

it("waits for an MCP server, and others start in its slot meanwhile", async () => {
  await using server = await startServer({
    script: "rules: [{ reply: [{ text: Done. }] }]\n",
    agents: [WAITING],
    settings: { "capacity.memoryLimit": "8GiB", "capacity.startsAtOnce": "1" },
  });
  const askedAtMs = performance.now();
  const turns = await Promise.all(
    Array.from({ length: 6 }, () => ask(server, "Hi", { agent: "waiting" })),
  );
  expect(turns.map(({ status }) => status)).toEqual(turns.map(() => "completed"));
  // One after the other they would take a minute.
  expect(performance.now() - askedAtMs).toBeLessThan(50_000);
});
