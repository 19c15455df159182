/**
 * Goal: what is known to go wrong under servers that run a Claude Code process for each turn does
 * not go wrong here.
 * Method: the real server and binary, in the situation that brings each trouble about; what the
 * scripted model was asked, and what is left on the disk.
 */

import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, readdir, stat, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { sessionPathsOf } from "../../src/session/session-paths.ts";
import { claudeOf, environmentOf, until } from "../helpers/leaks.ts";
import { startServer, type InProcessServer } from "../helpers/server.ts";
import { ask, stream, textOfRequest } from "./client.ts";
import { transcriptOf as transcriptPathOf } from "./transcripts.ts";

const WRITES_TELEMETRY_TO_STDOUT = {
  CLAUDE_CODE_ENABLE_TELEMETRY: "1",
  OTEL_METRICS_EXPORTER: "console",
  OTEL_LOGS_EXPORTER: "console",
  OTEL_TRACES_EXPORTER: "console",
};

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 2000 }
rules:
  - when: { userText: You are the subagent }
    firstTokenMs: 700
    reply: [{ text: The subagent is done }]
  - when: { afterTool: true }
    reply: [{ text: "It says: {{toolResult}}" }]
  - when: { userText: delegate }
    reply:
      - tool:
          name: Agent
          input:
            description: Does a part
            prompt: You are the subagent
            subagent_type: general-purpose
            run_in_background: true
  - when: { userText: sleep }
    reply:
      - tool: { name: Bash, input: { command: sleep 86399, description: Sleeps } }
  - when: { userText: add }
    reply:
      - tool: { name: add, input: { a: 1, b: 2 } }
  - when: { userText: open the vault }
    reply:
      - tool: { name: open, input: {} }
  - when: { declaresTool: StructuredOutput }
    reply: [{ structured: { answer: 42 } }]
  - when: { userText: hang }
    hangAfterTokens: 3
    reply: [{ tokens: 10 }]
  - reply: [{ text: "Turn {{turnCount}}, begun with: {{firstUserText}}" }]
`;

const DAY_MS = 86_400_000;

const SLOW_START = `sleep 2; exec node ${join(import.meta.dirname, "../turn/mcp-server.mjs")}`;
/** As long as an agent file takes it. */
const MAX_SCHEMA = 120 * 1024 - 28;
/** More than the system takes in one argument of a command line. */
const LONG = "All work and no play makes a dull agent. ".repeat(5_000);

const AGENTS = [
  `
name: helper
instructions: You are a test.
tools: { builtin: [Bash, Read], functions: [$FIXTURES/tools.js] }
`,
  "name: chief\ninstructions: You are a test.\ntools: { builtin: [Task] }\n",
  `
name: patient
instructions: You are a test.
tools:
  mcp:
    vault: { type: stdio, command: sh, args: [-c, "${SLOW_START}"], env: { VAULT: gold } }
`,
  `
name: wordy
instructions: "${LONG}"
output:
  schema: { type: object, title: "${"x".repeat(MAX_SCHEMA)}" }
`,
];

const changedAgent = (instructions: string, tool: string) =>
  `name: changed\ninstructions: ${instructions}\ntools: { builtin: [${tool}] }\n`;

const OPTIONS = {
  script: SCRIPT,
  agents: [...AGENTS, changedAgent("OLD INSTRUCTIONS", "Bash")],
  environment: WRITES_TELEMETRY_TO_STDOUT,
  settings: { "capacity.memoryLimit": "8GiB", "agentProcess.endGrace": "500ms" },
};

let server: InProcessServer;
beforeAll(async () => {
  server = await startServer(OPTIONS);
});
afterAll(async () => server[Symbol.asyncDispose]());

// Each of them starts several processes.
vi.setConfig({ testTimeout: 60_000 });

describe("a session whose process was killed in a tool", () => {
  it("goes on, and the model sees a result of every call", async () => {
    const asking = { threadId: "cut off" };
    const { sessionId } = await ask(server, "I am the first", asking);
    const turn = await stream(server, "Now sleep", asking);
    // Only a call that was written down can be left without its result.
    const isWritten = async () => (await transcriptOf(sessionId)).includes('"type":"tool_use"');
    await until(isWritten, "the call in the transcript", 20_000);
    process.kill(await claudeOf(turn.turnId), "SIGKILL");
    expect(await turn.outcome()).toMatchObject({ status: "failed" });

    const next = await ask(server, "Go on", asking);
    expect(next).toMatchObject({ status: "completed" });
    expect(next.text).toContain("begun with: I am the first");
    const calls = blocksOfLastRequest().filter(({ type }) => type === "tool_use");
    const results = blocksOfLastRequest().filter(({ type }) => type === "tool_result");
    expect(calls).toHaveLength(1);
    expect(results.map((result) => result.tool_use_id)).toEqual(calls.map(({ id }) => id));
  });
});

describe("what the model is asked", () => {
  it("only grows over the turns of a session, so that prompt caches hit", async () => {
    const asking = { threadId: "cached" };
    const begun = server.asked.length;
    for (const input of ["Please add", "Thanks", "Please add again"]) {
      await ask(server, input, asking);
    }
    const requests = server.asked.slice(begun);
    expect(requests.length).toBeGreaterThanOrEqual(5);
    const first = requests[0];
    for (const [index, request] of requests.entries()) {
      expect(request.system).toEqual(first?.system);
      expect(request.toolNames).toEqual(first?.toolNames);
      const before = requests[index - 1]?.messages ?? [];
      expect(wordsOf(request.messages).slice(0, before.length)).toEqual(wordsOf(before));
    }
  });
});

describe("a session that nobody has used for longer than Claude Code keeps transcripts", () => {
  it("goes on, and what is kept of it stays", async () => {
    const asking = { threadId: "of long ago" };
    const { sessionId } = await ask(server, "I am the first", asking);
    const file = await transcriptPathOf(server.directory, sessionId ?? "");
    const [old, ancient] = ["old", "ancient"].map(() =>
      join(dirname(file), `${randomUUID()}.jsonl`),
    ) as [string, string];
    for (const copy of [old, ancient]) await copyFile(file, copy);
    const longAgo = new Date(Date.now() - 400 * DAY_MS);
    for (const path of [file, old]) await utimes(path, longAgo, longAgo);
    // Older than even we let it keep: it goes, which shows that Claude Code has tidied up.
    const centuryAgo = new Date("1910-01-01");
    await utimes(ancient, centuryAgo, centuryAgo);

    const turn = await stream(server, "hang", asking);
    await turn.until("text_delta");
    expect(textOfRequest(lastAsked())).toContain("I am the first");
    await until(() => !existsSync(ancient), "Claude Code to tidy up", 30_000);
    // The transcript that was resumed is young again; its copy has stayed old.
    for (const path of [file, old]) {
      expect(await readFile(path, "utf8")).toContain("I am the first");
    }
    turn.leave();
  });
});

describe("files that an agent may have written", () => {
  it("start nothing, add no tool and say nothing to the model", async () => {
    const asking = { threadId: "planted" };
    const { sessionId } = await ask(server, "Hello", asking);
    const { toolNames } = lastAsked();
    const { work, config, home } = directoriesOf(sessionId);
    const ran = join(server.directory, "a-planted-file-ran");
    const hook = [{ matcher: "", hooks: [{ type: "command", command: `touch ${ran}` }] }];
    const settings = JSON.stringify({
      hooks: { SessionStart: hook, UserPromptSubmit: hook, PreToolUse: hook, Stop: hook },
      apiKeyHelper: `touch ${ran}`,
    });
    const mcpServers = { canary: { type: "stdio", command: "touch", args: [ran] } };
    const projects = { [work]: { mcpServers, hasTrustDialogAccepted: true } };
    const state = JSON.parse(await readFile(join(config, ".claude.json"), "utf8")) as object;
    const agent = "---\nname: canary\ndescription: CANARY\n---\nCANARY\n";
    const [memory = ""] = await readdir(join(config, "projects"));
    for (const [path, content] of [
      [join(config, ".claude.json"), JSON.stringify({ ...state, mcpServers, projects })],
      [join(home, ".claude.json"), JSON.stringify({ mcpServers, projects })],
      [join(config, "settings.json"), settings],
      [join(home, ".claude", "settings.json"), settings],
      [join(work, ".claude", "settings.json"), settings],
      [join(work, ".claude", "settings.local.json"), settings],
      [join(work, ".claude", "agents", "canary.md"), agent],
      [join(config, "agents", "canary.md"), agent],
      [join(work, ".claude", "skills", "canary", "SKILL.md"), agent],
      [join(config, "skills", "canary", "SKILL.md"), agent],
      [join(work, ".claude", "commands", "canary.md"), agent],
      [join(config, "rules", "canary.md"), "CANARY"],
      [join(config, "projects", memory, "memory", "MEMORY.md"), "CANARY"],
      // Claude Code looks in all directories above its own.
      [join(dirname(work), "CLAUDE.md"), "CANARY"],
      [join(server.directory, "CLAUDE.md"), "CANARY"],
    ] as const) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
    }
    const { toolCalls, text } = await ask(server, "Please add", asking);
    expect(toolCalls).toMatchObject([{ name: "add", isError: false }]);
    expect(text).toBe("It says: The sum is 3");
    expect(lastAsked().toolNames).toEqual(toolNames);
    expect(JSON.stringify(lastAsked())).not.toMatch(/canary/i);
    await expect(stat(ran)).rejects.toThrow("ENOENT");
  });
});

describe("words longer than a command line may be", () => {
  it("reach the model, whoever says them", async () => {
    const input = `${LONG} LAST WORD OF THE USER`;
    const { structuredOutput } = await ask(server, input, { agent: "wordy" });
    expect(structuredOutput).toEqual({ answer: 42 });
    const received = textOfRequest(lastAsked());
    expect(received).toContain(LONG);
    expect(received).toContain("LAST WORD OF THE USER");
  });
});

describe("a server told by its environment to write telemetry to stdout", () => {
  it("does not tell its agent processes, who speak with it over theirs", async () => {
    const turn = await stream(server, "Hang");
    const names = environmentOf(await claudeOf(turn.turnId)).map((entry) => entry.split("=")[0]);
    turn.leave();
    for (const name of Object.keys(WRITES_TELEMETRY_TO_STDOUT)) expect(names).not.toContain(name);
  });
});

describe("a function tool", () => {
  it("is reached while the turn runs, as its input stays open", async () => {
    const { toolCalls } = await ask(server, "Please add");
    expect(toolCalls).toMatchObject([{ name: "add", result: "The sum is 3", isError: false }]);
  });
});

describe("an MCP server that is slow to start", () => {
  it("is waited for: its tools are there in the first turn", async () => {
    const { toolCalls } = await ask(server, "Please open the vault", { agent: "patient" });
    expect(toolCalls).toMatchObject([{ name: "open", server: "vault", result: "inside: gold" }]);
  });
});

describe("a subagent asked for in the background", () => {
  it("is waited for, as it would be ended with the turn", async () => {
    const { text } = await ask(server, "Please delegate", { agent: "chief" });
    expect(text).toContain("The subagent is done");
  });
});

describe("the memory of turns", () => {
  it("is that which they do not share, or eight would seem twice as large as they are", async () => {
    const turn = await stream(server, "Hang");
    const pid = await claudeOf(turn.turnId);
    await turn.until("text_delta");
    const bytesOf = async () =>
      (await server.capacity()).turns.find(({ turnId }) => turnId === turn.turnId)?.bytes ?? 0;
    await until(async () => (await bytesOf()) > 0, "a sample of the turn's memory");
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    const resident = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
    expect(resident - (await bytesOf())).toBeGreaterThan(40 * 2 ** 20);
    turn.leave();
  });
});

describe("a conversation whose agent file was changed", () => {
  it("goes on with the new instructions and tools", async () => {
    const asking = { agent: "changed", threadId: "changed" };
    await ask(server, "I am the first", asking);
    await server.stop();
    const { directory } = server;
    const agents = [...AGENTS, changedAgent("NEW INSTRUCTIONS", "Read")];
    server = await startServer({ ...OPTIONS, agents, directory });
    const { text } = await ask(server, "Go on", asking);
    expect(text).toBe("Turn 2, begun with: I am the first");
    expect(JSON.stringify(lastAsked().system)).toContain("NEW INSTRUCTIONS");
    expect(JSON.stringify(lastAsked().system)).not.toContain("OLD INSTRUCTIONS");
    expect(lastAsked().toolNames).toEqual(["Read"]);
  });
});

function directoriesOf(sessionId: string) {
  return sessionPathsOf(join(server.directory, "data"), { tenant: "default", sessionId });
}

async function transcriptOf(sessionId: string): Promise<string> {
  const projects = join(directoriesOf(sessionId).config, "projects");
  const [project = ""] = await readdir(projects);
  return readFile(join(projects, project, `${sessionId}.jsonl`), "utf8");
}

function lastAsked() {
  const request = server.asked.at(-1);
  if (request === undefined) expect.fail("The model was not asked");
  return request;
}

type Messages = ReturnType<typeof lastAsked>["messages"];

function blocksOfLastRequest() {
  return lastAsked().messages.flatMap(({ content }) =>
    typeof content === "string" ? [] : content,
  );
}

/** Messages without the marks that say up to where a cache is to be kept: those move on. */
function wordsOf(messages: Messages): unknown[] {
  return messages.map(({ role, content }) => {
    const blocks = typeof content === "string" ? [{ type: "text", text: content }] : content;
    return { role, blocks: blocks.map((block) => ({ ...block, cache_control: undefined })) };
  });
}
