/**
 * Goal: what the little programs show holds for the real Claude Code binary.
 * Method: the SDK drives it through our spawn; a server on loopback answers as the model, with one
 * Bash call and then a last word.
 */

import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server, ServerResponse } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { randomUUID } from "node:crypto";

import { query } from "@anthropic-ai/claude-agent-sdk";
import type { SDKUserMessage } from "@anthropic-ai/claude-agent-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { AgentProcess } from "../../src/agent-process/agent-process.ts";
import { agentOomScore } from "../../src/agent-process/oom-ladder.ts";
import { AgentProcesses } from "../../src/agent-process/registry.ts";
import { spawnAgentProcess } from "../../src/agent-process/spawn.ts";
import { writeToolShell } from "../../src/agent-process/tool-shell.ts";
import {
  isRunning,
  nameOf,
  oomScoreOf,
  optionsFor,
  PATH,
  until,
  useServerId,
} from "./agent-programs.ts";

const serverId = useServerId();
const require = createRequire(import.meta.url);
const claude = require.resolve(
  `@anthropic-ai/claude-agent-sdk-${process.platform}-${process.arch}/claude`,
);
const MIB = 2 ** 20;

let directory = "";
let model: Server;
let modelUrl = "";
/** What the Bash tool is told to run. */
let command = "";
/** Bodies of the requests to the model. */
const asked: string[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll's claude "));
  await mkdir(join(directory, "work"));
  model = createServer((request, response) => {
    void text(request).then((body) => {
      if (!request.url?.startsWith("/v1/messages?")) return response.writeHead(404).end("{}");
      asked.push(body);
      return answer(response, body.includes('"tool_result"'));
    });
  });
  await once(model.listen(0, "127.0.0.1"), "listening");
  const address = model.address();
  modelUrl = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
});

afterAll(async () => {
  model.closeAllConnections();
  model.close();
  await rm(directory, { recursive: true });
});

function answer(response: ServerResponse, isLast: boolean): void {
  const send = (type: string, data: object): boolean =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
  const usage = { input_tokens: 1, output_tokens: 1 };
  const content = isLast
    ? { type: "text", text: "" }
    : { type: "tool_use", id: `toolu_${randomUUID()}`, name: "Bash", input: {} };
  const delta = isLast
    ? { type: "text_delta", text: "done" }
    : {
        type: "input_json_delta",
        partial_json: JSON.stringify({ command, description: "shows its place" }),
      };
  const stopReason = isLast ? "end_turn" : "tool_use";
  response.writeHead(200, { "content-type": "text/event-stream" });
  send("message_start", {
    message: {
      id: `msg_${randomUUID()}`,
      type: "message",
      role: "assistant",
      model: "claude-sonnet-5",
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage,
    },
  });
  send("content_block_start", { index: 0, content_block: content });
  send("content_block_delta", { index: 0, delta });
  send("content_block_stop", { index: 0 });
  send("message_delta", { delta: { stop_reason: stopReason, stop_sequence: null }, usage });
  send("message_stop", {});
  response.end();
}

/** Runs a turn that calls Bash once; `during` gets the process while the turn runs. */
async function runTurn(
  agents: AgentProcesses,
  during: (agent: AgentProcess) => Promise<void> = async () => {},
): Promise<AgentProcess> {
  let agent: AgentProcess | undefined;
  let closeInput = (): void => {};
  const closed = new Promise<void>((resolve) => (closeInput = resolve));
  async function* input(): AsyncGenerator<SDKUserMessage> {
    const message = { role: "user", content: "Show your place." } as const;
    yield { type: "user", message, parent_tool_use_id: null };
    await closed;
  }
  const toolShell = (await writeToolShell(join(directory, "run"))) ?? "";
  const messages = query({
    prompt: input(),
    options: {
      cwd: join(directory, "work"),
      pathToClaudeCodeExecutable: claude,
      settingSources: [],
      tools: ["Bash"],
      allowedTools: ["Bash"],
      strictMcpConfig: true,
      mcpServersDelivery: "initialize",
      permissionMode: "dontAsk",
      model: "claude-sonnet-5",
      systemPrompt: "You show your place.",
      env: {
        PATH,
        HOME: directory,
        CLAUDE_CONFIG_DIR: join(directory, "config"),
        ANTHROPIC_API_KEY: "none",
        ANTHROPIC_BASE_URL: modelUrl,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
        CLAUDE_CODE_SHELL_PREFIX: toolShell,
      },
      spawnClaudeCodeProcess: (options) => {
        const env: Record<string, string> = {};
        for (const [name, value] of Object.entries(options.env)) env[name] = value ?? "";
        agent = agents.spawn({
          command: options.command,
          args: options.args,
          cwd: options.cwd ?? directory,
          env,
          processId: randomUUID(),
        });
        return agent.forSdk;
      },
    },
  });
  try {
    for await (const message of messages) {
      if (message.type === "system" && message.subtype === "init" && agent) await during(agent);
      if (message.type === "result") closeInput();
    }
  } finally {
    closeInput();
  }
  if (agent === undefined) throw new Error("The SDK started no process");
  return agent;
}

function startAgents(): AgentProcesses {
  return new AgentProcesses({
    serverId,
    stderrTailBytes: 4096,
    endGraceMs: 1000,
    sampleIntervalMs: 50,
    onExit: () => {},
    onAbandoned: () => {},
    onNotice: () => {},
  });
}

describe("the real agent process", () => {
  it("starts by itself and says its version", async () => {
    await using agent = spawnAgentProcess(
      optionsFor("", serverId, { command: claude, args: ["--version"] }),
    );
    expect(await text(agent.forSdk.stdout)).toMatch(/^\d+\.\d+\.\d+/);
    expect(await agent.settled).toMatchObject({ code: 0, step: "exited", survivors: 0 });
  });

  it("stands between the server and its Bash tool, and is measured", async () => {
    await using agents = startAgents();
    command = `it='s "quoted"'; echo "rank $(cat /proc/self/oom_score_adj) of $PLIMSOLL_TURN_ID $it"`;
    asked.length = 0;
    const agent = await runTurn(agents, async ({ pid, tree }) => {
      expect(oomScoreOf(pid ?? 0)).toBe(agentOomScore(oomScoreOf("self")));
      // The turn can be shorter than its guard's thread takes to load from the sources.
      await until(() => tree.sample !== null);
    });
    expect(await agent.settled).toMatchObject({ code: 0, step: "exited", survivors: 0 });
    expect(asked.at(-1)).toContain(`rank 1000 of ${agent.processId} s \\"quoted\\"`);
    expect(agent.peakBytes).toBeGreaterThan(50 * MIB);
    expect(agent.peakBytes).toBeLessThan(400 * MIB);
  });

  it("leaves nothing of a running Bash tool when it is killed", async () => {
    await using agents = startAgents();
    command = "setsid sleep 1000 & sleep 1000";
    let pids: number[] = [];
    const killMidTool = async (agent: AgentProcess): Promise<void> => {
      // Not the shell that takes a snapshot of the environment before the tool is run.
      const sleepers = () => agent.tree.members.filter(({ pid }) => nameOf(pid) === "sleep");
      await until(() => sleepers().length === 2);
      pids = agent.tree.members.map(({ pid }) => pid);
      expect(sleepers().map(({ pid }) => oomScoreOf(pid))).toEqual([1000, 1000]);
      await agent.terminate(0);
    };
    let killed: Promise<void> | undefined;
    const turn = runTurn(agents, async (agent) => {
      killed = killMidTool(agent); // Not awaited: the turn must go on to reach its tool.
    });
    await expect(turn).rejects.toThrow("SIGKILL");
    await killed;
    await until(() => agents.live.size === 0);
    expect(pids.length).toBeGreaterThanOrEqual(4);
    expect(pids.filter(isRunning)).toEqual([]);
  });
});
