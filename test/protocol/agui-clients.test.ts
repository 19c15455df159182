/**
 * Goal: the clients that exist take everything we send, and understand it.
 * Method: each turn is served over a real socket to both official clients, which check schemas and
 * the order of events themselves; their warnings fail the test too.
 */

import { createServer, type Server } from "node:http";
import { json } from "node:stream/consumers";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

import { toAppError } from "../../src/lib/errors.ts";
import {
  AGUI_MEDIA_TYPES,
  type AguiFormat,
  encodeAguiBytes,
  negotiateAgui,
} from "../../src/protocol/agui.ts";
import { decodeAguiRun } from "../../src/protocol/agui-decode.ts";
import { PROBLEM_MEDIA_TYPE, toProblem } from "../../src/protocol/problem.ts";
import { SSE_HEARTBEAT } from "../../src/protocol/sse.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";
import { AGENTS, READERS } from "./agui-clients.ts";
import { aguiFrames, collect, stream, TURNS } from "./turns.ts";

const SCENARIOS = Object.entries(TURNS);
const VERSIONS = ["1.0", "0.0.59"] as const;

/** The thread id names the turn that is answered. */
function turnOf(threadId: string): readonly TurnEvent[] {
  return SCENARIOS.find(([name]) => name === threadId)?.[1] ?? [];
}

let server: Server;
let url: string;

beforeAll(async () => {
  server = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      const { run } = await decodeAguiRun(await json(request));
      const format = negotiateAgui(request.headers.accept) ?? "sse";
      response.writeHead(200, { "content-type": AGUI_MEDIA_TYPES[format] });
      const events = aguiFrames(stream(turnOf(run.threadId)), run);
      for await (const chunk of encodeAguiBytes(events, format)) {
        if (format === "sse") response.write(SSE_HEARTBEAT);
        response.write(chunk);
      }
      response.end();
    };
    answer().catch((thrown: unknown) => {
      const problem = toProblem(toAppError(thrown), { instance: "urn:uuid:1" });
      response.writeHead(problem.status, { "content-type": PROBLEM_MEDIA_TYPE });
      response.end(JSON.stringify(problem));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("No port");
  url = `http://127.0.0.1:${address.port}/`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const warnings: unknown[] = [];

beforeEach(() => {
  vi.spyOn(console, "warn").mockImplementation((...words) => void warnings.push(words));
  // The clients also log the failures that they report.
  vi.spyOn(console, "error").mockImplementation(() => undefined);
});

afterEach(() => {
  vi.restoreAllMocks();
  expect(warnings.splice(0)).toEqual([]);
});

const FAILURES: Readonly<Record<string, string>> = {
  "limit reached": "limit_reached",
  draining: "draining",
  failed: "agent_crashed",
  truncated: "internal",
  empty: "internal",
};

describe.each(VERSIONS)("the client %s", (version) => {
  it.each(SCENARIOS)("takes the turn %j", async (name) => {
    const { events, failure } = await AGENTS[version](url, name);
    const isOldCancel = name === "cancelled" && version === "0.0.59";
    expect(failure).toBe(isOldCancel ? "cancelled" : FAILURES[name]);
    expect(events[0]?.type).toBe("RUN_STARTED");
    expect(events.at(-1)?.type).toBe(failure === undefined ? "RUN_FINISHED" : "RUN_ERROR");
  });

  it("shows the user the conversation that took place", async () => {
    const { messages } = await AGENTS[version](url, "tool call");
    expect(messages).toMatchObject([
      { role: "user", content: "Hi" },
      {
        id: "m1",
        role: "assistant",
        content: "Let me look.",
        toolCalls: [{ id: "t1", function: { name: "search", arguments: '{"q":"x"}' } }],
      },
      { id: "t1:result", role: "tool", toolCallId: "t1", content: "found" },
      { id: "m2", role: "assistant", content: "It is there." },
    ]);
  });

  it("shows the results of parallel tool calls with their own call", async () => {
    const { messages } = await AGENTS[version](url, "parallel tool calls");
    const results = messages.filter(({ role }) => role === "tool");
    expect(results).toHaveLength(2);
    expect(results).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ toolCallId: "t1", content: "" }),
        expect.objectContaining({ toolCallId: "t2", content: "boom" }),
      ]),
    );
  });

  it("says why a request was refused", async () => {
    const { events, failure } = await AGENTS[version](url, "");
    expect(events).toEqual([]);
    expect(failure).toContain("400");
  });
});

describe("encodeAguiBytes()", () => {
  const run = { threadId: "t", runId: "r", protocolVersion: "1.0" };

  async function respond(turn: readonly TurnEvent[], format: AguiFormat): Promise<Response> {
    const events = aguiFrames(stream(turn), run);
    const chunks = await collect(encodeAguiBytes(events, format));
    const body = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk)));
    return new Response(body, { headers: { "content-type": AGUI_MEDIA_TYPES[format] } });
  }

  it("writes one frame an event, ended by two line feeds", async () => {
    const text = await (await respond(TURNS.empty, "sse")).text();
    expect(text.split("\n\n").map((frame) => frame.slice(0, 24))).toEqual([
      'data: {"type":"RUN_START',
      'data: {"type":"RUN_ERROR',
      "",
    ]);
    expect(text).not.toContain("\r");
  });

  it.each(SCENARIOS)("says the same of the turn %j in protobuf", async (_name, turn) => {
    const binary = await READERS["1.0"](await respond(turn, "proto"));
    const text = await READERS["1.0"](await respond(turn, "sse"));
    expect(JSON.parse(JSON.stringify(binary))).toEqual(JSON.parse(JSON.stringify(text)));
    expect(binary.length).toBeGreaterThan(1);
  });

  it("gives protobuf to the client over HTTP when asked", async () => {
    const response = await fetch(url, {
      method: "POST",
      headers: { accept: AGUI_MEDIA_TYPES.proto },
      body: JSON.stringify({
        threadId: "text",
        runId: "r",
        messages: [{ id: "u", role: "user", content: "Hi" }],
      }),
    });
    expect(response.headers.get("content-type")).toBe(AGUI_MEDIA_TYPES.proto);
    const events = await READERS["1.0"](response);
    expect(events.at(-1)?.type).toBe("RUN_FINISHED");
  });
});
