/**
 * Goal: a stream keeps its pace, and a slow reader costs no memory.
 * Method: a real server and socket, with the response in hand.
 */
import { once } from "node:events";
import { createServer, get } from "node:http";
import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, it, onTestFinished, vi } from "vitest";

import { planReply } from "../../src/rehearsal/reply.ts";
import type { MessageReply } from "../../src/rehearsal/reply.ts";
import type { RehearsalRule } from "../../src/rehearsal/script.ts";
import { sendWholeReply, streamReply } from "../../src/rehearsal/send-reply.ts";

function replyOf(rule: RehearsalRule): MessageReply {
  const body = { model: "a", messages: [{ role: "user", content: "hi" }] };
  const request = { body, bodyBytes: 9, id: "1", requestNumber: 1, failureCounts: [] };
  const reply = planReply({ rules: [rule] }, request);
  if (reply.kind !== "message") throw new Error("The rule answers with an error");
  return reply;
}

interface Exchange extends AsyncDisposable {
  readonly request: ClientRequest;
  readonly incoming: Promise<IncomingMessage>;
  readonly response: ServerResponse;
}

/** Both ends of a response that is being written. */
async function startExchange(reply: MessageReply, send: typeof streamReply): Promise<Exchange> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const responded = new Promise<ServerResponse>((resolve) => {
    server.once("request", (_, response) => {
      send(response, reply);
      resolve(response);
    });
  });
  const request = get({ port, host: "127.0.0.1" });
  request.on("error", () => {}); // When the test itself leaves.
  const incoming = new Promise<IncomingMessage>((resolve) => request.once("response", resolve));
  return {
    request,
    incoming,
    response: await responded,
    [Symbol.asyncDispose]: async () => {
      request.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("streamReply()", () => {
  // Again where the machine was too busy to tell: lateness that adds up fails every time.
  it("does not let lateness add up", { retry: 4 }, async () => {
    const pace = { firstTokenMs: 100, tokensPerSecond: 200 };
    const reply = replyOf({ reply: [{ tokens: 200 }], ...pace });
    const startMs = performance.now();
    await using exchange = await startExchange(reply, streamReply);
    const latenesses: number[] = [];
    for await (const chunk of await exchange.incoming) {
      const numbers = [...String(chunk).matchAll(/"word(\d+) "/g)].map((match) => Number(match[1]));
      const dueMs = 100 + (Math.max(...numbers, 1) - 1) * 5;
      latenesses.push(performance.now() - startMs - dueMs);
    }
    // Timers fire late by a millisecond or so: summed up, all of the second half would be late by
    // 100 ms and more. Some of it arrives in time, however busy the machine is.
    expect(Math.min(...latenesses.slice(-Math.floor(latenesses.length / 2)))).toBeLessThan(60);
    expect(Math.min(...latenesses)).toBeGreaterThanOrEqual(0);
  });

  it("waits for a reader that is slow, and goes on when it reads", async () => {
    const reply = replyOf({ reply: [{ tokens: 200_000 }], firstTokenMs: 0, tokensPerSecond: 1e9 });
    await using exchange = await startExchange(reply, streamReply);
    const incoming = await exchange.incoming;
    incoming.pause();
    // Long enough to write all of the 24 MB, were nobody waited for.
    await new Promise((resolve) => setTimeout(resolve, 700));
    await expect.poll(() => exchange.response.writableLength).toBeGreaterThan(0);
    expect(exchange.response.writableLength).toBeLessThan(256 * 1_024);
    let text = "";
    for await (const chunk of incoming) text = text.slice(-999) + String(chunk);
    expect(text).toContain("event: message_stop");
  });
});

describe.each([
  ["streamReply()", streamReply],
  ["sendWholeReply()", sendWholeReply],
])("%s", (_, send) => {
  it("leaves no timer behind when the client leaves", async () => {
    // Only those of the code under test: Node's own come and go as they like.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const reply = replyOf({ reply: [{ tokens: 9 }], firstTokenMs: 0, tokensPerSecond: 0.01 });
    await using exchange = await startExchange(reply, send);
    expect(vi.getTimerCount()).toBe(1);
    const closed = once(exchange.response, "close");
    exchange.request.destroy();
    await closed;
    expect(vi.getTimerCount()).toBe(0);
  });
});
