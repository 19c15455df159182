/**
 * Turns that are picked up again: cut anywhere, by several readers, after their end, by strangers.
 */

import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { until } from "../helpers/leaks.ts";
import { startServer, type InProcessServer, type TestServer } from "../helpers/server.ts";
import { post, refusal, stream, type Asking } from "./client.ts";
import { eventsOf, lastIdOf, openFrames, take, type Frame, type FrameStream } from "./frames.ts";

const SCRIPT = `
defaults: { firstTokenMs: 20, tokensPerSecond: 200 }
rules:
  - when: { userText: at length }
    tokensPerSecond: 20
    reply:
      - tokens: 200
  - when: { userText: slowly }
    tokensPerSecond: 20
    reply:
      - tokens: 40
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - when: { userText: flood }
    tokensPerSecond: 1000
    reply:
      - tokens: 4000
  - when: { afterTool: true }
    reply:
      - text: "I was told: {{toolResult}}"
  - when: { userText: sleep }
    reply:
      - tool: { name: Bash, input: { command: "sleep 30" } }
  - when: { userText: add }
    reply:
      - text: "I add. "
      - tool: { name: add, input: { a: 2, b: 3 } }
  - reply:
      - text: "You said: {{userText}}"
`;

const TOOLS = "tools: { functions: [$FIXTURES/tools.js] }";
const agent = (name: string, hosting: string) =>
  `name: ${name}\ninstructions: You are a test.\n${TOOLS}\nhosting: ${hosting}\n`;

const KEYS = `
auth:
  keys:
    - { id: ada, tenant: acme, sha256: "__ADA__" }
    - { id: eve, tenant: evil, sha256: "__EVE__" }
    - { id: ops, tenant: ops, role: operator, sha256: "__OPS__" }
`;

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

let server: InProcessServer;
beforeAll(async () => {
  server = await startServer({
    script: SCRIPT,
    agents: [
      agent("helper", "{ onDisconnect: cancel }"),
      agent("lasting", "{ onDisconnect: continue }"),
      agent("patient", "{ reconnectTime: 30s }"),
      agent("hasty", "{ reconnectTime: 2s }"),
      "name: sleeper\ninstructions: You are a test.\ntools: { builtin: [Bash] }\n",
    ],
    serverFile: KEYS.replace("__ADA__", sha256("ada"))
      .replace("__EVE__", sha256("eve"))
      .replace("__OPS__", sha256("ops")),
    settings: {
      "capacity.memoryLimit": "4GiB",
      "journal.readers": "4",
      "journal.keepTime": "30s",
      "journal.turnSize": "64KiB",
      "http.streamsPerCaller": "1000",
      // What is sent in the meantime is no heartbeat.
      "http.heartbeat": "10m",
    },
  });
});
afterAll(async () => server[Symbol.asyncDispose]());

function headers(more: Record<string, string> = {}, key = "ada"): Record<string, string> {
  return { authorization: `Bearer ${key}`, ...more };
}

interface Began extends FrameStream {
  readonly turnId: string;
}

async function begin(input: string, agentName: string, threadId?: string): Promise<Began> {
  const opened = await openFrames(`${server.url}/v1/agents/${agentName}/turns`, {
    method: "POST",
    headers: headers({ "content-type": "application/json", accept: "text/event-stream" }),
    body: JSON.stringify({ input, ...(threadId !== undefined && { threadId }) }),
  });
  expect(opened.response.status).toBe(200);
  return { ...opened, turnId: opened.response.headers.get("x-turn-id") ?? "" };
}

function comeBack(turnId: string, lastEventId?: string, key = "ada"): Promise<FrameStream> {
  return openFrames(`${server.url}/v1/turns/${turnId}/events`, {
    headers: headers(lastEventId === undefined ? {} : { "last-event-id": lastEventId }, key),
  });
}

async function read(turnId: string, key = "ada"): Promise<Record<string, unknown>> {
  const answer = await fetch(`${server.url}/v1/turns/${turnId}`, { headers: headers({}, key) });
  return (await answer.json()) as Record<string, unknown>;
}

/** Each event once, in order, without a gap; the last one, and no other, ends the turn. */
function expectWhole(frames: readonly Frame[], status = "completed"): void {
  const numbers = frames.map(({ id }) => Number(id?.split("-")[1]));
  expect(numbers).toEqual(frames.map((_, n) => n + 1));
  const events = eventsOf(frames);
  expect(events.map(({ type }) => type).indexOf("turn_ended")).toBe(events.length - 1);
  expect(events.at(-1)).toMatchObject({ outcome: { status } });
}

function textOf(frames: readonly Frame[]): string {
  return eventsOf(frames)
    .map((event) => (event.type === "text_delta" ? event.delta : ""))
    .join("");
}

describe("a turn whose client was cut off", () => {
  it.each([0, 1, 2, 5, 9])("goes on after %i events as if nothing had happened", async (count) => {
    const first = await begin("Please add", "lasting");
    const seen = await take(first, count);
    while (eventsOf(seen).at(-1)?.type !== "turn_ended") {
      const next = await comeBack(first.turnId, lastIdOf(seen));
      expect(next.response.headers.get("content-type")).toBe("text/event-stream");
      seen.push(...(await take(next, 3)));
    }
    expectWhole(seen);
    expect(textOf(seen)).toBe("I add. I was told: The sum is 5");
  });

  it("is read live, and by the parameter where a client cannot set the header", async () => {
    const first = await begin("Speak slowly", "lasting");
    const seen = await take(first, 6);
    const url = `${server.url}/v1/turns/${first.turnId}/events?lastEventId=${lastIdOf(seen)}`;
    const rest = await take(await openFrames(url, { headers: headers() }));
    expectWhole([...seen, ...rest]);
    expect(
      textOf([...seen, ...rest])
        .trim()
        .split(" "),
    ).toHaveLength(40);
  });

  it("is read by two at a time, one from the first event", async () => {
    const first = await begin("Speak slowly", "helper");
    const head = await first.frames.next();
    const second = take(await comeBack(first.turnId));
    const whole = [head.value as Frame, ...(await take(first))];
    expectWhole(whole);
    expect(await second).toEqual(whole);
  });

  it("says at once that it is there, also while nothing happens in it", async () => {
    const first = await begin("Now hang", "lasting");
    const seen: Frame[] = [];
    const isSilent = () => textOf(seen).trim().split(" ").length === 3;
    while (!isSilent()) seen.push((await first.frames.next()).value as Frame);
    const again = await comeBack(first.turnId, lastIdOf(seen));
    expect([again.response.status, again.response.headers.get("content-type")]).toEqual([
      200,
      "text/event-stream",
    ]);
    await cancel(first.turnId);
    expectWhole([...seen, ...(await take(again))], "cancelled");
    first.cut();
  });

  it("is there after its end, and tells who has read all of it to stay away", async () => {
    const first = await begin("Hi", "helper");
    const seen = await take(first);
    const again = await comeBack(first.turnId);
    expect(await take(again)).toEqual(seen);
    const done = await comeBack(first.turnId, lastIdOf(seen));
    expect(done.response.status).toBe(204);
    expect(await take(await comeBack(first.turnId, seen.at(-2)?.id))).toEqual(seen.slice(-1));
  });

  it("describes itself while it runs and after", async () => {
    const first = await begin("Speak slowly", "helper");
    const { value: started } = await first.frames.next();
    const facts = { turnId: first.turnId, agent: "helper", readers: 1 };
    const running = await read(first.turnId);
    expect(running).toMatchObject({ ...facts, state: "running", outcome: null, endedAt: null });
    expect(running["sessionId"]).toBe((started as { data: { sessionId: string } }).data.sessionId);
    const frames = await take(first);
    await until(async () => (await read(first.turnId))["state"] === "ended", "the turn to end");
    const after = await read(first.turnId, "ops");
    expect(after).toMatchObject({ state: "ended", outcome: { status: "completed" }, readers: 0 });
    expect(after["lastEventId"]).toBe(lastIdOf(frames));
  });

  it("is gone when its time is over", async () => {
    await using brief = await startServer({
      script: SCRIPT,
      settings: { "capacity.memoryLimit": "4GiB", "journal.keepTime": "1s" },
    });
    const first = await stream(brief, "Hi");
    await first.outcome();
    const url = `${brief.url}/v1/turns/${first.turnId}`;
    const isGone = async () => (await fetch(url)).status === 404;
    await until(isGone, "the turn to be forgotten");
    for (const gone of [url, `${url}/events`]) {
      const problem = await refusal(fetch(gone));
      expect(problem).toMatchObject({ status: 404, code: "turn_not_found" });
    }
  });
});

describe("a run of AG-UI that is picked up again", () => {
  it("says at once that it is there, also while nothing happens in it", async () => {
    const input = { threadId: "silent", runId: "silent-run", state: {}, tools: [], context: [] };
    const message = { id: "one", role: "user", content: "Now hang" };
    const body = JSON.stringify({ ...input, messages: [message], forwardedProps: {} });
    const run = (more: Record<string, string> = {}) =>
      openFrames(`${server.url}/v1/agents/lasting/agui`, {
        method: "POST",
        headers: headers({ "content-type": "application/json", ...more }),
        body,
      });
    const first = await run();
    const seen: Frame[] = [];
    const words = () =>
      seen
        .map(({ data }) => (data as { delta?: string }).delta ?? "")
        .join("")
        .trim()
        .split(" ");
    while (words().length < 3) seen.push((await first.frames.next()).value as Frame);
    const again = await run({ "last-event-id": lastIdOf(seen) ?? "" });
    expect(again.response.status).toBe(200);
    await cancel(again.response.headers.get("x-turn-id") ?? "");
    expect((await take(again)).at(-1)?.data).toMatchObject({ type: "RUN_ERROR" });
    first.cut();
  });
});

describe("what a client cannot do", () => {
  it("see a turn of another tenant, or one that there never was", async () => {
    const first = await begin("Speak slowly", "helper");
    for (const [turnId, key] of [
      [first.turnId, "eve"],
      ["11111111-1111-4111-8111-111111111111", "ada"],
      ["banana", "ada"],
    ] as const) {
      for (const path of ["", "/events"]) {
        const url = `${server.url}/v1/turns/${turnId}${path}`;
        const problem = await refusal(fetch(url, { headers: headers({}, key) }));
        expect(problem).toMatchObject({ status: 404, code: "turn_not_found" });
      }
    }
    await take(first);
    expect((await comeBack(first.turnId, undefined, "ops")).response.status).toBe(200);
  });

  it("go on after an event that is none of this turn's", async () => {
    const other = await begin("Hi", "helper");
    const otherId = lastIdOf(await take(other));
    const first = await begin("Hi", "helper");
    await take(first);
    const tag = first.turnId.slice(0, 8);
    for (const id of ["banana", "7", `${tag}--1`, `${tag}-999`, `${tag}-1e9`, `${tag}-`, otherId]) {
      const problem = await refusal((await comeBack(first.turnId, id)).response);
      expect(problem, id).toMatchObject({ status: 400, code: "invalid_request" });
    }
    const url = `${server.url}/v1/turns/${first.turnId}/events?after=3`;
    expect(await refusal(fetch(url, { headers: headers() }))).toMatchObject({ status: 400 });
  });

  it("become a reader by asking for the head of a stream alone", async () => {
    const first = await begin("Speak at length", "helper");
    for (let count = 0; count < 4; count += 1) {
      const answer = await fetch(`${server.url}/v1/turns/${first.turnId}/events`, {
        method: "HEAD",
        headers: headers(),
      });
      expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, OPTIONS"]);
    }
    expect(await read(first.turnId)).toMatchObject({ state: "running", readers: 1 });
    first.cut();
    await until(async () => (await read(first.turnId))["state"] === "ended", "it to be cancelled");
    expect(await read(first.turnId)).toMatchObject({ outcome: { status: "cancelled" } });
  });

  it("read with more than the readers that a turn may have, and twenty leave nothing behind", async () => {
    const first = await begin("Speak at length", "helper");
    const others = await Promise.all(Array.from({ length: 20 }, () => comeBack(first.turnId)));
    const taken = others.filter(({ response }) => response.status === 200);
    const refused = others.filter(({ response }) => response.status === 429);
    expect([taken.length, refused.length]).toEqual([3, 17]);
    const [one] = refused;
    if (one !== undefined)
      expect(await refusal(one.response)).toMatchObject({ code: "too_many_readers" });
    for (const each of taken) each.cut();
    await until(async () => (await read(first.turnId))["readers"] === 1, "the readers to leave");
    const again = await comeBack(first.turnId);
    await again.frames.next();
    expectWhole(await take(first));
    // More is left unread than its socket holds.
    again.cut();
  });

  it("read what is not held any more", async () => {
    const first = await begin("Now flood", "lasting");
    first.cut();
    await until(async () => Number((await read(first.turnId))["firstEvent"]) > 1, "a loss", 20_000);
    const problem = await refusal((await comeBack(first.turnId)).response);
    expect(problem).toMatchObject({ status: 410, code: "events_expired" });
    await until(async () => {
      const { lastEventId } = await read(first.turnId);
      const rest = await comeBack(first.turnId, lastEventId as string);
      const { status } = rest.response;
      rest.cut();
      // More than is held may have come between the two.
      expect([200, 204, 410]).toContain(status);
      return status !== 410;
    }, "to come back where the turn is");
    await cancel(first.turnId);
    await ended(first.turnId);
  });
});

function cancel(turnId: string, key = "ada"): Promise<Response> {
  const url = `${server.url}/v1/turns/${turnId}/cancel`;
  return fetch(url, { method: "POST", headers: headers({}, key) });
}

async function ended(turnId: string): Promise<Record<string, unknown>> {
  let turn: Record<string, unknown> = {};
  const isEnded = async () => (turn = await read(turnId))["state"] === "ended";
  await until(isEnded, "the turn to end", 20_000);
  return turn;
}

describe("a turn that nobody reads any more", () => {
  it("is cancelled at once by default", async () => {
    const first = await begin("Now hang", "helper");
    await take(first, 3);
    const { outcome } = await ended(first.turnId);
    expect(outcome).toMatchObject({ status: "cancelled", cause: "client_gone" });
  });

  it("runs to its end where its agent says so, also for a client that wanted JSON", async () => {
    const leave = new AbortController();
    const asking: Asking = { agent: "lasting", key: "ada", signal: leave.signal };
    const before = await runningTurns();
    const answer = post(server, "Speak slowly", asking).catch(() => undefined);
    const turnId = await turnBeside(before);
    leave.abort();
    await answer;
    const { outcome } = await ended(turnId);
    expect(outcome).toMatchObject({ status: "completed" });
    expectWhole(await take(await comeBack(turnId)));
  });

  it("waits for its client as long as its agent says", async () => {
    const first = await begin("Speak slowly", "patient");
    const seen = await take(first, 3);
    await until(async () => (await read(first.turnId))["readers"] === 0, "the reader to leave");
    seen.push(...(await take(await comeBack(first.turnId, lastIdOf(seen)))));
    expectWhole(seen);

    const other = await begin("Now hang", "hasty");
    await take(other, 3);
    const leftAtMs = performance.now();
    const { outcome } = await ended(other.turnId);
    expect(outcome).toMatchObject({ status: "cancelled", cause: "client_gone" });
    expect(performance.now() - leftAtMs).toBeGreaterThan(1_900);
  });

  it("goes on while another reader is there, whoever leaves", async () => {
    const first = await begin("Speak at length", "helper");
    await first.frames.next();
    const second = await comeBack(first.turnId);
    await second.frames.next();
    const third = await comeBack(first.turnId);
    third.cut();
    first.cut();
    await until(async () => (await read(first.turnId))["readers"] === 1, "two readers to leave");
    expect(eventsOf(await take(second)).at(-1)).toMatchObject({ outcome: { status: "completed" } });
  });

  it("is cancelled when its client leaves before the first byte", async () => {
    const leave = new AbortController();
    const asking: Asking = { agent: "helper", key: "ada", signal: leave.signal };
    const before = await runningTurns();
    const answer = post(server, "Now hang", { ...asking, accept: "text/event-stream" });
    answer.catch(() => undefined);
    const turnId = await turnBeside(before);
    leave.abort();
    const { outcome } = await ended(turnId);
    expect(outcome).toMatchObject({ status: "cancelled", cause: "client_gone" });
  });
});

async function runningTurns(): Promise<string[]> {
  const answer = await fetch(`${server.url}/v1/turns`, { headers: headers() });
  const { turns } = (await answer.json()) as { turns: { turnId: string }[] };
  return turns.map(({ turnId }) => turnId);
}

/** The turn that was asked for since, admitted or not. */
async function turnBeside(before: readonly string[]): Promise<string> {
  for (;;) {
    const turnId = (await runningTurns()).find((each) => !before.includes(each));
    if (turnId !== undefined) return turnId;
  }
}

/** How soon is measured by the benchmark `reattach`. */
describe("a cancel from another connection", () => {
  it.each([
    ["while the process starts", "Speak slowly", 1],
    ["while the model writes", "Speak slowly", 6],
    ["while the model is silent", "Now hang", 4],
  ])("ends a turn %s, and its reader hears of it", async (_when, input, count) => {
    const first = await begin(input, "helper");
    const seen: Frame[] = [];
    for (let n = 0; n < count; n++) {
      const { value } = await first.frames.next();
      if (value !== undefined) seen.push(value);
    }
    expect((await cancel(first.turnId, "ops")).status).toBe(202);
    seen.push(...(await take(first)));
    expectWhole(seen, "cancelled");
    expect((await cancel(first.turnId)).status).toBe(404);
  });
});

describe("a cancel while a tool runs", () => {
  it("ends the turn and the tool", async () => {
    const first = await begin("Please sleep", "sleeper");
    const seen: Frame[] = [];
    for await (const frame of first.frames) {
      seen.push(frame);
      if (eventsOf([frame])[0]?.type === "tool_call_ended") break;
    }
    await delay(500);
    expect((await cancel(first.turnId)).status).toBe(202);
    const { outcome } = await ended(first.turnId);
    expect(outcome).toMatchObject({ status: "cancelled", cause: "cancel_requested" });
  });
});

describe("a server that stops", () => {
  it("lets a reader come back to a turn that still runs, and ends it in order", async () => {
    await using other: TestServer = await startServer({
      script: SCRIPT,
      agents: [agent("lasting", "{ onDisconnect: continue }")],
      settings: { "capacity.memoryLimit": "4GiB" },
    });
    const turn = await stream(other, "Speak at length", { agent: "lasting" });
    await turn.until("text_delta");
    turn.leave();
    const stopped = other.stop();
    const again = await openFrames(`${other.url}/v1/turns/${turn.turnId}/events`);
    expectWhole(await take(again));
    await stopped;
  });
});
