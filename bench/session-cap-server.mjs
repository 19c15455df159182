/**
 * What `oom-replay` compares with: a server as one would write it first. It caps open sessions, and
 * keeps the agent process of each for its next turn. No gate, no guard, no ladder. It answers turns
 * in the words of Plimsoll's event stream, as far as the benchmark reads them, and is started with
 * the same command line. Plain JavaScript, because it runs in the image of a replica.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { query } from "@anthropic-ai/claude-agent-sdk";

const MAX_SESSIONS = 500;
/** What tools and indexes in the server hold, as the function tools of the other replicas do. */
const BALLAST_BYTES = Number(process.env.BENCH_BALLAST_BYTES ?? 0);

const { values } = parseArgs({
  allowPositionals: true,
  options: { port: { type: "string" }, data: { type: "string" } },
});
const ballast = Buffer.alloc(BALLAST_BYTES, 1);
const sessions = new Map();

createServer((request, response) => {
  if (request.method === "POST") void answer(request, response);
  else response.end(`{"ballast":${ballast.length}}`);
}).listen(Number(values.port), "127.0.0.1");

async function answer(request, response) {
  let body = "";
  for await (const chunk of request) body += chunk;
  const { input, threadId = randomUUID() } = JSON.parse(body);
  if (!sessions.has(threadId) && sessions.size >= MAX_SESSIONS) {
    response.statusCode = 429;
    response.end(JSON.stringify({ code: "at_capacity", reason: "sessions" }));
    return;
  }
  const session = sessions.get(threadId) ?? openSession(threadId);
  response.writeHead(200, { "content-type": "text/event-stream" });
  session.begin(input, (event) => {
    response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    if (event.type === "turn_ended") response.end();
  });
}

function openSession(threadId) {
  const directory = join(values.data, threadId);
  for (const name of ["work", "home"]) mkdirSync(join(directory, name), { recursive: true });
  const waiting = [];
  let wake = () => {};
  let send = () => {};
  async function* prompts() {
    for (;;) {
      const content = waiting.shift();
      if (content === undefined) await new Promise((resolve) => (wake = resolve));
      else yield { type: "user", message: { role: "user", content }, parent_tool_use_id: null };
    }
  }
  const options = {
    cwd: join(directory, "work"),
    env: { ...process.env, HOME: join(directory, "home"), DISABLE_TELEMETRY: "1" },
    systemPrompt: "Talk.",
    tools: ["Bash"],
    allowedTools: ["Bash"],
    settingSources: [],
    includePartialMessages: true,
    permissionMode: "dontAsk",
  };
  const session = {
    begin(content, sendEvent) {
      send = sendEvent;
      send({ type: "turn_started", turnId: randomUUID() });
      waiting.push(content);
      wake();
    },
  };
  const read = async () => {
    for await (const { type, event, is_error: isError } of query({ prompt: prompts(), options })) {
      if (type === "stream_event" && event.delta?.type === "text_delta") {
        send({ type: "text_delta", delta: event.delta.text });
      } else if (type === "result") {
        send({ type: "turn_ended", outcome: { status: isError ? "failed" : "completed" } });
      }
    }
  };
  read().catch(() => {
    sessions.delete(threadId);
    send({ type: "turn_ended", outcome: { status: "failed", code: "agent_process_failed" } });
  });
  sessions.set(threadId, session);
  return session;
}
