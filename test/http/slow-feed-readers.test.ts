/**
 * Goal: who reads the feed slowly, or not at all, holds no more than a reader may, and nobody else up.
 * Method: the route of the feed over sockets, of which some are not read, under a flood that is
 * larger than all that two systems hold between them.
 */

import { existsSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";

import fastify, { type FastifyInstance } from "fastify";
import { afterEach, expect, it } from "vitest";

import { feedRoutes } from "../../src/http/routes/feed.ts";
import type { ServerParts } from "../../src/http/server-parts.ts";
import { cutOffUnread } from "../../src/http/unread-answer.ts";
import { Feed } from "../../src/server/feed.ts";
import { FeedBook } from "../../src/server/feed-book.ts";
import { until } from "../helpers/leaks.ts";

const MIB = 2 ** 20;
/** What waits for a reader in this process, and what its system holds of a connection at most. */
const HELD_BYTES = 2 * MIB + mostOf("tcp_rmem") + mostOf("tcp_wmem");
const EVENT_BYTES = 4 * 1024;
/** Far more than that. */
const EVENTS = Math.ceil((3 * HELD_BYTES) / EVENT_BYTES);
/** Events between two waits for who reads: far fewer than may wait. */
const AT_ONCE = 64;

/** Of a setting of Linux for the buffers of TCP, in bytes; its usual one elsewhere. */
function mostOf(setting: string): number {
  const file = `/proc/sys/net/ipv4/${setting}`;
  const usual = 6 * MIB;
  return existsSync(file) ? Number(readFileSync(file, "utf8").split(/\s+/)[2]) : usual;
}

let app: FastifyInstance;
let feed: Feed;

afterEach(async () => {
  feed[Symbol.dispose]();
  await app.close();
});

async function start({ unreadTimeoutMs }: { readonly unreadTimeoutMs: number }) {
  const book = new FeedBook();
  const view = () => ({ isShared: false, idle: 0, transcriptBytes: 0, countedAtMs: 0 });
  feed = new Feed({
    replica: "one",
    version: "1",
    book,
    readiness: { state: "ready", reason: "" },
    sessions: { view, watched: () => {} },
    capacity: () => ({}) as never,
    snapshot: () => ({ shed: {} }) as never,
  });
  const parts = { feed, config: { http: { heartbeatMs: 60_000 } } };
  const [route] = feedRoutes(parts as unknown as ServerParts);
  app = fastify({ forceCloseConnections: true });
  app.addHook("onRequest", async (_request, reply) => cutOffUnread(reply.raw, unreadTimeoutMs));
  app.get("/v1/feed", (request, reply) => route?.handle({ request, reply } as never));
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  let told = 0;
  return {
    url,
    tell: () => {
      const text = `<${told}>${"x".repeat(EVENT_BYTES)}`;
      told += 1;
      book.guardActed({ what: "tool", turnId: null, bytes: 0, text });
    },
  };
}

/** Counts what it gets, and keeps none of it. */
class Reader implements Disposable {
  readonly socket: Socket;
  bytes = 0;
  hellos = 0;
  /** Bytes before the last `hello`. */
  helloAt = 0;
  guards = 0;
  /** Number of the last event that was told. */
  last = -1;
  #left = "";

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.socket = connect({ host: hostname, port: Number(port) });
    this.socket.setEncoding("latin1");
    this.socket.on("data", (text: string) => this.#read(text));
    this.socket.on("error", () => undefined);
    this.socket.write("GET /v1/feed HTTP/1.1\r\nHost: localhost\r\n\r\n");
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  /** Line by line: a chunk may end within one. */
  #read(text: string): void {
    const lines = (this.#left + text).split("\n");
    this.#left = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "event: hello") {
        this.hellos += 1;
        this.helloAt = this.bytes;
      }
      if (line === "event: guard") this.guards += 1;
      this.last = Number(/<(\d+)>x+"\}$/.exec(line.slice(-EVENT_BYTES - 20))?.[1] ?? this.last);
      this.bytes += line.length + 1;
    }
  }
}

async function follow(url: string): Promise<Reader> {
  const before = feed.readers;
  const reader = new Reader(url);
  await until(() => feed.readers === before + 1 && reader.hellos === 1, "the reader to be there");
  return reader;
}

it("drops what a reader has not taken, and lets it begin anew; others miss nothing", async () => {
  const { url, tell } = await start({ unreadTimeoutMs: 600_000 });
  using quick = await follow(url);
  using slow = await follow(url);
  slow.socket.pause();
  for (let sent = 0; sent < EVENTS; sent += 1) {
    tell();
    // No faster than who reads.
    if (sent % AT_ONCE === 0) await until(() => quick.last === sent, "what was told");
  }
  await until(() => quick.last === EVENTS - 1, "all that was told");
  expect([quick.hellos, quick.guards]).toEqual([1, EVENTS]);

  slow.socket.resume();
  await until(() => slow.hellos === 2, "a new beginning");
  expect(slow.helloAt).toBeLessThan(HELD_BYTES);
  tell();
  await until(() => slow.last === EVENTS && quick.last === EVENTS, "what comes after it");
  expect([slow.hellos, quick.hellos, feed.readers]).toEqual([2, 1, 2]);
});

it("cuts off who takes nothing for long, and gives the place to others", async () => {
  const { url, tell } = await start({ unreadTimeoutMs: 1_000 });
  using quick = await follow(url);
  using silent = await follow(url);
  silent.socket.pause();
  let sent = 0;
  // With pauses, in which the other one has nothing to take: that is no fault of it.
  while (feed.readers === 2 && sent < EVENTS) {
    for (const end = sent + AT_ONCE; sent < end; sent += 1) tell();
    await until(() => quick.last === sent - 1, "what was told");
  }
  await until(() => feed.readers === 1, "the reader to be cut off");
  tell();
  await until(() => quick.last === sent, "the other one to go on");
  expect(quick.hellos).toBe(1);
});
