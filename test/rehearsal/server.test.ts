/**
 * Goal: the rehearsal speaks the Messages API over a real socket, also where it breaks.
 * Method: plain HTTP requests; the frames are read by an independent SSE parser.
 */
import { createParser } from "eventsource-parser";
import { request as openRequest } from "node:http";
import { describe, expect, it, vi } from "vitest";

import { BUILT_IN_SCRIPT } from "../../src/rehearsal/built-in-script.ts";
import type { RehearsalRule, RehearsalScript } from "../../src/rehearsal/script.ts";
import type { Rehearsal, RehearsalRequest } from "../../src/rehearsal/server.ts";
import { startRehearsal } from "../../src/rehearsal/server.ts";

const BODY = { model: "claude-sonnet-5", messages: [{ role: "user", content: "hi" }] };

function scriptOf(...rules: RehearsalRule[]): RehearsalScript {
  return { defaults: { firstTokenMs: 0, tokensPerSecond: 10_000 }, rules };
}

function post(rehearsal: Rehearsal, body: unknown, signal?: AbortSignal): Promise<Response> {
  return fetch(`${rehearsal.url}/v1/messages?beta=true`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": "a key" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...(signal && { signal }),
  });
}

interface StreamedEvent {
  readonly type: string;
  readonly index?: number;
  readonly delta?: { readonly text?: string; readonly stop_reason?: string };
}

/**
 * The events of a stream until it ends, and whether it ended as HTTP wants it.
 *
 * @param events Has each as soon as it has come.
 */
async function readEvents(
  response: Response,
  events: StreamedEvent[] = [],
): Promise<{ events: StreamedEvent[]; broke: boolean }> {
  const parser = createParser({
    onEvent: ({ event, data }) => {
      const parsed: StreamedEvent = JSON.parse(data);
      expect(parsed.type).toBe(event);
      events.push(parsed);
    },
  });
  const decoder = new TextDecoder();
  try {
    for await (const chunk of response.body ?? []) parser.feed(decoder.decode(chunk));
    return { events, broke: false };
  } catch {
    return { events, broke: true };
  }
}

describe("startRehearsal()", () => {
  it("streams the events in order", async () => {
    await using rehearsal = await startRehearsal({
      script: scriptOf({ reply: [{ thinking: "well" }, { text: "one two" }] }),
    });
    const thinking = { type: "adaptive" };
    const response = await post(rehearsal, { ...BODY, thinking, stream: true });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const { events, broke } = await readEvents(response);
    expect(broke).toBe(false);
    expect(events.map(({ type, index, delta }) => [type, index, delta?.text].join(" "))).toEqual([
      "message_start  ",
      "content_block_start 0 ",
      "content_block_delta 0 ",
      "content_block_delta 0 ", // The signature.
      "content_block_stop 0 ",
      "content_block_start 1 ",
      "content_block_delta 1 one ",
      "content_block_delta 1 two",
      "content_block_stop 1 ",
      "message_delta  ",
      "message_stop  ",
    ]);
    expect(events.at(-2)?.delta?.stop_reason).toBe("end_turn");
  });

  it("answers a request that does not stream with one message", async () => {
    await using rehearsal = await startRehearsal({
      script: scriptOf({ reply: [{ text: "yes" }] }),
    });
    const response = await post(rehearsal, BODY);
    expect(await response.json()).toMatchObject({
      type: "message",
      role: "assistant",
      model: BODY.model,
      content: [{ type: "text", text: "yes" }],
      stop_reason: "end_turn",
      usage: { output_tokens: 1 },
    });
  });

  it("tells what the model was asked, and counts it", async () => {
    const requests: RehearsalRequest[] = [];
    await using rehearsal = await startRehearsal({
      script: scriptOf({ reply: [{ text: "yes" }] }),
      onRequest: (request) => requests.push(request),
    });
    await post(rehearsal, { ...BODY, system: "be kind", tools: [{ name: "Bash" }] });
    expect(rehearsal.requestCount).toBe(1);
    expect(requests).toMatchObject([
      {
        model: BODY.model,
        messages: BODY.messages,
        system: "be kind",
        toolNames: ["Bash"],
        stream: false,
        headers: { "x-api-key": "a key" },
      },
    ]);
  });

  it("answers with the error of the script, then as it says", async () => {
    await using rehearsal = await startRehearsal({
      script: scriptOf({
        error: { status: 429, times: 1, retryAfterSeconds: 7 },
        reply: [{ text: "now" }],
      }),
    });
    const refused = await post(rehearsal, { ...BODY, stream: true });
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "7"]);
    expect(await refused.json()).toEqual({
      type: "error",
      error: { type: "rate_limit_error", message: "The rate limit was exceeded" },
    });
    expect((await post(rehearsal, BODY)).status).toBe(200);
  });

  it("breaks the connection after as many tokens as the script says", async () => {
    await using rehearsal = await startRehearsal({
      script: scriptOf({ reply: [{ tokens: 9 }], cutAfterTokens: 3 }),
    });
    const { events, broke } = await readEvents(await post(rehearsal, { ...BODY, stream: true }));
    expect(broke).toBe(true);
    expect(events.filter((event) => event.type === "content_block_delta")).toHaveLength(3);
    await expect(post(rehearsal, BODY)).rejects.toThrow("fetch failed");
  });

  it("falls silent and holds the connection until the client leaves", async () => {
    await using rehearsal = await startRehearsal({
      script: scriptOf({ reply: [{ tokens: 9 }], hangAfterTokens: 3 }),
    });
    const client = new AbortController();
    const response = await post(rehearsal, { ...BODY, stream: true }, client.signal);
    const events: StreamedEvent[] = [];
    const reading = readEvents(response, events);
    const deltas = () => events.filter(({ type }) => type === "content_block_delta");
    await vi.waitFor(() => expect(deltas()).toHaveLength(3), { timeout: 10_000 });
    const patience = new Promise((resolve) => setTimeout(() => resolve("silent"), 200));
    expect(await Promise.race([reading, patience])).toBe("silent");
    expect(rehearsal.openRequestCount).toBe(1);
    client.abort();
    await reading;
    expect(deltas()).toHaveLength(3);
    expect(events.at(-1)?.type).toBe("content_block_delta");
    await vi.waitFor(() => expect(rehearsal.openRequestCount).toBe(0), { timeout: 10_000 });
  });

  it("serves fifty streams at once, none sooner than it is due", async () => {
    const script = scriptOf({ reply: [{ tokens: 40 }], firstTokenMs: 100, tokensPerSecond: 40 });
    await using rehearsal = await startRehearsal({ script });
    const startMs = performance.now();
    const streams = Array.from({ length: 50 }, async () =>
      readEvents(await post(rehearsal, { ...BODY, stream: true })),
    );
    for (const { events } of await Promise.all(streams)) expect(events).toHaveLength(45);
    // The last token is due after 100 ms and 39 times 25 ms. The upper bound is for a busy machine.
    expect(performance.now() - startMs).toBeGreaterThan(1_070);
    expect(performance.now() - startMs).toBeLessThan(15_000);
  });

  it("breaks off what still streams when it is disposed of", async () => {
    const script = scriptOf({ reply: [{ tokens: 100 }], tokensPerSecond: 1 });
    const rehearsal = await startRehearsal({ script });
    const reading = readEvents(await post(rehearsal, { ...BODY, stream: true }));
    await rehearsal[Symbol.asyncDispose]();
    expect((await reading).broke).toBe(true);
    await expect(fetch(rehearsal.url)).rejects.toThrow("fetch failed");
  });

  it.each([
    ["HEAD", "/", undefined, 200],
    ["GET", "/v1/models", undefined, 404],
    ["POST", "/v1/complete", "{}", 404],
    ["POST", "/v1/messages", "{", 400],
    ["POST", "/v1/messages", "{}", 400],
    ["POST", "/v1/messages", '{"model":"a","messages":[{"role":"user"}]}', 400],
    [
      "POST",
      "/v1/messages",
      '{"model":"a","messages":[{"role":"user","content":[{"type":"text","text":7}]}]}',
      500,
    ],
    ["POST", "/v1/messages/count_tokens", "12345678", 200],
  ])("answers %s %s with body %s: %i", async (method, path, body, status) => {
    await using rehearsal = await startRehearsal({ script: BUILT_IN_SCRIPT });
    const response = await fetch(rehearsal.url + path, { method, ...(body && { body }) });
    expect(response.status).toBe(status);
    const text = await response.text();
    if (status >= 400) expect(JSON.parse(text)).toMatchObject({ type: "error" });
    if (path.endsWith("count_tokens")) expect(JSON.parse(text)).toEqual({ input_tokens: 2 });
  });

  it("refuses a body past the limit", async () => {
    await using rehearsal = await startRehearsal({ script: BUILT_IN_SCRIPT });
    const { status, rest } = await new Promise<{ status?: number; rest: boolean }>(
      (resolve, reject) => {
        const request = openRequest(
          `${rehearsal.url}/v1/messages`,
          { method: "POST" },
          (response) => {
            resolve({ status: response.statusCode ?? 0, rest: request.writableFinished });
            request.destroy();
          },
        );
        // Cut off while it still sends, it may hear of that before it has read the answer.
        request.on("error", () => undefined);
        request.on("close", () => reject(new Error("The connection was closed without an answer")));
        const chunk = Buffer.alloc(1_024 * 1_024, " ");
        const send = (left: number): void => {
          if (left > 0 && !request.destroyed) request.write(chunk, () => send(left - 1));
        };
        send(66);
      },
    );
    expect({ status, rest }).toEqual({ status: 413, rest: false });
  });

  it("says that a port is taken", async () => {
    await using first = await startRehearsal({ script: BUILT_IN_SCRIPT });
    const second = startRehearsal({
      script: BUILT_IN_SCRIPT,
      port: Number(new URL(first.url).port),
    });
    await expect(second).rejects.toMatchObject({ code: "cannot_listen" });
  });
});
