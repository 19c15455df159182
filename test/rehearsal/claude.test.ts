/**
 * Goal: the real `claude` binary takes the rehearsal for the Messages API.
 * Method: turns through the SDK's query(), each against a script of its own.
 */
import { createSdkMcpServer, tool } from "@anthropic-ai/claude-agent-sdk";
import { randomUUID } from "node:crypto";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";

import { BUILT_IN_SCRIPT } from "../../src/rehearsal/built-in-script.ts";
import type { RehearsalRule, RehearsalScript } from "../../src/rehearsal/script.ts";
import { startRehearsal } from "../../src/rehearsal/server.ts";
import { askClaude, claudeHome, textOf } from "./ask-claude.ts";

const SPEED = { firstTokenMs: 5, tokensPerSecond: 1_000 };
const BUILT_IN: RehearsalScript = { ...BUILT_IN_SCRIPT, defaults: SPEED };

function scriptOf(...rules: RehearsalRule[]): RehearsalScript {
  return { defaults: SPEED, rules };
}

describe("the claude binary on a rehearsal", () => {
  const disposables: Disposable[] = [];
  afterAll(() => disposables.forEach((disposable) => disposable[Symbol.dispose]()));
  function newHome(): string {
    const home = claudeHome();
    disposables.push(home);
    return home.path;
  }

  it("thinks, answers, and remembers when it is resumed", async () => {
    await using rehearsal = await startRehearsal({ script: BUILT_IN });
    const at = { url: rehearsal.url, home: newHome() };
    const sessionId = randomUUID();
    const first = await askClaude("my name is Ada", at, { sessionId });
    expect(first.result).toMatchObject({ subtype: "success", stop_reason: "end_turn" });
    expect(blockTypes(first.messages)).toEqual(["thinking", "text"]);
    expect(textOf(first.messages)).toContain("a script, not Claude");
    expect(textOf(first.messages)).toContain("“my name is Ada”");
    expect(first.result.usage.output_tokens).toBeGreaterThan(40);

    const second = await askClaude("and now?", at, { resume: sessionId });
    expect(textOf(second.messages)).toContain("message 2 of our conversation");
    expect(textOf(second.messages)).toContain("You began with: “my name is Ada”");
    expect(second.result.usage.cache_read_input_tokens).toBeGreaterThan(0);
  });

  it("calls a tool of this process and answers with its result", async () => {
    const calls: string[] = [];
    const echo = tool("echo_text", "Echoes.", { text: z.string() }, async ({ text }) => {
      calls.push(text);
      return { content: [{ type: "text", text: `heard ${text.length} characters` }] };
    });
    const server = createSdkMcpServer({ name: "demo", tools: [echo] });
    await using rehearsal = await startRehearsal({ script: BUILT_IN });
    const { messages, result } = await askClaude(
      "please use echo text",
      { url: rehearsal.url, home: newHome() },
      { mcpServers: { demo: server }, allowedTools: ["mcp__demo__echo_text"] },
    );
    expect(calls).toEqual(["please use echo text"]);
    expect(textOf(messages)).toContain(
      "mcp__demo__echo_text ran for real and answered:\n\nheard 20 characters",
    );
    expect(result).toMatchObject({ subtype: "success", num_turns: 2 });
    expect(rehearsal.requestCount).toBe(2);
  });

  it("runs several tool calls of one answer", async () => {
    const echo = tool("echo", "Echoes.", { text: z.string() }, async ({ text }) => ({
      content: [{ type: "text", text: `<${text}>` }],
    }));
    const call = (text: string) => ({ tool: { name: "echo", input: { text } } });
    await using rehearsal = await startRehearsal({
      script: scriptOf(
        { when: { afterTool: "echo" }, reply: [{ text: "{{toolResult}}" }] },
        { reply: [call("a"), call("b")] },
      ),
    });
    const { messages } = await askClaude(
      "go",
      { url: rehearsal.url, home: newHome() },
      {
        mcpServers: { demo: createSdkMcpServer({ name: "demo", tools: [echo] }) },
        allowedTools: ["mcp__demo__echo"],
      },
    );
    expect(textOf(messages)).toBe("<a>\n<b>");
  });

  it("answers with structured output that fits the schema", async () => {
    await using rehearsal = await startRehearsal({ script: BUILT_IN });
    const schema = {
      type: "object",
      properties: { city: { type: "string" }, days: { type: "integer", minimum: 3 } },
      required: ["city", "days"],
    };
    const { result } = await askClaude(
      "Oslo",
      { url: rehearsal.url, home: newHome() },
      { outputFormat: { type: "json_schema", schema } },
    );
    expect(result).toMatchObject({ structured_output: { city: "Oslo", days: 3 } });
  });

  it("tries again when the model is overloaded, and when its stream is cut", async () => {
    await using rehearsal = await startRehearsal({
      script: scriptOf(
        { when: { requestNumber: 2 }, reply: [{ tokens: 9 }], cutAfterTokens: 3 },
        { error: { status: 529, times: 1 }, reply: [{ text: "at last" }] },
      ),
    });
    const { messages, result } = await askClaude("hi", { url: rehearsal.url, home: newHome() });
    expect(result).toMatchObject({ subtype: "success", is_error: false, result: "at last" });
    expect(messages.filter(isRetry)).toMatchObject([{ error_status: 529 }, { error_status: null }]);
    expect(rehearsal.requestCount).toBe(3);
  });

  it("reports an error that stays", async () => {
    await using rehearsal = await startRehearsal({ script: scriptOf({ error: { status: 401 } }) });
    const { result } = await askClaude(
      "hi",
      { url: rehearsal.url, home: newHome() },
      {},
      { CLAUDE_CODE_MAX_RETRIES: "0" },
    );
    expect(result).toMatchObject({ is_error: true, api_error_status: 401 });
  });
});

type Messages = Awaited<ReturnType<typeof askClaude>>["messages"];

function blockTypes(messages: Messages): string[] {
  return messages
    .flatMap((message) => (message.type === "assistant" ? message.message.content : []))
    .map((block) => block.type);
}

function isRetry(message: Messages[number]): boolean {
  return message.type === "system" && message.subtype === "api_retry";
}
