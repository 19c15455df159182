/**
 * The gate from outside: as many turns as memory carries, the others refused at once with a word
 * on when to come back.
 */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { SHED_PAUSE_MS } from "../../src/server/shed-log.ts";
import { until } from "../helpers/leaks.ts";
import { startServer, type InProcessServer, type TestServer } from "../helpers/server.ts";
import { RawConnection } from "../http/raw.ts";
import { ask, post, refusal, stream, type TurnStream } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - reply:
      - text: "You said: {{userText}}"
`;

const LATE_SERVER = `sleep 5; exec node ${join(import.meta.dirname, "../turn/mcp-server.mjs")}`;

/**
 * The guard sheds, and says so, when it was not given a core for 2.5 s; what is counted here are the
 * turns that others shed.
 */
const NO_GUARD = { "capacity.guard": "false" };

/** It has not started before five seconds are over. */
const LATE = `
name: helper
instructions: You are a test.
tools:
  mcp:
    vault: { type: stdio, command: sh, args: [-c, "${LATE_SERVER}"] }
`;

describe("a server that carries two turns", () => {
  let server: InProcessServer;
  beforeAll(async () => {
    // (1400 - 400) / 500 = 2.
    server = await startServer({
      script: SCRIPT,
      settings: {
        ...NO_GUARD,
        "capacity.admission": "static",
        "capacity.memoryLimit": "1400MiB",
        "agentProcess.endGrace": "500ms",
      },
    });
  });
  afterEach(async () => {
    await cancelAll(server);
    await until(() => server.gate.snapshot(monotonicMs()).inflight === 0, "every permit");
  });
  afterAll(async () => server[Symbol.asyncDispose]());

  it("takes two of five that come at once, and exactly two again when they have ended", async () => {
    for (const round of [1, 2]) {
      const answers = await Promise.all(
        [1, 2, 3, 4, 5].map(() => post(server, "Hang", { accept: "text/event-stream" })),
      );
      const statuses = answers.map(({ status }) => status).sort((a, b) => a - b);
      expect(statuses, `round ${round}`).toEqual([200, 200, 429, 429, 429]);
      expect(await server.capacity()).toMatchObject({ inflight: 2, turnsThatFit: 2 });
      for (const answer of answers) if (answer.status === 429) await expectShed(answer);
      await cancelAll(server);
      await until(() => server.gate.snapshot(monotonicMs()).inflight === 0, "both permits back");
      for (const answer of answers) if (!answer.bodyUsed) await answer.text();
    }
  });

  it("takes exactly one more when one of two has ended", async () => {
    const first = await stream(server, "Hang");
    await stream(server, "Hang");
    await cancel(server, first);
    await first.closed;
    await stream(server, "Hang");
    await expectShed(await post(server, "Hang"));
  });

  it("refuses AG-UI with a status too, not with an event in a stream", async () => {
    await fill(server);
    await expectShed(await runAgui(server, "t", "Hi"));
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  });

  it.each([
    ["it has received a large body", "Content-Length: 1000000"],
    ["it has received a body of unknown size", "Transfer-Encoding: chunked"],
    ["it asks for the body of a client that waits", "Content-Length: 50\r\nExpect: 100-continue"],
  ])("refuses before %s", async (_what, headers) => {
    await fill(server);
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    await once(socket, "connect");
    socket.write(
      "POST /v1/agents/helper/turns HTTP/1.1\r\nHost: 127.0.0.1\r\n" +
        `Content-Type: application/json\r\n${headers}\r\n\r\n`,
    );
    // Nothing of the body is ever sent, and the answer does not wait for it.
    let answer = "";
    socket.setEncoding("utf8").on("data", (text: string) => (answer += text));
    await until(() => answer.includes('"code":"at_capacity"'), "the refusal");
    expect(answer).toMatch(/^HTTP\/1\.1 429 /);
    socket.destroy();
  });

  it("refuses a second turn of a busy session for that, and others for its load", async () => {
    const busy = { threadId: "busy" };
    const turn = await stream(server, "Hang", busy);
    const { sessionId } = await turn.until("turn_started");
    await stream(server, "Hang");
    const { shed } = await server.capacity();
    const run = (threadId: string) => runAgui(server, threadId, "Hi");
    const isBusy = { status: 409, code: "session_busy" };
    expect(await refusal(post(server, "Hi", busy))).toMatchObject(isBusy);
    expect(await refusal(post(server, "Hi", { sessionId }))).toMatchObject(isBusy);
    expect(await refusal(run("busy"))).toMatchObject(isBusy);
    expect((await server.capacity()).shed).toEqual(shed);

    const long = "so ".repeat(10_000);
    await expectShed(await post(server, long, busy));
    await expectShed(await post(server, "Hi", { threadId: "idle" }));
    await expectShed(await run("idle"));
    expect(await server.capacity()).toMatchObject({ inflight: 2, turnsThatFit: 2 });
    expect((await server.capacity()).shed.memory).toBe(shed.memory + 3);
  });

  it("lets the same run of AG-UI go on that is asked for again while it is full", async () => {
    const first = await runAgui(server, "again", "Hang");
    await stream(server, "Hang");
    const again = await runAgui(server, "again", "Hang");
    expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([200, "true"]);
    const turnId = again.headers.get("x-turn-id");
    expect(turnId).toBe(first.headers.get("x-turn-id"));
    await cancelAll(server);
    const [one, two] = await Promise.all([first.text(), again.text()]);
    expect(one).toContain("RUN_ERROR");
    expect(two).toBe(one);
  });

  it("reads a body that comes in pieces, and counts none that never comes", async () => {
    await stream(server, "Hang", { threadId: "busy" });
    await stream(server, "Hang");
    const { shed } = await server.capacity();
    const ofBusy = new RawConnection(server.url);
    const ofIdle = new RawConnection(server.url);
    const leaving = new RawConnection(server.url);
    const body = (threadId: string): string => JSON.stringify({ input: "Hi", threadId });
    const cases = [
      [ofBusy, body("busy")],
      [ofIdle, body("idle")],
      [leaving, body("idle")],
    ] as const;
    for (const [connection, text] of cases) {
      await connection.send(
        `POST /v1/agents/helper/turns HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\n` +
          `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n` +
          text.slice(0, 10),
      );
    }
    expect((await server.capacity()).shed).toEqual(shed);
    leaving[Symbol.dispose]();
    for (const [connection, text] of cases.slice(0, 2)) await connection.send(text.slice(10));
    expect((await ofBusy.answers())[0]).toMatchObject({ status: 409 });
    expect((await ofIdle.answers())[0]).toMatchObject({ status: 429 });
    expect((await server.capacity()).shed.memory).toBe(shed.memory + 1);
    for (const connection of [ofBusy, ofIdle]) connection[Symbol.dispose]();
  });

  it("does not count sessions between their turns", async () => {
    for (const threadId of ["a", "b", "c", "d"]) await ask(server, "Hi", { threadId });
    await fill(server);
    expect((await server.capacity()).inflight).toBe(2);
  });

  it("tells the log once that it sheds, and why, however many it refuses", async () => {
    await using full = await startServer({
      script: SCRIPT,
      settings: {
        ...NO_GUARD,
        "capacity.admission": "static",
        "capacity.memoryLimit": "1400MiB",
      },
    });
    await fill(full);
    const before = full.logs.length;
    const askedAtMs = performance.now();
    const answers = await Promise.all(Array.from({ length: 200 }, () => post(full, "Hi")));
    for (const answer of answers) await refusal(answer);
    const tookMs = performance.now() - askedAtMs;
    const told = full.logs.slice(before).filter(({ msg }) => msg.startsWith("Turns are"));
    expect(told[0]).toMatchObject({ shed: 1 });
    for (const line of told) {
      expect(line).toMatchObject({
        level: "info",
        msg: "Turns are shed",
        decision: "shed (memory): 1,400 of 1,400 MiB committed; this turn is predicted 500 MiB",
      });
    }
    // Where the refusals take so long it says that it sheds still, and how many there were.
    expect(told.length).toBeLessThanOrEqual(1 + Math.floor(tookMs / SHED_PAUSE_MS));
    const sums = told.map(({ shed }) => Number(shed));
    expect(sums.reduce((sum, shed) => sum + shed, 0)).toBeLessThanOrEqual(200);
    expect(Math.min(...sums)).toBeGreaterThan(0);
    await cancelAll(full);
  });

  it("counts every refusal, and says in /capacity what it thought", async () => {
    const before = await server.capacity();
    await fill(server);
    await expectShed(await post(server, "Hi"));
    const now = await server.capacity();
    expect(now.shed.memory).toBe(before.shed.memory + 1);
    expect(now.lastDecision?.text).toMatch(/^shed \(memory\): 1,400 of 1,400 MiB committed/);
    const told = { kind: "turn", predictedBytes: 500 * 2 ** 20, ceilingBytes: expect.any(Number) };
    // It tells of processes, and a turn is taken before it has one.
    await until(async () => (await server.capacity()).turns.length === 2, "both processes");
    expect((await server.capacity()).turns).toMatchObject([told, told]);
    expect(now.headroomBytes).toBe(0);
    expect(await server.metrics()).toMatch(/^plimsoll_turn_shed_total\{.*"memory"\} [1-9]/m);
  });
});

describe("a server told to shed with 503 and to be unready while full", () => {
  it("does both, and is ready again afterwards", async () => {
    await using server = await startServer({
      script: SCRIPT,
      settings: {
        ...NO_GUARD,
        "capacity.memoryLimit": "4GiB",
        "capacity.maxTurns": "1",
        "capacity.shedStatus": "503",
        "capacity.unreadyWhenFull": "true",
      },
    });
    const turn = await stream(server, "Hang");
    const problem = await refusal(post(server, "Hi"));
    expect(problem).toMatchObject({ status: 503, code: "at_capacity", capacity: 1, inflight: 1 });
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
    await cancel(server, turn);
    await turn.closed;
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  });
});

describe("a server that starts one process at a time, and has nobody wait for more than 2 s", () => {
  it("sheds those who would, also when all come at once", async () => {
    const starts = { ...NO_GUARD, "capacity.startsAtOnce": "1", "capacity.startWait": "2s" };
    await using server = await startServer({
      script: SCRIPT,
      agents: [LATE],
      settings: { "capacity.memoryLimit": "16GiB", "capacity.admission": "static", ...starts },
    });
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => post(server, "Hi", { accept: "text/event-stream" })),
    );
    const refused = answers.filter(({ status }) => status === 429);
    // A start is presumed to take half a second: one starts, and four wait; fewer once one was slow.
    expect(refused.length).toBeGreaterThanOrEqual(7);
    expect(refused.length).toBeLessThan(12);
    for (const answer of refused) {
      expect(await refusal(answer)).toMatchObject({ code: "at_capacity", reason: "start" });
    }
    await cancelAll(server);
    for (const answer of answers) if (!answer.bodyUsed) await answer.text();
  });
});

describe("a server that gives each caller one stream", () => {
  it("refuses a second one, though there is room, until the first has ended", async () => {
    await using server = await startServer({
      script: SCRIPT,
      settings: { ...NO_GUARD, "capacity.memoryLimit": "4GiB", "http.streamsPerCaller": "1" },
    });
    const turn = await stream(server, "Hang");
    const problem = await refusal(post(server, "Hi"));
    expect(problem).toMatchObject({ status: 429, code: "too_many_streams" });
    expect((await server.capacity()).inflight).toBe(1);
    await cancel(server, turn);
    await turn.closed;
    await ask(server, "Hi");
  });
});

describe("a server that carries two turns of two tenants", () => {
  it("keeps a turn that ends for the one who was shed, from the one who holds the other", async () => {
    const keys = { ada: "ada-key-for-tests", bob: "bob-key-for-tests" };
    await using server = await startServer({
      script: SCRIPT,
      settings: {
        ...NO_GUARD,
        "capacity.memoryLimit": "8GiB",
        "capacity.maxTurns": "2",
        "agentProcess.endGrace": "500ms",
      },
      serverFile: `
auth:
  keys:
    - { id: ada, tenant: ada, sha256: "${sha256(keys.ada)}" }
    - { id: bob, tenant: bob, sha256: "${sha256(keys.bob)}" }
`,
    });
    const ada = { key: keys.ada };
    const bob = { key: keys.bob };
    const first = await stream(server, "Hang", ada);
    const staying = await stream(server, "Hang", ada);
    const full = { status: 429, reason: "max_turns" };
    expect(await refusal(post(server, "Hi", bob))).toMatchObject(full);
    await cancel(server, first, keys.ada);
    await first.closed;
    // Bob is on his way, and Ada asks at once.
    const kept = { status: 429, reason: "share" };
    expect(await refusal(post(server, "Hi", ada))).toMatchObject(kept);
    expect((await ask(server, "Hi", bob)).status).toBe("completed");
    await cancel(server, staying, keys.ada);
    await staying.closed;
  });
});

/** Header, RateLimit field and body must tell the caller the same. */
async function expectShed(answer: Response): Promise<void> {
  const seconds = Number(answer.headers.get("retry-after"));
  expect(seconds).toBeGreaterThanOrEqual(1);
  expect(answer.headers.get("ratelimit")).toBe(`"turns";r=0;t=${seconds}`);
  expect(answer.headers.get("ratelimit-policy")).toBe('"turns";q=2;qu="concurrent-requests"');
  const problem = await refusal(answer);
  expect(problem).toMatchObject({
    status: 429,
    code: "at_capacity",
    retryAfter: seconds,
    capacity: 2,
    inflight: 2,
  });
}

/** Starts two turns that do not end by themselves. */
async function fill(server: TestServer): Promise<void> {
  for (const input of ["Hang", "Hang too"]) await stream(server, input);
}

async function cancelAll(server: TestServer): Promise<void> {
  const answer = await fetch(`${server.url}/v1/turns`);
  const { turns } = (await answer.json()) as { turns: { turnId: string }[] };
  await Promise.all(turns.map((turn) => cancel(server, turn)));
}

async function cancel(
  { url }: TestServer,
  { turnId }: Pick<TurnStream, "turnId">,
  key?: string,
): Promise<void> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const answer = await fetch(`${url}/v1/turns/${turnId}/cancel`, { method: "POST", headers });
  expect(answer.status).toBe(202);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The same run each time. */
function runAgui({ url }: TestServer, threadId: string, content: string): Promise<Response> {
  return fetch(`${url}/agui`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({
      threadId,
      runId: "r",
      messages: [{ id: "u", role: "user", content }],
    }),
  });
}
