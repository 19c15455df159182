/**
 * Goal: a client that sends requests without waiting for the answers, and leaves, has left all of
 * them: no turn goes on for it, and nothing is held.
 * Method: two turns on one socket against a whole server with the real `claude`.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../helpers/leaks.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { RawConnection } from "./raw.ts";

const SCRIPT = "rules: [{ tokensPerSecond: 20, reply: [{ tokens: 600 }] }]";

let server: InProcessServer;
beforeAll(async () => {
  server = await startServer({ script: SCRIPT, settings: { "capacity.maxTurns": "2" } });
});
afterAll(async () => server[Symbol.asyncDispose]());

function turn(accept: string): string {
  const body = JSON.stringify({ input: "Hi" });
  return (
    `POST /v1/agents/helper/turns HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n` +
    `Accept: ${accept}\r\n\r\n${body}`
  );
}

async function read<Body>(path: string): Promise<Body> {
  return (await (await fetch(server.url + path)).json()) as Body;
}

async function running(): Promise<readonly string[]> {
  const { turns } = await read<{ turns: readonly { turnId: string }[] }>("/v1/turns");
  return turns.map(({ turnId }) => turnId);
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
}

it.each([
  ["closes", "text/event-stream", (one: RawConnection) => one.socket.destroy()],
  ["resets", "text/event-stream", (one: RawConnection) => one.socket.resetAndDestroy()],
  ["closes", "application/json", (one: RawConnection) => one.socket.destroy()],
])("cancels all turns of one that %s while %s waits for its turn", async (_name, accept, leave) => {
  const timersBefore = timers();
  using connection = new RawConnection(server.url);
  await connection.send(turn(accept) + turn(accept));
  await until(async () => (await server.capacity()).inflight === 2, "two turns in flight");
  const ids = await running();
  const look = () =>
    Promise.all(ids.map((id) => read<{ sessionId: string | null }>(`/v1/turns/${id}`)));
  const haveBegun = async () => (await look()).every(({ sessionId }) => sessionId !== null);
  await until(haveBegun, "both turns to begin");
  leave(connection);
  await until(async () => (await running()).length === 0, "no turn to run");
  const ended = { readers: 0, outcome: { status: "cancelled", cause: "client_gone" } };
  expect(await look()).toMatchObject([ended, ended]);
  await until(() => timers() <= timersBefore, "no timer to be left");
});
