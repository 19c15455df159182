/**
 * A run of AG-UI that is picked up again, judged by the real 1.0 client: after a cut, by its run id
 * and the last event; after a reload, by connecting to its thread.
 */

import {
  HttpAgent,
  type BaseEvent,
  type Message,
  type RunAgentInput,
  runHttpRequest,
  transformHttpEventStream,
} from "@ag-ui/client";
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { until } from "../helpers/leaks.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { refusal } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 20, tokensPerSecond: 200 }
rules:
  - when: { userText: slowly }
    tokensPerSecond: 20
    reply:
      - tokens: 40
  - when: { afterTool: true }
    reply:
      - text: "I was told: {{toolResult}}"
  - when: { userText: add }
    reply:
      - thinking: Two numbers.
      - text: "I add. "
      - tool: { name: add, input: { a: 2, b: 3 } }
  - reply:
      - text: "You said: {{userText}}"
`;

const AGENT = `
name: helper
model: { id: claude-sonnet-5, thinking: { budgetTokens: 1024 } }
instructions: You are a test.
tools: { functions: [$FIXTURES/tools.js] }
hosting: { onDisconnect: continue }
`;

/** @param keepTime Of the events of a run. */
function serverThatKeeps(keepTime: string) {
  const settings = { "capacity.memoryLimit": "4GiB", "journal.keepTime": keepTime };
  return startServer({ script: SCRIPT, agents: [AGENT], settings });
}

let server: TestServer;
beforeAll(async () => {
  server = await serverThatKeeps("1m");
});
afterAll(async () => server[Symbol.asyncDispose]());

type ConnectResult = ReturnType<HttpAgent["run"]>;

/** The real client, with the address for what it calls connecting, which it leaves to its user. */
class Client extends HttpAgent {
  readonly seen: BaseEvent[] = [];

  protected override connect(input: RunAgentInput): ConnectResult {
    return transformHttpEventStream(
      runHttpRequest(() => fetch(`${this.url}/connect`, this.requestInit(input))),
    );
  }
}

function open(threadId: string, fetching?: typeof fetch, at = server): Client {
  const url = `${at.url}/agui`;
  const client = new Client({
    url,
    threadId,
    ...(fetching !== undefined && { fetch: fetching }),
  });
  client.subscribe({ onEvent: ({ event }) => void client.seen.push(event) });
  return client;
}

/** What a person would see, whatever the provider called its messages this time. */
function shown(messages: readonly Message[]): unknown[] {
  const names = new Map<string, string>();
  const nameOf = (id: string) => names.get(id) ?? names.set(id, `${names.size}`).get(id);
  return messages.map((message) => {
    const { role, content } = message as { role: string; content?: unknown };
    const calls = message.role === "assistant" ? message.toolCalls : undefined;
    return {
      role,
      content,
      calls: calls?.map(({ id, function: call }) => [nameOf(id), call]),
      of: message.role === "tool" ? nameOf(message.toolCallId) : undefined,
    };
  });
}

/** Breaks the connection after so many frames, each time, and goes on by the last id. */
function cutting(frames: number): { fetching: typeof fetch; cuts: () => number } {
  let cuts = 0;
  const fetching = (async (url: string, init: RequestInit) => {
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        let lastId: string | undefined;
        for (let isOver = false; !isOver;) {
          const leave = new AbortController();
          const response = await fetch(url, {
            ...init,
            headers: { ...(init.headers as object), ...(lastId && { "last-event-id": lastId }) },
            signal: leave.signal,
          });
          if (response.status === 204) break;
          let left = frames;
          for await (const frame of framesOf(response)) {
            const id = /^id: (.*)$/m.exec(frame)?.[1];
            lastId = id ?? lastId;
            controller.enqueue(encoder.encode(`${frame}\n\n`));
            isOver = /"type":"RUN_(?:FINISHED|ERROR)"/.test(frame);
            if (id !== undefined && (left -= 1) === 0) break;
          }
          leave.abort();
          if (!isOver) cuts += 1;
        }
        controller.close();
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }) as typeof fetch;
  return { fetching, cuts: () => cuts };
}

async function* framesOf(response: Response): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of (response.body ?? new ReadableStream()).pipeThrough(
    new TextDecoderStream(),
  )) {
    text += chunk;
    const frames = text.split("\n\n");
    text = frames.pop() ?? "";
    yield* frames;
  }
}

async function say(client: Client, content: string): Promise<Client> {
  client.addMessage({ id: `u${client.messages.length}`, role: "user", content });
  await client.runAgent();
  return client;
}

function typesOf(client: Client): readonly string[] {
  return client.seen.map(({ type }) => type);
}

describe("a run that was cut", () => {
  it.each([1, 2, 3, 7])("has the same messages when it is cut every %i frames", async (frames) => {
    const whole = await say(open(`whole ${frames}`), "Please add");
    const { fetching, cuts } = cutting(frames);
    const cut = await say(open(`cut ${frames}`, fetching), "Please add");
    expect(cuts()).toBeGreaterThan(1);
    expect(shown(cut.messages)).toEqual(shown(whole.messages));
    expect(typesOf(cut)).toEqual(typesOf(whole));
  });
});

describe("a client that connects", () => {
  it("to a thread where nothing was said finds nothing, and may begin", async () => {
    const client = open("new");
    await client.connectAgent();
    expect(typesOf(client)).toEqual(["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]);
    expect(client.messages).toEqual([]);
    await say(client, "Hi");
    expect(client.messages.at(-1)).toMatchObject({ content: "You said: Hi" });
  });

  it("to a run that goes on sees what was said before, and the rest live", async () => {
    const first = await say(open("live"), "Please add");
    const before = first.messages.filter(({ role }) => role !== "reasoning");
    const running = say(first, "Now slowly");
    await until(
      () => typesOf(first).filter((type) => type === "TEXT_MESSAGE_CONTENT").length > 12,
      "text",
    );
    const second = open("live");
    await second.connectAgent();
    await running;
    expect(shown(second.messages.slice(0, before.length))).toEqual(shown(before));
    expect(second.messages.at(-2)).toMatchObject({ role: "user", content: "Now slowly" });
    expect(second.messages.at(-1)).toEqual(first.messages.at(-1));
    expect(second.messages).toHaveLength(before.length + 2);
    expect(typesOf(second).filter((type) => type === "RUN_FINISHED")).toHaveLength(1);
  });

  it.each([2, 5, 9, 14])(
    "with what it has read of the run, %i frames, ends with the whole",
    async (count) => {
      const threadId = `part ${count}`;
      const whole = await say(open(`whole of ${threadId}`), "Please add");
      let left = count;
      const leaving = (async (url: string, init: RequestInit) => {
        const response = await fetch(url, init);
        const frames = framesOf(response);
        const body = new ReadableStream<Uint8Array>({
          async pull(controller) {
            const { value, done } = await frames.next();
            if (done === true || left <= 0) controller.close();
            else {
              left -= value.startsWith("id") ? 1 : 0;
              controller.enqueue(new TextEncoder().encode(`${value}\n\n`));
            }
          },
        });
        return new Response(body, { headers: response.headers });
      }) as typeof fetch;
      const client = open(threadId, leaving);
      await say(client, "Please add").catch(() => undefined);
      await client.connectAgent();
      expect(shown(client.messages)).toEqual(shown(whole.messages));
    },
  );

  it("after the run, and after its events are gone, finds the same", async () => {
    await using brief = await serverThatKeeps("3s");
    const openBrief = () => open("ended", undefined, brief);
    const first = await say(openBrief(), "Please add");
    const said = first.messages.filter(({ role }) => role !== "reasoning");
    const soon = openBrief();
    await soon.connectAgent();
    expect(shown(soon.messages.filter(({ role }) => role !== "reasoning"))).toEqual(shown(said));
    const typesNow = () => connectTypes("ended", brief);
    await until(async () => (await typesNow()).length === 3, "the events to go");
    const late = openBrief();
    await late.connectAgent();
    expect(shown(late.messages)).toEqual(shown(said));
    // One that has all of it already has nothing twice.
    await first.connectAgent();
    expect(shown(first.messages.filter(({ role }) => role !== "reasoning"))).toEqual(shown(said));
  });

  it("may go on after the last event that it has read", async () => {
    const first = say(open("by id"), "Now slowly");
    let text = "";
    await until(
      async () => (text = await headOf("by id")).includes("TEXT_MESSAGE_START"),
      "a start",
    );
    const lastId = [...text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? "";
    const rest = await (await connect("by id", { "last-event-id": lastId })).text();
    expect(rest).not.toContain("RUN_STARTED");
    expect(rest).toContain("RUN_FINISHED");
    await first;
    const bad = await refusal(connect("by id", { "last-event-id": "banana" }));
    expect(bad).toMatchObject({ status: 400, code: "invalid_request" });

    // What it has read last may be of an earlier run of the thread.
    const second = say(open("by id"), "Again slowly");
    await until(async () => (await headOf("by id")).includes("Again slowly"), "a start");
    const answer = await connect("by id", { "last-event-id": lastId });
    expect(answer.status).toBe(200);
    const whole = await answer.text();
    for (const frame of ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]) {
      expect(whole).toContain(frame);
    }
    await second;
  });

  it("needs a body that says which thread", async () => {
    const problem = await refusal(connect(undefined));
    expect(problem).toMatchObject({ status: 400, errors: [{ pointer: "/threadId" }] });
  });
});

describe("a client that connects to the thread of another tenant", () => {
  const sha256 = (key: string) => createHash("sha256").update(key).digest("hex");
  const serverFile = `
auth:
  keys:
    - { id: ada, tenant: ada, sha256: ${sha256("key-of-ada")} }
    - { id: bob, tenant: bob, role: operator, sha256: ${sha256("key-of-bob")} }
`;

  it("finds nothing, while it has a run and after", async () => {
    await using keyed = await startServer({ script: SCRIPT, agents: [AGENT], serverFile });
    const postAs = (key: string, path: string, body: object, headers: object = {}) =>
      fetch(`${keyed.url}/v1/agents/helper/agui${path}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          authorization: `Bearer ${key}`,
          ...headers,
        },
        body: JSON.stringify({ threadId: "own", protocolVersion: "1.0", ...body }),
      });
    const messages = [{ id: "u1", role: "user", content: "Now slowly" }];
    const running = await postAs("key-of-ada", "", { runId: "r1", messages });
    const frames = framesOf(running);
    const lastId = /^id: (.*)$/m.exec((await frames.next()).value ?? "")?.[1] ?? "";
    const typesFor = async (headers: object = {}) => {
      const text = await (await postAs("key-of-bob", "/connect", { runId: "r1" }, headers)).text();
      return [...text.matchAll(/"type":"([A-Z_]+)"/g)].map(([, type]) => type);
    };
    const nothing = ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"];
    expect(await typesFor()).toEqual(nothing);
    // Neither does who has overheard an event.
    expect(lastId).not.toBe("");
    expect(await typesFor({ "last-event-id": lastId })).toEqual(nothing);
    for await (const _frame of frames);
    expect(await typesFor()).toEqual(nothing);
    const own = await (await postAs("key-of-ada", "/connect", { runId: "r1" })).text();
    expect(own).toContain("Now slowly");
  });
});

function connect(
  threadId: string | undefined,
  headers: Record<string, string> = {},
  signal?: AbortSignal,
  at = server,
) {
  return fetch(`${at.url}/agui/connect`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ threadId, runId: "c1", messages: [], protocolVersion: "1.0" }),
    ...(signal !== undefined && { signal }),
  });
}

async function connectTypes(threadId: string, at: TestServer): Promise<string[]> {
  const text = await (await connect(threadId, {}, undefined, at)).text();
  return [...text.matchAll(/"type":"([A-Z_]+)"/g)].map(([, type]) => type ?? "");
}

/** The first frames of a run that goes on. */
async function headOf(threadId: string): Promise<string> {
  const leave = new AbortController();
  const response = await connect(threadId, {}, leave.signal);
  let text = "";
  for await (const frame of framesOf(response)) {
    text += `${frame}\n\n`;
    if (frame.includes("TEXT_MESSAGE_CONTENT") || frame.includes("RUN_FINISHED")) break;
  }
  leave.abort();
  return text;
}
