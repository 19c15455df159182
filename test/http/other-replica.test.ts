/**
 * Goal: what is asked of another replica ends with whoever it is asked for, however long the other side
 * may take, and what is silent is left while it is waited for, and only then.
 * Method: other sides of a test's own, and no time limit that could do it instead.
 */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { answerTo, answerChunks, Exchanges } from "../../src/http/other-replica.ts";
import { until } from "../helpers/leaks.ts";

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each[Symbol.asyncDispose]();
});

const otherSide = (answer: RequestListener) => sideOf(createServer(answer));

async function sideOf(server: Server, protocol = "http") {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => sockets.add(socket));
  await once(server.listen(0, "127.0.0.1"), "listening");
  opened.push({
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  const { port } = server.address() as AddressInfo;
  const url = new URL(`${protocol}://127.0.0.1:${port}/`);
  const connections = async () =>
    new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
  return {
    question: { attempt: "Cannot ask", url, headers: {}, answerTimeoutMs: 60_000 },
    connections,
  };
}

it("is left by who leaves before there is an answer", async () => {
  const { question, connections } = await otherSide(() => undefined);
  using exchanges = new Exchanges();
  const gone = new AbortController();
  const asking = answerTo(question, exchanges.begin(gone.signal));
  await until(async () => (await connections()) === 1, "the other side to be asked");
  expect(exchanges.size).toBe(1);
  gone.abort();
  await expect(asking).rejects.toMatchObject({ code: "replica_unavailable" });
  expect(exchanges.size).toBe(0);
  await until(async () => (await connections()) === 0, "the other side to be left");
});

it("is left by who leaves and has read nothing", async () => {
  const { question, connections } = await otherSide((_, response) => void response.write("a"));
  using exchanges = new Exchanges();
  const gone = new AbortController();
  await answerTo(question, exchanges.begin(gone.signal));
  gone.abort();
  expect(exchanges.size).toBe(0);
  await until(async () => (await connections()) === 0, "the other side to be left");
});

it("may be read as slowly as its reader likes, and is left when it is silent", async () => {
  const { question, connections } = await otherSide((_, response) => void response.write("a"));
  using exchanges = new Exchanges();
  const end = exchanges.begin(new AbortController().signal);
  const bytes = answerChunks(await answerTo(question, end), end, 50);
  expect((await bytes.next()).value?.toString()).toBe("a");
  await delay(200);
  expect(exchanges.size).toBe(1);
  await expect(bytes.next()).rejects.toThrow();
  expect(exchanges.size).toBe(0);
  await until(async () => (await connections()) === 0, "the other side to be left");
});

it("may be long in coming once the connection is there, and only then", async () => {
  const answering: RequestListener = (_, response) => void setTimeout(() => response.end(), 500);
  const { question } = await otherSide(answering);
  using exchanges = new Exchanges();
  const stays = new AbortController().signal;
  const long = { answerTimeoutMs: 100, isLong: true };
  const answer = await answerTo({ ...question, ...long }, exchanges.begin(stays));
  expect(answer.resume().statusCode).toBe(200);
  const inTime = answerTo({ ...question, answerTimeoutMs: 100 }, exchanges.begin(stays));
  await expect(inTime).rejects.toThrow("does not answer in time");
  // The connection is not there before the handshake, which never comes.
  const silent = await sideOf(
    createTcpServer((socket) => socket.resume()),
    "https",
  );
  const asking = answerTo({ ...silent.question, ...long }, exchanges.begin(stays));
  await expect(asking).rejects.toThrow("does not answer in time");
  await until(async () => (await silent.connections()) === 0, "the other side to be left");
});

it("is told as unreachable where it changes the protocol", async () => {
  const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n";
  const server = createTcpServer((socket) => socket.once("data", () => socket.write(head)));
  const { question, connections } = await sideOf(server);
  using exchanges = new Exchanges();
  const end = exchanges.begin(new AbortController().signal);
  await expect(answerTo(question, end)).rejects.toThrow("cannot be reached");
  await until(async () => (await connections()) === 0, "the other side to be left");
});
