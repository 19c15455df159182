/**
 * The built program as operators know it: ready, draining, killed, started again, and what it
 * tells about itself.
 */

import { spawn } from "node:child_process";
import { appendFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";

import {
  claudeOf,
  processesOfTurn,
  processesWith,
  until,
  withoutChildren,
} from "../helpers/leaks.ts";
import {
  runServerProcess,
  startServer,
  startServerProcess,
  type ServerProcess,
  type TestServerOptions,
} from "../helpers/server.ts";
import { ask, post, refusal, stream } from "./client.ts";
import { transcriptOf } from "./transcripts.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - when: { userText: slowly }
    tokensPerSecond: 20
    reply:
      - tokens: 200
  - when: { userText: refused }
    error: { status: 400 }
  - when: { userText: count }
    usage: { inputTokens: 100, outputTokens: 10, cacheReadTokens: 1000, cacheCreationTokens: 50 }
    reply:
      - text: Counted.
  - reply:
      - text: "You said: {{userText}}"
`;

const options: TestServerOptions = {
  script: SCRIPT,
  settings: { "capacity.memoryLimit": "1400MiB" },
};

const started: ServerProcess[] = [];
afterEach(async () => {
  for (const server of started.splice(0).toReversed()) await server[Symbol.asyncDispose]();
});

async function startProgram(more: Record<string, string> = {}, directory?: string) {
  const settings = { ...options.settings, ...more };
  const server = await startServerProcess({
    ...options,
    settings,
    ...(directory !== undefined && { directory }),
  });
  started.push(server);
  return server;
}

/** The first process with this mark, stopped: nothing that it is needed for can happen. */
async function held(variable: string, value: string): Promise<number> {
  let pid: number | undefined;
  await until(() => {
    [pid] = processesWith(variable, value);
    return pid !== undefined;
  }, "a process to hold");
  if (pid === undefined) throw new Error("There is no process to hold");
  process.kill(pid, "SIGSTOP");
  return pid;
}

describe("a server that starts", () => {
  it("lives at once, but is ready only when an agent process could be started", async () => {
    const seen: number[] = [];
    let probe = 0;
    await using server = await startServer({
      ...options,
      async beforeListening(serverId) {
        probe = await held("PLIMSOLL_SERVER_ID", serverId);
      },
      async whileStarting(url) {
        seen.push((await fetch(`${url}/livez`)).status, (await fetch(`${url}/readyz`)).status);
        const problem = await refusal(post({ url }, "Hi"));
        expect(problem).toMatchObject({ status: 503, code: "not_ready", retryAfter: 1 });
        process.kill(probe, "SIGCONT");
      },
    });
    expect(seen).toEqual([200, 503]);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  });

  it("does not take a data directory that another server has", async () => {
    const first = await startProgram();
    const second = await runServerProcess({ ...options, directory: first.directory });
    expect(second.code).toBe(69);
    expect(second.stderr).toContain("another server is using it");
    expect((await ask(first, "Still there?")).status).toBe("completed");
  });
});

describe("a server that gets SIGTERM", () => {
  it("is unready at once, takes no turn, and lets the running one end", async () => {
    const server = await startProgram({ "drain.grace": "1m" });
    const turn = await stream(server, "Speak slowly");
    const whole = post(server, "Speak slowly");
    await turn.until("text_delta");
    // Stopped, neither ends before all is seen that has to be seen meanwhile.
    process.kill(await claudeOf(turn.turnId), "SIGSTOP");
    await until(() => server.asked.length === 2, "both turns to run");
    const agents = () => withoutChildren(processesWith("PLIMSOLL_SERVER_ID", server.serverId));
    await until(() => agents().length === 2, "two processes, and nothing else");
    for (const pid of agents()) process.kill(pid, "SIGSTOP");
    server.signal("SIGTERM");
    await until(async () => (await fetch(`${server.url}/readyz`)).status === 503, "unready");
    const readiness = (await (await fetch(`${server.url}/readyz`)).json()) as { status: string };
    expect(readiness.status).toBe("draining");
    expect((await fetch(`${server.url}/livez`)).status).toBe(200);
    const problem = await refusal(post(server, "Me too"));
    expect(problem).toMatchObject({ status: 503, code: "draining", retryAfter: 1 });

    for (const pid of agents()) process.kill(pid, "SIGCONT");
    expect(await turn.outcome()).toMatchObject({ status: "completed" });
    // It was asked for before, and is answered now.
    expect((await whole).headers.get("connection")).toBe("close");
    expect(await (await whole).json()).toMatchObject({ status: "completed" });
    expect(turn.text().trim().split(" ")).toHaveLength(200);
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(server.logs.at(-1)?.msg).toBe("Stopped");
    expect(server.stderr()).toBe("");
  });

  it("lets an export end that has begun, and is there as long", async () => {
    const server = await startProgram({ "drain.grace": "1m" });
    const { sessionId } = await ask(server, "Hi");
    const message = { role: "user", content: "x".repeat(2 ** 20) };
    const line = `${JSON.stringify({ type: "user", message })}\n`;
    // More than all sockets and buffers between the two hold.
    await appendFile(await transcriptOf(server.directory, sessionId), line.repeat(64));
    const answer = await fetch(`${server.url}/v1/sessions/${sessionId}/export`);
    server.signal("SIGTERM");
    await until(async () => (await fetch(`${server.url}/readyz`)).status === 503, "unready");
    // With no turn to wait for it would close at once.
    for (let count = 0; count < 50; count += 1) {
      expect((await fetch(`${server.url}/livez`)).status).toBe(200);
    }
    // Rejects if it was cut off.
    expect((await answer.arrayBuffer()).byteLength).toBeGreaterThan(64 * line.length);
    expect(await server.exited).toEqual({ code: 0, signal: null });
  });

  it("ends what outlasts the grace with an event and a clean close, never with a reset", async () => {
    const server = await startProgram({ "drain.grace": "1s" });
    const turn = await stream(server, "Hang");
    const json = post(server, "Hang");
    await turn.until("text_delta");
    await until(() => server.model.openRequestCount === 2, "both turns to run");
    server.signal("SIGTERM");
    await turn.closed; // Rejects if the connection was reset.
    expect(await turn.outcome()).toMatchObject({ status: "cancelled", cause: "draining" });
    const { headers } = await json;
    expect(await refusal(json)).toMatchObject({ status: 503, code: "draining", retryAfter: 1 });
    expect([headers.get("connection"), headers.get("retry-after")]).toEqual(["close", "1"]);
    expect(await server.exited).toEqual({ code: 0, signal: null });
  });

  it("tells an AG-UI client in an error that it was cut off", async () => {
    const server = await startProgram({ "drain.grace": "0s" });
    const answer = await fetch(`${server.url}/agui`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        threadId: "t",
        runId: "r",
        messages: [{ id: "u", role: "user", content: "Hang" }],
      }),
    });
    await until(() => server.model.openRequestCount === 1, "the turn to run");
    server.signal("SIGTERM");
    const events = await answer.text();
    expect(events.match(/"type":"RUN_(FINISHED|ERROR)"/g)).toEqual(['"type":"RUN_ERROR"']);
    expect(events).toContain('"code":"draining"');
    expect((await server.exited).code).toBe(0);
  });

  it("ends everything at once when it gets it twice", async () => {
    const server = await startProgram({ "drain.grace": "1m" });
    const turn = await stream(server, "Hang");
    await turn.until("text_delta");
    server.signal("SIGTERM");
    await until(async () => (await fetch(`${server.url}/readyz`)).status === 503, "unready");
    // At once, it would be one signal that came twice: npm and terminals do that.
    await delay(300);
    const insistedAtMs = performance.now();
    server.signal("SIGTERM");
    await server.exited;
    // Half of the grace: it did not wait for that.
    expect(performance.now() - insistedAtMs).toBeLessThan(30_000);
    await until(() => processesOfTurn(turn.turnId).length === 0, "no process of the turn");
  });
});

describe("a server that is killed", () => {
  it("takes its agent processes along, and the next one knows, tells and goes on", async () => {
    const server = await startProgram();
    await ask(server, "Before the crash", { threadId: "crash" });
    const turn = await stream(server, "Hang", { threadId: "crash" });
    await turn.until("text_delta");
    await claudeOf(turn.turnId);
    server.signal("SIGKILL");
    await expect(turn.closed).rejects.toThrow();
    await until(() => processesOfTurn(turn.turnId).length === 0, "claude to be gone");

    const { serverId } = server;
    // Not every tool dies with its agent process.
    const stray = spawn("sleep", ["86399"], {
      env: { PLIMSOLL_SERVER_ID: serverId },
      stdio: "ignore",
    });
    const next = await startProgram({}, server.directory);
    await until(() => stray.signalCode !== null, "the stray to be killed");
    const messages = next.logs.map(({ msg }) => msg);
    expect(messages).toContain("The last run of this server did not end cleanly");
    expect(messages).toContain("Killed processes that the last run left behind");
    expect(processesWith("PLIMSOLL_SERVER_ID", serverId)).toEqual([]);
    const metrics = await next.metrics();
    expect(metrics).toMatch(/^plimsoll_replica_unclean_ends_total 1$/m);
    expect(metrics).toMatch(/^plimsoll_agent_process_stray_killed_total 1$/m);

    const continued = await ask(next, "After the crash", { threadId: "crash" });
    expect(continued.text).toBe("You said: After the crash");
    expect(JSON.stringify(next.asked.at(-1)?.messages)).toContain("Before the crash");
  });
});

describe("what a server tells about itself", () => {
  it("counts turns, tokens, cost, ends of processes and their memory", async () => {
    // The turns are over before the first sample: a loaded machine would not tell otherwise.
    const settings = { "agentProcess.sampleInterval": "10s", "capacity.admission": "static" };
    const server = await startProgram(settings);
    const turns = [await ask(server, "Please count"), await ask(server, "Please count")];
    await refusal(post(server, "You are refused"));
    await refusal(post(server, "Hi", { sessionId: "11111111-1111-4111-8111-111111111111" }));
    const metrics = await server.metrics();
    const value = (line: RegExp) =>
      Number(new RegExp(`${line.source} (\\S+)$`, "m").exec(metrics)?.[1]);
    expect(value(/^plimsoll_turn_in_flight/)).toBe(0);
    expect(value(/^plimsoll_turn_capacity/)).toBe(2);
    expect(value(/^plimsoll_turn_admitted_total\{.*\}/)).toBe(3);
    expect(value(/^plimsoll_turn_cost_total\{.*\}/)).toBeCloseTo(
      turns.reduce((sum, { usage }) => sum + usage.costUsd, 0),
      9,
    );
    expect(value(/^gen_ai_client_token_usage_sum\{.*"input"\}/)).toBe(2 * 1150);
    expect(value(/^gen_ai_client_token_usage_sum\{.*"output"\}/)).toBe(2 * 10);
    expect(value(/^plimsoll_token_cache_total\{.*"read"\}/)).toBe(2 * 1000);
    expect(value(/^plimsoll_agent_process_start_duration_count\{.*\}/)).toBe(3);
    expect(value(/^plimsoll_turn_memory_peak_count\{.*\}/)).toBe(3);
    expect(value(/^plimsoll_turn_memory_peak_sum\{.*\}/)).toBeGreaterThan(3 * 50 * 2 ** 20);
    expect(value(/^gen_ai_invoke_agent_duration_count\{.*"completed".*\}/)).toBe(2);
    expect(value(/^gen_ai_invoke_agent_duration_count\{.*"model_request_refused".*\}/)).toBe(1);
    expect(value(/^plimsoll_request_refused_total\{.*"session_not_found"\}/)).toBe(1);
    const refused = [...metrics.matchAll(/^plimsoll_request_refused_total\{(.*)\}/gm)];
    expect(
      refused.map(([, labels = ""]) => labels).join(),
      "what a turn failed with is none",
    ).not.toContain("model_");
    expect(value(/^plimsoll_memory_limit/)).toBe(1400 * 2 ** 20);
    expect(value(/^plimsoll_memory_used/)).toBeGreaterThan(0);
    expect(value(/^plimsoll_agent_process_stray_live/)).toBe(0);
  });

  it("logs a turn with the ids by which its caller finds it, and nothing that was said", async () => {
    const server = await startProgram();
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const response = await post(server, "A sentence to keep private", {
      headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
    });
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    const turnId = response.headers.get("x-turn-id");
    await response.text();
    const lines = () => server.logs.filter((line) => line["turnId"] === turnId);
    await until(() => lines().some(({ msg }) => msg === "Turn completed"), "the log of the turn");
    for (const line of lines()) expect(line).toMatchObject({ traceId, agent: "helper" });
    expect(JSON.stringify(server.logs)).not.toContain("A sentence to keep private");
    expect(JSON.stringify(server.logs)).not.toContain("sk-ant-e2e");
  });
});
