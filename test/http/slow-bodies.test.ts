/**
 * Goal: clients that are slow with large bodies cost a bounded amount of memory, and keep nobody
 * else from being served.
 * Method: bodies on sockets that stop before their end, against a whole server.
 */
import { afterEach, expect, it } from "vitest";
import { until } from "../helpers/leaks.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { ask } from "../e2e/client.ts";
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

it("a body that is alone is taken, however low the limit", async () => {
  server = await startServer({ script: SCRIPT, settings: { "http.bodiesSize": "1KiB" } });
  expect(await ask(server, "x".repeat(100_000))).toMatchObject({ status: "completed" });
});
