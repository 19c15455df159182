/**
 * Goal: every built-in tool that an agent file may name is there in an agent process.
 * Method: a real Claude Code process is asked for all of them and says what it has; it gets no
 * further, as there is nothing at its model's address.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { query } from "@anthropic-ai/claude-agent-sdk";
import { expect, it } from "vitest";
import { BUILTIN_TOOLS } from "../../src/agent/schema.ts";
import { AGENT_PROCESS_SETTINGS } from "../../src/agent/sdk-options.ts";

it("offers every tool of BUILTIN_TOOLS, by the same name", async () => {
  const home = await mkdtemp(join(tmpdir(), "plimsoll-tools-"));
  const abortController = new AbortController();
  try {
    const messages = query({
      prompt: "hello",
      options: {
        abortController,
        cwd: home,
        tools: [...BUILTIN_TOOLS],
        settingSources: [],
        persistSession: false,
        env: {
          ...AGENT_PROCESS_SETTINGS,
          PATH: process.env["PATH"],
          HOME: home,
          ANTHROPIC_API_KEY: "none",
          ANTHROPIC_BASE_URL: "http://127.0.0.1:9",
        },
      },
    });
    for await (const message of messages) {
      if (message.type !== "system" || message.subtype !== "init") continue;
      expect(message.tools.toSorted()).toEqual([...BUILTIN_TOOLS].toSorted());
      break;
    }
    expect.assertions(1);
  } finally {
    abortController.abort();
    await rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
});
