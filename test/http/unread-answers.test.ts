/**
 * Goal: whoever asks and does not read holds neither a connection nor memory for ever.
 * Method: a socket that is not read, against a whole server, with answers of an ordinary route.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../helpers/leaks.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { RawConnection } from "./raw.ts";

/** Of an answer of some 100 KiB: far more than two systems hold between them. */
const REQUESTS = 300;

let server: InProcessServer;
beforeAll(async () => {
  server = await startServer({
    script: `rules: [{ reply: [{ text: "Hello." }] }]`,
    settings: { "http.unreadTime": "1s" },
  });
});
afterAll(async () => server[Symbol.asyncDispose]());

it("cuts off a client that leaves the answers of an ordinary route unread", async () => {
  const { host } = new URL(server.url);
  using connection = new RawConnection(server.url);
  connection.socket.pause();
  const request = `GET /openapi.json HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  await connection.send(request.repeat(REQUESTS));
  // One that does not read learns it when it writes.
  await until(() => {
    connection.socket.write("G");
    return connection.isReset || connection.socket.destroyed;
  }, "the connection to be cut");
});

it("lets a client that is silent between two requests stay", async () => {
  const { host } = new URL(server.url);
  using connection = new RawConnection(server.url);
  const request = `GET /livez HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  for (let count = 1; count <= 2; count += 1) {
    await connection.send(request);
    expect(await connection.answers(count)).toHaveLength(count);
    const untilMs = performance.now() + 2_000;
    await until(() => performance.now() > untilMs, "twice the time to pass");
  }
  expect(connection.isReset).toBe(false);
});
