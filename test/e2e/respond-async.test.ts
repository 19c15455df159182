/**
 * Goal: a client that does not want to wait is told where its turn is, and the turn runs to its end
 * with nobody there.
 * Method: the real Claude Code behind the server over HTTP; agents that would end a turn whose
 * client has left.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { until } from "../helpers/leaks.ts";
import { startServer, type InProcessServer } from "../helpers/server.ts";
import { ask, post, refusal, type Asking } from "./client.ts";
import { eventsOf, openFrames, take } from "./frames.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { userText: hang }
    hangAfterTokens: 3
    reply: [{ tokens: 10 }]
  - reply:
      - text: "You said: {{userText}}"
`;

const HELPER = "name: helper\ninstructions: You are a test.\nhosting: { onDisconnect: cancel }\n";

let server: InProcessServer;
beforeAll(async () => {
  const settings = { "capacity.maxTurns": "2", "journal.keepTime": "1m" };
  server = await startServer({ script: SCRIPT, agents: [HELPER], settings });
});
afterAll(async () => server[Symbol.asyncDispose]());

interface Begun {
  readonly turnId: string;
  readonly sessionId: string;
  readonly threadId: string;
}

const PREFER = { prefer: "respond-async" };

async function begin(input: string, { headers, ...asking }: Asking = {}): Promise<Begun> {
  const response = await post(server, input, { ...asking, headers: { ...PREFER, ...headers } });
  const body = (await response.json()) as Begun;
  expect(response.status, JSON.stringify(body)).toBe(202);
  expect(response.headers.get("preference-applied")).toBe("respond-async");
  expect(response.headers.get("location")).toBe(`/v1/turns/${body.turnId}`);
  expect(response.headers.get("x-turn-id")).toBe(body.turnId);
  return body;
}

async function read({ turnId }: Begun): Promise<Record<string, unknown>> {
  const answer = await fetch(`${server.url}/v1/turns/${turnId}`);
  expect(answer.status).toBe(200);
  return (await answer.json()) as Record<string, unknown>;
}

async function ended(begun: Begun): Promise<Record<string, unknown>> {
  await until(async () => (await read(begun))["state"] === "ended", "the turn to end", 45_000);
  return read(begun);
}

async function cancel({ turnId }: Begun): Promise<void> {
  const answer = await fetch(`${server.url}/v1/turns/${turnId}/cancel`, { method: "POST" });
  expect(answer.status).toBe(202);
}

describe("a turn that is begun with respond-async", () => {
  it("is answered before its end, and runs to it with nobody there", async () => {
    const begun = await begin("Hello", { threadId: "alone" });
    expect(begun.threadId).toBe("alone");
    const turn = await ended(begun);
    expect(turn).toMatchObject({
      ...begun,
      readers: 0,
      outcome: { status: "completed", text: "You said: Hello" },
    });
    const events = eventsOf(
      await take(await openFrames(`${server.url}/v1/turns/${begun.turnId}/events`)),
    );
    expect(events[0]).toMatchObject({ type: "turn_started", ...begun });
    expect(events.at(-1)).toMatchObject({ type: "turn_ended", outcome: { status: "completed" } });
  });

  it("goes on when a reader of it has come and left", async () => {
    const begun = await begin("Please hang");
    const reader = await openFrames(`${server.url}/v1/turns/${begun.turnId}/events`);
    await take(reader, 2);
    await until(async () => (await read(begun))["readers"] === 0, "the reader to have left");
    // Whoever leaves another turn of this agent ends it.
    expect(await read(begun)).toMatchObject({ state: "running" });
    await cancel(begun);
    expect(await ended(begun)).toMatchObject({
      outcome: { status: "cancelled", cause: "cancel_requested" },
    });
  });

  it("is the same for the same key, while it runs and after", async () => {
    const asking = { headers: { "idempotency-key": "once" } };
    const first = await begin("Please hang", asking);
    expect(await begin("Please hang", asking)).toEqual(first);
    // One that is cancelled before anything of it has run may be asked for again.
    await until(async () => Number((await read(first))["lastEvent"]) > 2, "the turn to write");
    await cancel(first);
    await ended(first);
    expect(await begin("Please hang", asking)).toEqual(first);
    const other = await post(server, "Another", { headers: { ...PREFER, ...asking.headers } });
    expect(await refusal(other)).toMatchObject({ code: "idempotency_key_reused" });
  });

  it("is refused like any other: for the load, for what it asks for, for a busy session", async () => {
    const one = await begin("Please hang", { threadId: "one" });
    const busy = post(server, "Hello", { threadId: "one", headers: PREFER });
    expect(await refusal(busy)).toMatchObject({ status: 409, code: "session_busy" });
    const two = await begin("Please hang");
    const shed = await post(server, "Hello", { headers: PREFER });
    expect(shed.headers.has("retry-after")).toBe(true);
    expect(await refusal(shed)).toMatchObject({ status: 429, code: "at_capacity" });
    for (const turn of [one, two]) await cancel(turn);
    for (const turn of [one, two]) await ended(turn);
    const unknown = post(server, "Hello", { agent: "nobody", headers: PREFER });
    expect(await refusal(unknown)).toMatchObject({ status: 404, code: "agent_not_found" });
    const wrong = post(server, "", { headers: PREFER });
    expect(await refusal(wrong)).toMatchObject({ status: 400, code: "invalid_request" });
  });

  it("is a preference: who wants events gets them, and who names another gets the whole turn", async () => {
    const streamed = await post(server, "Hello", { accept: "text/event-stream", headers: PREFER });
    expect(streamed.status).toBe(200);
    expect(streamed.headers.has("preference-applied")).toBe(false);
    expect(await streamed.text()).toContain("event: turn_ended");
    const whole = await ask(server, "Hello", { headers: { prefer: "return=representation" } });
    expect(whole).toMatchObject({ status: "completed", text: "You said: Hello" });
  });
});
