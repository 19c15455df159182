/**
 * Goal: clients that are slow with large bodies cost a bounded amount of memory, and keep nobody
 * else from being served.
 * Method: bodies on sockets that stop before their end, against a whole server.
 */
import { afterEach, expect, it } from "vitest";
import { until } from "../helpers/leaks.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { ask, post } from "../e2e/client.ts";
import { RawConnection, parseAnswers } from "./raw.ts";

const MEBIBYTE = 1024 * 1024;
const SLOW_CLIENTS = 40;
const BODIES = 4;

const SCRIPT = `rules: [{ reply: [{ text: "Hello." }] }]`;

let server: InProcessServer;
let clients: readonly RawConnection[] = [];
afterEach(async () => {
  for (const client of clients) client[Symbol.dispose]();
  clients = [];
  await server[Symbol.asyncDispose]();
});

function head(length: string): string {
  const { host } = new URL(server.url);
  const type = "Content-Type: application/json";
  return `POST /v1/agents/helper/turns HTTP/1.1\r\nHost: ${host}\r\n${type}\r\n${length}\r\n\r\n`;
}

function refused(): readonly RawConnection[] {
  return clients.filter(({ received }) => parseAnswers(received).length > 0);
}

it.each([
  ["that say how large they are", `Content-Length: ${MEBIBYTE}`, ""],
  ["in chunks", "Transfer-Encoding: chunked", "1\r\n{\r\n"],
])("bodies %s are refused beyond the limit, before they are read", async (_how, length, part) => {
  const settings = { "http.bodiesSize": `${BODIES}MiB` };
  server = await startServer({ script: SCRIPT, settings });
  clients = Array.from({ length: SLOW_CLIENTS }, () => new RawConnection(server.url));
  for (const client of clients) await client.send(head(length) + part);
  await until(() => refused().length === SLOW_CLIENTS - BODIES, "all but a few to be refused");
  for (const { received } of refused()) {
    const [answer] = parseAnswers(received);
    expect([answer?.status, answer?.headers["retry-after"]]).toEqual([503, "1"]);
    expect(answer?.body).toContain("too_many_bodies");
  }
  expect(await ask(server, "Hello")).toMatchObject({ status: "completed" });

  // What those held is free when they have gone.
  const served = clients.filter((client) => !refused().includes(client));
  expect(served).toHaveLength(BODIES);
  for (const client of clients) client[Symbol.dispose]();
  const large = "x".repeat(MEBIBYTE - 200);
  await until(async () => {
    const answer = await fetch(`${server.url}/v1/agents/helper/turns`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ input: large }),
    });
    await answer.text();
    return answer.status !== 503;
  }, "a large body to be taken");
});

/** Once the answer is complete, Node says of the request neither that it ended nor that it closed. */
it.each([
  ["a GET", "GET /livez", 200],
  ["a route that refuses its type", "POST /v1/turns/none/cancel", 415],
  ["a route that refuses what it is asked", "DELETE /v1/sessions/none", 415],
])("a body that is announced to %s and not sent holds nothing", async (_what, line, status) => {
  server = await startServer({ script: SCRIPT, settings: { "http.bodiesSize": "1MiB" } });
  const { host } = new URL(server.url);
  const request = `${line} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: text/plain\r\n`;
  clients = Array.from({ length: SLOW_CLIENTS }, () => new RawConnection(server.url));
  for (const client of clients) await client.send(`${request}Content-Length: 60000\r\n\r\n`);
  const statuses = () => clients.map(({ received }) => parseAnswers(received)[0]?.status);
  await until(() => !statuses().includes(undefined), "all to be answered");
  expect(statuses()).toContain(status);
  for (const client of clients) client[Symbol.dispose]();
  const large = "x".repeat(MEBIBYTE - 200);
  for (let count = 0; count < 2; count += 1) {
    await until(async () => (await post(server, large)).status !== 503, "a large body to be taken");
  }
});

it("a body that is alone is taken, however low the limit", async () => {
  server = await startServer({ script: SCRIPT, settings: { "http.bodiesSize": "1KiB" } });
  expect(await ask(server, "x".repeat(100_000))).toMatchObject({ status: "completed" });
});
