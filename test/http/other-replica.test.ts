/**
 * Goal: what is asked of another replica ends with whoever it is asked for, however long the other side
 * may take, and what is silent is left while it is waited for, and only then.
 * Method: other sides of a test's own, and no time limit that could do it instead.
 */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { answerTo, answerChunks, Exchanges } from "../../src/http/other-replica.ts";
import { until } from "../helpers/leaks.ts";

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each[Symbol.asyncDispose]();
});

async function otherSide(answer: RequestListener) {
  const server = createServer(answer);
  await once(server.listen(0, "127.0.0.1"), "listening");
  opened.push({
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  const { port } = server.address() as AddressInfo;
  const url = new URL(`http://127.0.0.1:${port}/`);
  const connections = async () =>
    new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
  return {
    question: { attempt: "Cannot ask", url, headers: {}, answerTimeoutMs: null },
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
