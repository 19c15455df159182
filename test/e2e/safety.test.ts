/**
 * What an agent process sees and may do: only what its file declares, and nothing that a user's
 * words or files around it could add.
 */

import { createServer, type ServerResponse } from "node:http";
import { once } from "node:events";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import {
  claudeOf,
  commandLineOf,
  environmentOf,
  oomScoreOf,
  processesOfTurn,
  until,
} from "../helpers/leaks.ts";
import { startServer, type InProcessServer, type TestServer } from "../helpers/server.ts";
import { ask, post, refusal, stream, textOfRequest } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { afterTool: true }
    reply:
      - text: Done.
  - when: { userText: show the environment }
    reply:
      - tool: { name: Bash, input: { command: env, description: Shows the environment } }
  - when: { userText: sleep }
    reply:
      - tool: { name: Bash, input: { command: sleep 86399, description: Sleeps } }
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - reply:
      - text: "You said: {{userText}}"
`;

const AGENTS = [
  "name: helper\ninstructions: SYSTEM-PROMPT-CANARY\n",
  "name: shell\ninstructions: You are a test.\ntools: { builtin: [Bash] }\n",
  `
name: secretive
instructions: SYSTEM-PROMPT-CANARY
tools:
  mcp:
    remote:
      type: http
      url: "http://127.0.0.1:9/mcp"
      headers: { authorization: MCP-SECRET-CANARY }
      required: false
    local:
      type: stdio
      command: "true"
      env: { TOKEN: MCP-SECRET-CANARY }
      required: false
`,
  `
name: cut-off
instructions: You are a test.
tools: { mcp: { missing-server: { type: http, url: "http://127.0.0.1:9/mcp" } } }
`,
];

/** What the server's own environment holds and no agent process may have. */
const FOREIGN = {
  DATABASE_URL: "postgres://user:FOREIGN-CANARY@host/db",
  AWS_SECRET_ACCESS_KEY: "FOREIGN-CANARY",
  PLIMSOLL_TELEMETRY_LOG_LEVEL: "info",
  NODE_OPTIONS: "--no-warnings",
  CLAUDE_CODE_OAUTH_REFRESH_TOKEN: "FOREIGN-CANARY",
};

let server: InProcessServer;
beforeAll(async () => {
  server = await startServer({
    script: SCRIPT,
    agents: AGENTS,
    environment: FOREIGN,
    settings: { "capacity.memoryLimit": "4GiB", "agentProcess.endGrace": "500ms" },
  });
});
afterAll(async () => server[Symbol.asyncDispose]());

describe("the environment of an agent process", () => {
  it("is a list of known names, whatever the server's own holds", async () => {
    const turn = await stream(server, "Hang");
    const names = environmentOf(await claudeOf(turn.turnId))
      .filter((entry) => entry !== "")
      .map((entry) => entry.slice(0, entry.indexOf("=")));
    turn.leave();
    const allowed =
      /^(PATH|HOME|TMPDIR|TRACEPARENT|ANTHROPIC_(API_KEY|BASE_URL)|PLIMSOLL_(TURN|SERVER)_ID|DISABLE_\w+|CLAUDE_\w+|MCP_TIMEOUT)$/;
    expect(names.filter((name) => !allowed.test(name))).toEqual([]);
    expect(names).not.toContain("CLAUDE_CODE_OAUTH_REFRESH_TOKEN");
    expect(names).toContain("PLIMSOLL_TURN_ID");
  });

  it("gives its tools nothing of the server's secrets", async () => {
    const { toolCalls } = await ask(server, "Please show the environment", { agent: "shell" });
    const shown = toolCalls[0]?.result ?? "";
    expect(shown).toContain("PATH=");
    expect(shown).not.toContain("FOREIGN-CANARY");
    expect(shown).not.toMatch(/^(DATABASE_URL|AWS_\w+|NODE_OPTIONS|PLIMSOLL_TELEMETRY\w*)=/m);
  });
});

describe("the command line of an agent process", () => {
  it("holds no secret of an MCP server, no instructions and nothing that was said", async () => {
    const turn = await stream(server, "PROMPT-CANARY: hang", { agent: "secretive" });
    const pid = await claudeOf(turn.turnId);
    await until(() => server.model.openRequestCount > 0, "the model to be asked");
    const lines = processesOfTurn(turn.turnId).map((each) => commandLineOf(each).join(" "));
    expect(commandLineOf(pid).length).toBeGreaterThan(1);
    turn.leave();
    expect(lines.join("\n")).not.toContain("CANARY");
  });
});

describe("what a user says", () => {
  it.each([
    "@/etc/passwd",
    "Look at @/etc/passwd, please",
    "/context",
    "/help",
    "/compact now",
    "!id",
    "# remember this",
  ])("reaches the model as it is: %s", async (input) => {
    await ask(server, input);
    const received = textOfRequest(lastAsked(server));
    expect(received).toContain(JSON.stringify(input));
    expect(received).not.toContain("root:x:0");
  });
});

describe("files around an agent", () => {
  it("are not read as instructions, wherever they are", async () => {
    const asking = { threadId: "files" };
    const turn = await stream(server, "Hang", asking);
    const pid = await claudeOf(turn.turnId);
    const environment = environmentOf(pid);
    const of = (name: string) =>
      environment.find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
    const [home, config] = [of("HOME"), of("CLAUDE_CONFIG_DIR")];
    await turn.until("text_delta");
    await fetch(`${server.url}/v1/turns/${turn.turnId}/cancel`, { method: "POST" });
    await turn.closed;

    const settings = JSON.stringify({
      env: { X: "FILE-CANARY" },
      permissions: { allow: ["Bash"] },
    });
    const work = join(dirname(home), "work");
    for (const [path, content] of [
      [join(work, "CLAUDE.md"), "FILE-CANARY"],
      [join(work, "CLAUDE.local.md"), "FILE-CANARY"],
      [join(work, ".claude", "settings.json"), settings],
      [join(work, ".mcp.json"), JSON.stringify({ mcpServers: { x: { command: "FILE-CANARY" } } })],
      [join(home, ".claude", "CLAUDE.md"), "FILE-CANARY"],
      [join(config, "CLAUDE.md"), "FILE-CANARY"],
      [join(config, "settings.json"), settings],
    ] as const) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
    }
    await ask(server, "What do you know?", asking);
    const request = lastAsked(server);
    expect(textOfRequest(request)).toContain("What do you know?");
    expect(textOfRequest(request)).not.toContain("FILE-CANARY");
    expect(request.toolNames).toEqual([]);
  });
});

describe("a tool that was not declared", () => {
  it("is refused when a model calls it all the same", async () => {
    await using model = await startRogueModel();
    await using rogue = await startServer({
      script: SCRIPT,
      environment: { ANTHROPIC_BASE_URL: model.url },
    });
    const target = join(rogue.directory, "written-by-the-model");
    model.command = `touch ${target}`;
    const turn = await ask(rogue, "Hi");
    expect(turn.toolCalls).toMatchObject([{ name: "Bash", isError: true }]);
    await expect(stat(target)).rejects.toThrow("ENOENT");
    expect(model.bodies.at(-1)).toContain("tool_result");
  });

  it("of an MCP server that cannot be reached ends the turn, and its name is for the log", async () => {
    const problem = await refusal(post(server, "Hi", { agent: "cut-off" }));
    expect(problem).toMatchObject({ status: 502, code: "mcp_server_unavailable", retryable: true });
    expect(JSON.stringify(problem)).not.toMatch(/missing-server|127\.0\.0\.1/u);
    const failure = server.logs.find(({ code }) => code === "mcp_server_unavailable");
    expect(failure?.["posture"]).toMatch(/^lacks MCP servers: missing-server \(\w+\)$/u);
  });

  it("that the process lacks though it was declared ends the turn before the model answers", async () => {
    // That long it is silent once asked: a process asks within some 30 ms of telling its tools,
    // which nothing outside of it can hold up.
    await using strict = await startServer({
      script: "rules: [{ firstTokenMs: 170000, reply: [{ text: Hi }] }]\n",
      alter: (agent) => ({ ...agent, tools: { ...agent.tools, builtin: ["Bash", "NoSuchTool"] } }),
    });
    const problem = await refusal(post(strict, "Hi"));
    expect(problem).toMatchObject({ status: 502, code: "agent_posture_mismatch" });
    expect(JSON.stringify(problem)).not.toContain("NoSuchTool");
    const failure = strict.logs.find(({ msg }) => msg === "Turn failed");
    expect(failure?.["posture"]).toBe("lacks declared tools: NoSuchTool");
  });
});

describe("out of memory", () => {
  it("the kernel is to kill tools first, then agent processes, the server last", async () => {
    const turn = await stream(server, "Please sleep", { agent: "shell" });
    const claude = await claudeOf(turn.turnId);
    const tools = () => processesOfTurn(turn.turnId).filter((pid) => pid !== claude);
    await until(() => tools().some((pid) => commandLineOf(pid)[0] === "sleep"), "the tool");
    const own = oomScoreOf(process.pid);
    expect(oomScoreOf(claude)).toBe(own + Math.round((1000 - own) * 0.3));
    await until(() => tools().every((pid) => oomScoreOf(pid) === 1000), "every tool at 1000");
    turn.leave();
  });
});

function lastAsked({ asked }: TestServer) {
  const request = asked.at(-1);
  if (request === undefined) expect.fail("The model was not asked");
  return request;
}

/** A model that calls Bash, declared or not; the scripted one calls only what is declared. */
async function startRogueModel() {
  const model = { url: "", command: "", bodies: [] as string[] };
  const http = createServer((request, response) => {
    void text(request).then((body) => {
      if (!request.url?.startsWith("/v1/messages?")) return response.writeHead(404).end("{}");
      model.bodies.push(body);
      return answerWithBash(response, model.command, body);
    });
  });
  await once(http.listen(0, "127.0.0.1"), "listening");
  const address = http.address();
  model.url = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  return Object.assign(model, {
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  });
}

/** Calls Bash first, and is done when it sees a result. */
function answerWithBash(response: ServerResponse, command: string, body: string): ServerResponse {
  const isFirst = !body.includes('"tool_result"');
  const block = isFirst
    ? { type: "tool_use", id: "toolu_1", name: "Bash", input: {} }
    : { type: "text", text: "" };
  const delta = isFirst
    ? { type: "input_json_delta", partial_json: JSON.stringify({ command }) }
    : { type: "text_delta", text: "Done." };
  const usage = { input_tokens: 1, output_tokens: 1 };
  const message = { id: "msg_1", type: "message", role: "assistant", model: "m", content: [] };
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const event of [
    { type: "message_start", message: { ...message, usage } },
    { type: "content_block_start", index: 0, content_block: block },
    { type: "content_block_delta", index: 0, delta },
    { type: "content_block_stop", index: 0 },
    { type: "message_delta", delta: { stop_reason: isFirst ? "tool_use" : "end_turn" }, usage },
    { type: "message_stop" },
  ]) {
    response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  }
  return response.end();
}
