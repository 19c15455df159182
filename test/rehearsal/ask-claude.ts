/**
 * Runs one turn of the real `claude` binary against a rehearsal: the very client that the
 * rehearsal is for.
 */
import { query } from "@anthropic-ai/claude-agent-sdk";
import type { Options, SDKMessage, SDKUserMessage } from "@anthropic-ai/claude-agent-sdk";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Directories for a `claude` of its own; disposing removes them. */
export function claudeHome(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "rehearsal-"));
  for (const name of ["home", "config", "work"]) mkdirSync(join(path, name));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export interface ClaudeAnswer {
  readonly messages: readonly SDKMessage[];
  readonly result: Extract<SDKMessage, { type: "result" }>;
}

/** Asks one prompt and reads to the end. An error result is an answer, too. */
export async function askClaude(
  prompt: string,
  at: { readonly url: string; readonly home: string },
  options: Options = {},
  environment: Record<string, string> = {},
): Promise<ClaudeAnswer> {
  const messages: SDKMessage[] = [];
  const { promise: finished, resolve: finish } = withResolvers();
  async function* input(): AsyncGenerator<SDKUserMessage> {
    yield {
      type: "user",
      message: { role: "user", content: prompt },
      parent_tool_use_id: null,
    };
    await finished;
  }
  try {
    const turn = query({
      prompt: input(),
      options: { ...claudeOptions(at, environment), ...options },
    });
    for await (const message of turn) {
      messages.push(message);
      if (message.type === "result") finish();
    }
  } catch (thrown) {
    // The SDK also throws for an error result that it has yielded.
    if (!messages.some((message) => message.type === "result")) throw thrown;
  } finally {
    finish();
  }
  const result = messages.find((message) => message.type === "result");
  if (result === undefined) throw new Error("Claude ended without a result");
  return { messages, result };
}

/** The text that the model said, all messages together. */
export function textOf(messages: readonly SDKMessage[]): string {
  return messages
    .flatMap((message) => (message.type === "assistant" ? message.message.content : []))
    .map((block) => (block.type === "text" ? block.text : ""))
    .join("");
}

function claudeOptions(
  { url, home }: { readonly url: string; readonly home: string },
  environment: Record<string, string>,
): Options {
  return {
    cwd: join(home, "work"),
    settingSources: [],
    tools: [],
    model: "claude-sonnet-5",
    systemPrompt: "You are a test.",
    includePartialMessages: true,
    permissionMode: "dontAsk",
    strictMcpConfig: true,
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: join(home, "home"),
      CLAUDE_CONFIG_DIR: join(home, "config"),
      TMPDIR: tmpdir(),
      ANTHROPIC_API_KEY: "rehearsal",
      ANTHROPIC_BASE_URL: url,
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
      CLAUDE_CODE_DISABLE_AUTO_MEMORY: "1",
      DISABLE_AUTOUPDATER: "1",
      ...environment,
    },
  };
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
