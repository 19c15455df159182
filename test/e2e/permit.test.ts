/**
 * A permit is held until the process tree of its turn is gone, and then given back, however the
 * turn ends. The server carries one turn, so that a permit that is lost is seen at once.
 */

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { claudeOf, processesOfTurn, processesWith, until } from "../helpers/leaks.ts";
import { startServer, type InProcessServer } from "../helpers/server.ts";
import { ask, post, refusal, stream } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { afterTool: true }
    reply:
      - text: Done.
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - when: { userText: use the tool }
    reply:
      - tool: { name: wait, input: {} }
  - when: { userText: stubborn }
    reply:
      - tool:
          name: Bash
          input:
            command: "trap '' TERM; setsid sleep 86399 & sleep 86399"
            description: Sleeps and does not want to end
  - reply:
      - text: "You said: {{userText}}"
`;

const AGENTS = [
  `
name: helper
instructions: You are a test.
tools: { builtin: [Bash], functions: [$FIXTURES/tools.js] }
`,
  `
name: hasty
instructions: You are a test.
limits: { turnTime: 2s }
`,
  // It needs a server that says nothing: it is not ready before Claude Code gives that up, after 10 s.
  `
name: starting
instructions: You are a test.
tools: { mcp: { silent: { type: stdio, command: sleep, args: ["1000"] } } }
`,
];

/** Of the tool `wait`, which runs in this process. */
const TOOL_CALLS = "plimsoll.test.wait";

let server: InProcessServer;
beforeAll(async () => {
  server = await startServer({
    script: SCRIPT,
    agents: AGENTS,
    settings: {
      "capacity.admission": "static",
      "capacity.memoryLimit": "900MiB",
      "agentProcess.endGrace": "500ms",
      "agentProcess.startTime": "20s",
    },
  });
});
afterAll(async () => server[Symbol.asyncDispose]());

// Whatever a test did: the permit comes back, not before the last process is gone, and works.
afterEach(async () => {
  await until(() => server.gate.snapshot(monotonicMs()).inflight === 0, "the permit");
  expect(processesWith("PLIMSOLL_SERVER_ID", server.serverId)).toEqual([]);
  const { committedBytes, usedBytes } = await server.capacity();
  expect(committedBytes).toBe(usedBytes);
  expect((await ask(server, "Still there?")).status).toBe("completed");
  // A client that leaves is no error of the server.
  const errors = server.logs.filter(({ level, msg }) => level === "error" && msg !== "Turn failed");
  expect(errors).toEqual([]);
});

describe("the permit of a turn whose client leaves", () => {
  it("is never taken when the body does not arrive whole", async () => {
    const admittedBefore = (await server.capacity()).admitted;
    for (const part of ["", '{"input"', JSON.stringify({ input: "Hang" }).slice(0, -1)]) {
      const socket = await send(part, 1);
      await delay(20);
      socket.destroy();
    }
    expect((await server.capacity()).admitted).toBe(admittedBefore);
  });

  it.each([0, 5, 30, 150, 400])("comes back when it leaves %i ms after asking", async (afterMs) => {
    const admittedBefore = (await server.capacity()).admitted;
    const socket = await send(JSON.stringify({ input: "Hang" }), 0);
    await until(
      async () => (await server.capacity()).admitted > admittedBefore,
      "the turn to be admitted",
    );
    await delay(afterMs);
    socket.destroy();
  });

  it("comes back when it leaves in the middle of the text", async () => {
    const turn = await stream(server, "Hang");
    await turn.until("text_delta");
    turn.leave();
  });

  it("comes back when it leaves during a function tool, which is told to stop", async () => {
    const called: unknown[] = [];
    const onCall = (turnId: unknown) => void called.push(turnId);
    subscribe(TOOL_CALLS, onCall);
    const turn = await stream(server, "Please use the tool");
    // The model's word that it wants the tool is no call yet.
    await until(() => called.includes(turn.turnId), "the tool to be called");
    unsubscribe(TOOL_CALLS, onCall);
    turn.leave();
    const stopped = () =>
      server.logs.find(({ turnId, toolName }) => turnId === turn.turnId && toolName === "wait");
    await until(() => stopped() !== undefined, "the tool to be told");
    expect(stopped()?.["err"]).toMatchObject({ name: "AbortError" });
  });

  it("comes back only after a tool that does not want to end, and all it started", async () => {
    const turn = await stream(server, "Be stubborn");
    const sleepers = () => processesOfTurn(turn.turnId).length;
    await until(() => sleepers() >= 4, "the tool to run");
    turn.leave();
    await until(() => {
      const { inflight } = server.gate.snapshot(monotonicMs());
      if (inflight === 0) expect(sleepers()).toBe(0);
      return inflight === 0;
    }, "the permit");
  });

  it("comes back when it waits for JSON and leaves", async () => {
    const leave = new AbortController();
    const answer = post(server, "Hang", { signal: leave.signal });
    answer.catch(() => undefined);
    await until(() => server.model.openRequestCount > 0, "the model to be asked");
    leave.abort();
    await expect(answer).rejects.toThrow();
  });
});

describe("the permit of a turn that is ended", () => {
  it("comes back after it was cancelled, which its stream and nobody else is told", async () => {
    const turn = await stream(server, "Hang");
    await turn.until("text_delta");
    const cancel = () => fetch(`${server.url}/v1/turns/${turn.turnId}/cancel`, { method: "POST" });
    expect((await cancel()).status).toBe(202);
    expect(await turn.outcome()).toMatchObject({ status: "cancelled", cause: "cancel_requested" });
    expect(await refusal(cancel())).toMatchObject({ status: 404, code: "turn_not_found" });
  });

  it("comes back after it was cancelled before its process was ready", async () => {
    const turn = await stream(server, "Hang", { agent: "starting" });
    await fetch(`${server.url}/v1/turns/${turn.turnId}/cancel`, { method: "POST" });
    expect(await turn.outcome()).toMatchObject({ status: "cancelled" });
    expect(turn.text()).toBe("");
  });

  it("comes back when its time is over", async () => {
    const turn = await stream(server, "Hang", { agent: "hasty" });
    expect(await turn.outcome()).toMatchObject({ status: "failed", code: "turn_timeout" });
  });

  it("comes back when its process is killed before it is ready", async () => {
    const turn = await stream(server, "Hi", { agent: "starting" });
    process.kill(await claudeOf(turn.turnId), "SIGKILL");
    expect(await turn.outcome()).toMatchObject({ status: "failed", code: "turn_out_of_memory" });
  });

  it("comes back when its process is killed in the middle of the text", async () => {
    const turn = await stream(server, "Hang");
    await turn.until("text_delta");
    process.kill(await claudeOf(turn.turnId), "SIGKILL");
    expect(await turn.outcome()).toMatchObject({ status: "failed", code: "turn_out_of_memory" });
  });

  it("comes back when its process is stuck at its start", async () => {
    const turn = await stream(server, "Hi", { agent: "starting" });
    process.kill(await claudeOf(turn.turnId), "SIGSTOP");
    expect(await turn.outcome()).toMatchObject({ status: "failed", code: "agent_start_failed" });
  });

  it("comes back when its process is stuck in the middle of the text and it is cancelled", async () => {
    const turn = await stream(server, "Hang");
    await turn.until("text_delta");
    process.kill(await claudeOf(turn.turnId), "SIGSTOP");
    await fetch(`${server.url}/v1/turns/${turn.turnId}/cancel`, { method: "POST" });
    expect(await turn.outcome()).toMatchObject({ status: "cancelled" });
  });
});

/** Posts a turn over a socket of its own, announcing `missing` bytes more than it sends. */
async function send(body: string, missing: number): Promise<Socket> {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  const length = Buffer.byteLength(body) + missing;
  socket.write(
    "POST /v1/agents/helper/turns HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n" +
      `Content-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`,
  );
  return socket;
}
