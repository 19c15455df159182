/**
 * Goal: a client that does not read holds nothing for ever, and one that waits in vain is not cut.
 * Method: streams without a turn behind them, and sockets that are not read.
 */
import { setTimeout as delay } from "node:timers/promises";
import fastify, { type FastifyInstance } from "fastify";
import { afterEach, describe, expect, it } from "vitest";
import { sendStream } from "../../src/http/stream-reply.ts";
import { cutOffUnread } from "../../src/http/unread-answer.ts";
import { until } from "../helpers/leaks.ts";
import { RawConnection } from "./raw.ts";

const UNREAD_TIMEOUT_MS = 200;
const GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
let app: FastifyInstance;

afterEach(async () => {
  await app.close();
});

async function serveChunks(chunks: AsyncIterable<string>): Promise<string> {
  app = fastify({ forceCloseConnections: true });
  app.addHook("onRequest", async (_request, reply) => cutOffUnread(reply.raw, UNREAD_TIMEOUT_MS));
  app.get("/", (_request, reply) => sendStream(reply, "text/event-stream", chunks));
  return app.listen({ host: "127.0.0.1", port: 0 });
}

describe("sendStream", () => {
  it("cuts off a client that leaves bytes unread, and ends their source", async () => {
    let hasEnded = false;
    async function* endless(): AsyncGenerator<string> {
      try {
        for (;;) yield "x".repeat(64 * 1024);
      } finally {
        hasEnded = true;
      }
    }
    using connection = new RawConnection(await serveChunks(endless()));
    connection.socket.pause();
    await connection.send(GET);
    await until(() => hasEnded, "the source to end");
  });

  it("lets a stream be silent for longer than that", async () => {
    async function* silent(): AsyncGenerator<string> {
      yield "before";
      await delay(4 * UNREAD_TIMEOUT_MS);
      yield "after";
    }
    using connection = new RawConnection(await serveChunks(silent()));
    await connection.send(GET);
    const [answer] = await connection.answers();
    expect(answer?.body).toContain("after");
  });
});
