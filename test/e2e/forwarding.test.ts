/**
 * Goal: who comes back to a turn reaches it through any replica, as if it ran there, and is told what is
 * the matter where that cannot be.
 * Method: whole servers on one store, each with an address; and other sides of a test's own that are
 * announced in the store and misbehave.
 */
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { openObjectStore } from "../../src/session/stores/open-object-store.ts";
import { newTurnId } from "../../src/turn/turn-id.ts";
import { until } from "../helpers/leaks.ts";
import { hasRedis, startRedis } from "../helpers/redis-server.ts";
import {
  type InProcessServer,
  startServer,
  startServerProcess,
  type TestServer,
} from "../helpers/server.ts";
import { freePort, hasService, makeCertificate } from "../helpers/service.ts";
import { ask, post, refusal, stream } from "./client.ts";
import { eventsOf, type Frame, lastIdOf, openFrames, take } from "./frames.ts";

const SCRIPT = `
defaults: { firstTokenMs: 5, tokensPerSecond: 2000 }
rules:
  - when: { userText: slowly }
    tokensPerSecond: 20
    reply:
      - tokens: 4000
  - when: { userText: a while }
    tokensPerSecond: 20
    reply:
      - tokens: 60
  - reply:
      - text: "Turn {{turnCount}}, begun with: {{firstUserText}}"
`;

/** The shortest there is: an address counts for three times that. */
const LEASE_MS = 3_000;
const EVENTS = "text/event-stream";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const KEYS = { acme: "key-of-acme-1f2e", other: "key-of-other-7a90", ops: "key-of-ops-33cd" };
const KEYED = `
auth:
  keys:
    - { id: a, tenant: acme, sha256: "${sha256(KEYS.acme)}" }
    - { id: o, tenant: other, sha256: "${sha256(KEYS.other)}" }
    - { id: ops, tenant: ops, role: operator, sha256: "${sha256(KEYS.ops)}" }
`;
const authorized = (key: string) => ({ authorization: `Bearer ${key}` });

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  const all = opened.splice(0).toReversed();
  // All of them first: a connection to one that goes on is no handle that another has left.
  for (const each of all) if ("stop" in each) await (each as TestServer).stop();
  for (const each of all) await each[Symbol.asyncDispose]();
});

function keep<Kept extends AsyncDisposable>(kept: Kept): Kept {
  opened.push(kept);
  return kept;
}

async function directoryStore(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "plimsoll-store-"));
  keep({ [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) });
  return pathToFileURL(directory).href;
}

interface ReplicaOptions {
  readonly serverFile?: string;
  readonly address?: (port: number) => string;
}

async function optionsOn(store: string, { serverFile, address }: ReplicaOptions = {}) {
  const port = await freePort();
  return {
    script: SCRIPT,
    settings: {
      "capacity.memoryLimit": "4GiB",
      "listen.port": String(port),
      "sessions.leaseTime": `${LEASE_MS}ms`,
      "sessions.storeTime": "10s",
      "sessions.replicaAddress": address?.(port) ?? `http://127.0.0.1:${port}`,
    },
    environment: { PLIMSOLL_SESSIONS_STORE: store },
    ...(serverFile !== undefined && { serverFile }),
  };
}

async function replica(store: string, options?: ReplicaOptions): Promise<InProcessServer> {
  return keep(await startServer(await optionsOn(store, options)));
}

/** One after the other: what one starts with must not count as a handle of the other. */
async function twoReplicas(store?: string, options?: ReplicaOptions) {
  const url = store ?? (await directoryStore());
  return [await replica(url, options), await replica(url, options), url] as const;
}

const eventsAt = (server: { url: string }, turnId: string, more: RequestInit = {}, query = "") =>
  openFrames(`${server.url}/v1/turns/${turnId}/events${query}`, more);
const stateAt = async (server: { url: string }, turnId: string, headers = {}) => {
  const response = await fetch(`${server.url}/v1/turns/${turnId}`, { headers });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};
const cancelAt = (server: { url: string }, turnId: string, headers = {}) =>
  fetch(`${server.url}/v1/turns/${turnId}/cancel`, { method: "POST", headers });

async function forwardedBy(server: TestServer, key?: string): Promise<number> {
  const found = /^plimsoll_request_forwarded_total(?:\{[^}]*\})? (\d+)/m.exec(
    await server.metrics(key),
  );
  return Number(found?.[1] ?? Number.NaN);
}

/** The rest of a stream, as it was sent. */
async function sent(response: Promise<Response>): Promise<string> {
  return (await (await response).text()).replaceAll(": ping\n\n", "");
}

describe("a turn that another replica runs", () => {
  it(
    "is read from the start and from any place as where it runs, while it runs and after",
    { timeout: 90_000 },
    async () => {
      const [one, two] = await twoReplicas();
      const running = await stream(one, "a while");
      const { turnId } = running;
      expect(turnId).toMatch(
        /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      );
      await until(() => running.text().length > 10, "the turn to say something");
      const live = await eventsAt(two, turnId);
      expect(live.response.headers.get("content-type")).toBe(EVENTS);
      expect(live.response.headers.get("x-turn-id")).toBe(turnId);
      expect(live.response.headers.get("x-accel-buffering")).toBe("no");
      const first = await take(live, 3);
      expect((await stateAt(two, turnId)).body).toMatchObject({ turnId, state: "running" });
      const rest = await eventsAt(two, turnId, {
        headers: { "last-event-id": lastIdOf(first) ?? "" },
      });
      const all: Frame[] = [...first, ...(await take(rest))];
      await running.closed;
      expect(eventsOf(all)).toEqual(running.events);

      const path = `/v1/turns/${turnId}/events`;
      const middle = all[5]?.id ?? "";
      for (const [query, headers] of [
        ["", {}],
        ["", { "last-event-id": middle }],
        [`?lastEventId=${middle}`, {}],
      ] as const) {
        const [there, here] = [one, two].map(({ url }) =>
          sent(fetch(url + path + query, { headers })),
        );
        expect(await here).toBe(await there);
        expect(await here).toContain("event: turn_ended");
      }
      const ended = await stateAt(two, turnId);
      expect(ended).toEqual(await stateAt(one, turnId));
      const done = { headers: { "last-event-id": lastIdOf(all) ?? "" } };
      expect((await fetch(two.url + path, done)).status).toBe(204);
      const wrong = await refusal(fetch(two.url + path, { headers: { "last-event-id": "zzz" } }));
      expect(wrong).toMatchObject({ status: 400, code: "invalid_request" });
      const head = await fetch(`${two.url}/v1/turns/${turnId}`, { method: "HEAD" });
      expect([head.status, await head.text()]).toEqual([200, ""]);
      expect(await forwardedBy(two)).toBeGreaterThan(8);
      expect(await forwardedBy(one)).toBe(0);
    },
  );

  it("is cancelled through any of them", async () => {
    const [one, two] = await twoReplicas();
    const running = await stream(one, "slowly");
    await until(() => running.text().length > 10, "the turn to say something");
    expect((await cancelAt(two, running.turnId)).status).toBe(202);
    expect(await running.outcome()).toMatchObject({
      status: "cancelled",
      cause: "cancel_requested",
    });
    // Of one that has ended there is nothing to cancel, there as here.
    const again = await refusal(cancelAt(two, running.turnId));
    expect(again).toMatchObject({ status: 404, code: "turn_not_found" });
  });

  it("does not exist for another tenant, whichever replica is asked", async () => {
    const [one, two] = await twoReplicas(undefined, { serverFile: KEYED });
    const running = await stream(one, "slowly", { key: KEYS.acme });
    const { turnId } = running;
    for (const server of [one, two]) {
      const foreign = authorized(KEYS.other);
      expect(await stateAt(server, turnId, foreign)).toMatchObject({ status: 404 });
      expect(await refusal(cancelAt(server, turnId, foreign))).toMatchObject({ status: 404 });
      const path = `${server.url}/v1/turns/${turnId}/events`;
      expect(await refusal(fetch(path, { headers: foreign }))).toMatchObject({ status: 404 });
      expect(await refusal(cancelAt(server, turnId))).toMatchObject({ status: 401 });
      expect(await stateAt(server, turnId, authorized(KEYS.acme))).toMatchObject({ status: 200 });
    }
    expect((await cancelAt(two, turnId, authorized(KEYS.ops))).status).toBe(202);
    expect(await running.outcome()).toMatchObject({ status: "cancelled" });
  });

  it("is followed over AG-UI, and asked for again by its key", { timeout: 90_000 }, async () => {
    const [one, two] = await twoReplicas();
    const threadId = randomUUID();
    await ask(one, "please", { threadId });
    const asking = { threadId, headers: { "idempotency-key": '"k1"' } };
    const running = await stream(one, "a while", asking);
    await until(() => running.text().length > 10, "the turn to say something");
    const connect = (at: TestServer) =>
      fetch(`${at.url}/agui/connect`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ threadId, runId: "c", protocolVersion: "1.0", messages: [] }),
      });
    const followed = sent(connect(two));
    const again = await stream(two, "a while", asking);
    const begun = await post(two, "a while", {
      ...asking,
      headers: { ...asking.headers, prefer: "respond-async" },
    });
    expect([begun.status, begun.headers.get("location")]).toEqual([
      202,
      `/v1/turns/${running.turnId}`,
    ]);
    const other = await refusal(post(two, "something else", asking));
    expect(other).toMatchObject({ status: 422, code: "idempotency_key_reused" });
    const busy = await refusal(post(two, "another", { threadId }));
    expect(busy).toMatchObject({ status: 409, code: "session_busy" });
    const whole = await ask(two, "a while", asking);
    await Promise.all([running.closed, again.closed]);
    expect(again.turnId).toBe(running.turnId);
    expect(again.events).toEqual(running.events);
    expect(whole).toMatchObject({ turnId: running.turnId, text: running.text() });
    const events = await followed;
    expect(events).toContain("Turn 1, begun with: please");
    expect(events).toContain('"type":"RUN_FINISHED"');
    const said = [...events.matchAll(/"TEXT_MESSAGE_CONTENT"[^\n]*"delta":"([^"]*)"/g)];
    expect(said.map(([, delta]) => delta).join("")).toBe(running.text());
    expect(two.asked).toEqual([]);
  });

  it("is one run of AG-UI, by its run id", { timeout: 60_000 }, async () => {
    const [one, two] = await twoReplicas();
    const run = (at: TestServer) =>
      fetch(`${at.url}/agui`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          threadId: "own",
          runId: "r1",
          messages: [{ id: "u1", role: "user", content: "a while" }],
          protocolVersion: "1.0",
        }),
      });
    const first = await run(one);
    const there = first.text();
    await until(async () => (await run(two)).status === 200, "the run to be in the store");
    const again = await run(two);
    expect(again.headers.get("x-turn-id")).toBe(first.headers.get("x-turn-id"));
    expect((await again.text()).replaceAll(": ping\n\n", "")).toBe(
      (await there).replaceAll(": ping\n\n", ""),
    );
    expect(two.asked).toEqual([]);
  });

  it.skipIf(!hasRedis())("is found through Redis as well", async () => {
    const redis = keep(await startRedis());
    const [one, two] = await twoReplicas(redis.url);
    const running = await stream(one, "slowly");
    const frames = await eventsAt(two, running.turnId);
    await take(frames, 3);
    expect((await cancelAt(two, running.turnId)).status).toBe(202);
    expect(await running.outcome()).toMatchObject({ status: "cancelled" });
    await one.stop();
    await until(
      async () => (await stateAt(two, running.turnId)).status === 404,
      "the replica that has left to be forgotten",
    );
  });

  it(
    "whose replica is killed is told as such at once, and later without asking",
    { timeout: 90_000 },
    async () => {
      const store = await directoryStore();
      const one = keep(await startServerProcess(await optionsOn(store)));
      const two = await replica(store);
      const asking = { threadId: "t", headers: { "idempotency-key": '"late"' } };
      const running = await stream(one, "slowly", asking);
      await until(() => running.text().length > 10, "the turn to say something");
      const { turnId } = running;
      const reading = await eventsAt(two, turnId);
      const waiting = post(two, "slowly", asking);
      await until(async () => (await forwardedBy(two)) === 1, "the reader to be passed on");
      one.signal("SIGKILL");
      await one.exited;
      const frames = await take(reading);
      expect(eventsOf(frames).at(-1)).toMatchObject({
        type: "turn_ended",
        outcome: { status: "failed", code: "replica_unavailable" },
      });
      expect(await refusal(waiting)).toMatchObject({ status: 502, code: "replica_unavailable" });
      const refused = await refusal(cancelAt(two, turnId));
      expect(refused).toMatchObject({ status: 502, code: "replica_unavailable", retryable: true });
      expect(refused.detail).toContain("ECONNREFUSED");
      expect(JSON.stringify(refused)).not.toContain(new URL(one.url).port);
      // Asked for often, and told once.
      expect(await refusal(cancelAt(two, turnId))).toMatchObject({ status: 502 });
      const replicaTag = one.logs.find(({ msg }) => msg === "Listening")?.["replicaTag"];
      expect(replicaTag).toBe(turnId.slice(-12));
      const warnings = two.logs.filter(({ level }) => level === "warn");
      expect(warnings.filter(({ replicaTag: tag }) => tag === replicaTag)).toEqual([
        expect.objectContaining({
          msg: "Another replica does not answer",
          errno: expect.stringMatching(/^ECONN(?:REFUSED|RESET)$/) as string,
          reason: expect.stringContaining("it cannot be reached") as string,
        }),
      ]);
      expect(JSON.stringify(warnings)).not.toContain(new URL(one.url).port);
      // Of what clients are told to do, both lead somewhere.
      await until(
        async () => (await refusal(post(two, "slowly", asking))).code === "turn_cut_off",
        "the other replica to say that the turn was cut off",
      );
      await until(
        async () =>
          (await refusal(cancelAt(two, turnId))).detail.includes("nothing was heard of it"),
        "the address of the one that was killed to count no longer",
      );
    },
  );

  it("is read to its end through a replica that stops", { timeout: 60_000 }, async () => {
    const [one, two] = await twoReplicas();
    const running = await stream(one, "a while");
    const reading = await eventsAt(two, running.turnId);
    await until(
      async () => (await stateAt(one, running.turnId)).body["readers"] === 2,
      "both to read",
    );
    // Who began it leaves: the turn has no other reader than the one that is passed on.
    running.leave();
    const stopping = two.stop();
    await until(
      async () => (await stateAt(two, running.turnId)).body["code"] === "draining",
      "nothing more to be passed on",
    );
    expect(eventsOf(await take(reading)).at(-1)).toMatchObject({
      type: "turn_ended",
      outcome: { status: "completed" },
    });
    await stopping;
    const ended = await stateAt(one, running.turnId);
    expect(ended.body).toMatchObject({ outcome: { status: "completed" } });
  });

  it("ends in order for who reads it through a replica whose grace is over", async () => {
    const [one, two] = await twoReplicas();
    const running = await stream(one, "slowly");
    const reading = await eventsAt(two, running.turnId);
    await until(
      async () => (await stateAt(one, running.turnId)).body["readers"] === 2,
      "both to read",
    );
    const stopping = two.stop();
    two.hurry();
    const frames = await take(reading);
    expect(eventsOf(frames).at(-1)).toMatchObject({
      type: "turn_ended",
      outcome: { status: "failed", code: "draining" },
    });
    await stopping;
    await until(
      async () => (await stateAt(one, running.turnId)).body["readers"] === 1,
      "one reader",
    );
    running.leave();
  });

  it("is left by who leaves", async () => {
    const [one, two] = await twoReplicas();
    const running = await stream(one, "slowly");
    const again = await eventsAt(two, running.turnId);
    await until(
      async () => (await stateAt(one, running.turnId)).body["readers"] === 2,
      "both to read",
    );
    again.cut();
    await until(
      async () => (await stateAt(one, running.turnId)).body["readers"] === 1,
      "one reader",
    );
    running.leave();
  });
});

const TAG = "0123456789ab";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** Another side that is no replica, and is announced as one. */
class OtherSide implements AsyncDisposable {
  readonly asked: IncomingMessage[] = [];
  open = 0;
  readonly #server;

  constructor(answer: Answer) {
    this.#server = createServer((request, response) => {
      this.asked.push(request);
      this.open += 1;
      response.once("close", () => (this.open -= 1));
      answer(request, response);
    });
  }

  static async start(answer: Answer): Promise<OtherSide> {
    const side = keep(new OtherSide(answer));
    await once(side.#server.listen(0, "127.0.0.1"), "listening");
    return side;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function announce(storeUrl: string, address: string, tag = TAG): Promise<void> {
  await using store = await openObjectStore({ url: new URL(storeUrl), timeoutMs: 5_000 });
  const told = { address, expiresAtMs: Date.now() + 600_000, countsForMs: 600_000 };
  await store.put(`replicas/${tag}`, Buffer.from(JSON.stringify(told)), "any");
}

const OURS = { "x-request-id": "another", "x-plimsoll-replica": TAG };
const json: Answer = (_request, response) =>
  response.writeHead(200, { ...OURS, "content-type": "application/json" }).end("{}");
const silent: Answer = (_request, response) => {
  response.writeHead(200, { ...OURS, "content-type": EVENTS }).flushHeaders();
};

describe("what is announced in the store", () => {
  it("is asked with what belongs to the request, and with nothing of a browser", async () => {
    const side = await OtherSide.start(json);
    const store = await directoryStore();
    await announce(store, side.url);
    const server = await replica(store, { serverFile: KEYED });
    const turnId = newTurnId(TAG);
    const headers = {
      ...authorized(KEYS.acme),
      accept: "application/json",
      cookie: "plimsoll=word",
      origin: server.url,
      "last-event-id": "x",
      "x-other": "y",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    };
    expect((await fetch(`${server.url}/v1/turns/${turnId}?a=b`, { headers })).status).toBe(200);
    const [asked] = side.asked;
    expect([asked?.method, asked?.url]).toEqual(["GET", `/v1/turns/${turnId}?a=b`]);
    const { host: _host, ...rest } = asked?.headers ?? {};
    expect(rest).toEqual({
      accept: "application/json",
      authorization: headers.authorization,
      connection: "close",
      "last-event-id": "x",
      traceparent: headers.traceparent,
      "x-plimsoll-forwarded": TAG,
    });
    // A login is for this replica's page: nobody is asked elsewhere on its behalf.
    const login = await fetch(`${server.url}/console/session`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ key: KEYS.ops }),
    });
    const cookie = login.headers.getSetCookie()[0]?.split(";")[0] ?? "";
    const own = { cookie, "sec-fetch-site": "same-origin" };
    expect(await stateAt(server, turnId, own)).toMatchObject({ status: 404 });
    expect(side.asked).toHaveLength(1);
  });

  it("is never asked by who was asked by another", async () => {
    const side = await OtherSide.start(json);
    const store = await directoryStore();
    await announce(store, side.url);
    const server = await replica(store);
    const own = (await stream(server, "please")).turnId.slice(-12);
    const response = await fetch(`${server.url}/v1/turns/${newTurnId(TAG)}`, {
      headers: { "x-plimsoll-forwarded": own },
    });
    expect([response.status, response.headers.get("x-plimsoll-replica")]).toEqual([404, own]);
    expect(side.asked).toEqual([]);
    expect(await forwardedBy(server)).toBe(0);
    expect((await stateAt(server, newTurnId(TAG))).status).toBe(200);
    // Of what clients ask for themselves nothing is told about replicas.
    const asked = await fetch(`${server.url}/v1/turns`);
    expect(asked.headers.get("x-plimsoll-replica")).toBeNull();
  });

  it("and is another replica by now does nothing of what it is asked", async () => {
    const store = await directoryStore();
    const [one, two] = await twoReplicas(store);
    const [running, other] = [await stream(one, "slowly"), await stream(two, "slowly")];
    await until(() => other.text().length > 10, "the turn to say something");
    const tagOf = ({ turnId }: { turnId: string }) => turnId.slice(-12);
    // The address of the one that had it is that of the other.
    await announce(store, one.url, TAG);
    for (const asking of [
      cancelAt,
      (at: TestServer, id: string) => fetch(`${at.url}/v1/turns/${id}`),
    ]) {
      const refused = await refusal(asking(two, newTurnId(TAG)));
      expect(refused).toMatchObject({ status: 502, code: "replica_unavailable" });
      expect(refused.detail).toContain("not that replica");
    }
    // Nor does it start or end anything, whoever passes it on: the mark comes before all.
    const marked = { "x-plimsoll-forwarded": tagOf(other) };
    const misdirected = { status: 421, code: "misdirected_request" };
    expect(await refusal(cancelAt(one, running.turnId, marked))).toMatchObject(misdirected);
    expect(await refusal(post(one, "please", { headers: marked }))).toMatchObject(misdirected);
    expect(one.asked).toHaveLength(1);
    const state = await stateAt(one, running.turnId, { "x-plimsoll-forwarded": tagOf(running) });
    expect(state.body).toMatchObject({ state: "running" });
    for (const each of [running, other]) each.leave();
  });

  const JSON_TYPE = { "content-type": "application/json" };
  const SECRETIVE = "a text of the other side";
  it.each<[string, Answer, string]>([
    [
      "is no replica",
      (_, response) =>
        response.writeHead(200, { "content-type": "application/json" }).end(SECRETIVE),
      "not that replica",
    ],
    [
      "is another replica",
      (_, response) =>
        response
          .writeHead(200, { ...OURS, ...JSON_TYPE, "x-plimsoll-replica": "ba9876543210" })
          .end(SECRETIVE),
      "not that replica",
    ],
    [
      "sends a page",
      (_, response) =>
        response.writeHead(200, { ...OURS, "content-type": "text/html" }).end(SECRETIVE),
      "no replica",
    ],
    ["sends nothing of a kind", (_, response) => response.writeHead(200, OURS).end(), "no replica"],
    [
      "has other keys",
      (_, response) =>
        response
          .writeHead(401, { ...OURS, "content-type": "application/problem+json" })
          .end(SECRETIVE),
      "does not know the key",
    ],
    ["breaks off", (_, response) => void response.destroy(), "cannot be reached"],
    ["speaks no HTTP", (_, response) => void response.socket?.end("hello"), "cannot be reached"],
  ])("and %s is told as unavailable", async (_how, answer, state) => {
    const side = await OtherSide.start(answer);
    const store = await directoryStore();
    await announce(store, side.url);
    const server = await replica(store);
    const refused = await refusal(fetch(`${server.url}/v1/turns/${newTurnId(TAG)}`));
    expect(refused).toMatchObject({ status: 502, code: "replica_unavailable" });
    expect(refused.detail).toContain(state);
    const told = JSON.stringify([refused, server.logs]) + (await server.metrics());
    for (const secret of [SECRETIVE, new URL(side.url).port]) expect(told).not.toContain(secret);
    await until(() => side.open === 0, "the other side to be left");
  });

  it("and wants to be asked elsewhere gets no key to take there", async () => {
    const thief = await OtherSide.start(json);
    const side = await OtherSide.start((_request, response) => {
      const head = { ...OURS, "content-type": "application/json", location: thief.url };
      response.writeHead(307, head).end("{}");
    });
    const store = await directoryStore();
    await announce(store, side.url);
    const server = await replica(store);
    const refused = await refusal(cancelAt(server, newTurnId(TAG)));
    expect(refused).toMatchObject({ status: 502, code: "replica_unavailable" });
    expect(thief.asked).toEqual([]);
  });

  it("is not read as a whole where it is a part, nor with a half of an event", async () => {
    const parts = ["event: a\ndata: 1\n\n", "event: b\nda"];
    const side = await OtherSide.start(({ url = "" }, response) => {
      const type = url.endsWith("/events") ? EVENTS : "application/json";
      response.writeHead(200, { ...OURS, "content-type": type });
      for (const part of parts) response.write(part);
      setTimeout(() => response.destroy(), 100);
    });
    const store = await directoryStore();
    await announce(store, side.url);
    const server = await replica(store);
    const address = `${server.url}/v1/turns/${newTurnId(TAG)}`;
    const text = await (await fetch(`${address}/events`)).text();
    expect(text.startsWith("event: a\ndata: 1\n\nevent: turn_ended\n")).toBe(true);
    expect(text).toContain('"code":"replica_unavailable"');
    await expect(fetch(address).then((response) => response.text())).rejects.toThrow();
  });

  it(
    "is asked so much at once for a caller, and again when one leaves",
    { timeout: 60_000 },
    async () => {
      const side = await OtherSide.start(silent);
      const store = await directoryStore();
      await announce(store, side.url);
      const server = await replica(store, { serverFile: KEYED });
      const turnId = newTurnId(TAG);
      const headers = authorized(KEYS.acme);
      const readers = await Promise.all(
        Array.from({ length: 256 }, () => eventsAt(server, turnId, { headers })),
      );
      expect(readers.map(({ response }) => response.status)).toEqual(readers.map(() => 200));
      const refused = await refusal(cancelAt(server, turnId, headers));
      expect(refused).toMatchObject({ status: 429, code: "too_many_readers", retryAfter: 1 });
      const another = await eventsAt(server, turnId, { headers: authorized(KEYS.other) });
      expect(another.response.status).toBe(200);
      readers[0]?.cut();
      await until(() => side.open === 256, "one to be left");
      const next = await eventsAt(server, turnId, { headers });
      expect(next.response.status).toBe(200);
      for (const reader of [...readers, another, next]) reader.cut();
      await until(() => side.open === 0, "all to be left");
    },
  );

  it("is left when this server stops, and by who leaves before it has answered", async () => {
    const side = await OtherSide.start(() => undefined);
    const store = await directoryStore();
    await announce(store, side.url);
    const server = await replica(store);
    const address = `${server.url}/v1/turns/${newTurnId(TAG)}`;
    const leave = new AbortController();
    const left = fetch(address, { signal: leave.signal }).catch(() => "left");
    await until(() => side.open === 1, "the other side to be asked");
    leave.abort();
    expect(await left).toBe("left");
    await until(() => side.open === 0, "the other side to be left");
    const waiting = refusal(fetch(address));
    await until(() => side.open === 1, "the other side to be asked");
    const stopping = server.stop();
    server.hurry();
    await stopping;
    expect(await waiting).toMatchObject({ status: 503, code: "draining" });
    await until(() => side.open === 0, "the other side to be left");
  });
});

describe.runIf(hasService("openssl", "openssl"))("a replica behind a proxy with TLS", () => {
  it(
    "is asked by who trusts its certificate, and by nobody else",
    { timeout: 90_000 },
    async () => {
      const store = await directoryStore();
      const directory = await mkdtemp(join(tmpdir(), "plimsoll-tls-"));
      keep({ [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) });
      const { certificate, key } = makeCertificate(directory);
      const proxy = keep(
        await tlsProxy({ cert: await readFile(certificate), key: await readFile(key) }),
      );
      const one = await replica(store, { address: () => `https://127.0.0.1:${proxy.port}` });
      proxy.to(Number(new URL(one.url).port));
      const options = await optionsOn(store);
      const environment = { ...options.environment, NODE_EXTRA_CA_CERTS: certificate };
      const trusting = keep(await startServerProcess({ ...options, environment }));
      const wary = await replica(store);

      const asking = { threadId: "t", headers: { "idempotency-key": '"k"' } };
      const running = await stream(one, "a while", asking);
      const { turnId } = running;
      await until(() => running.text().length > 10, "the turn to say something");
      // An answer that comes at the end of the turn, and one that comes as it goes.
      const whole = ask(trusting, "a while", asking);
      const frames = await take(await eventsAt(trusting, turnId));
      expect(eventsOf(frames)).toEqual(running.events);
      expect(await whole).toMatchObject({ turnId, text: running.text() });
      expect(await stateAt(trusting, turnId)).toEqual(await stateAt(one, turnId));
      const asked = proxy.connections;
      expect(asked).toBeGreaterThan(2);

      const refused = await refusal(fetch(`${wary.url}/v1/turns/${turnId}`));
      expect(refused).toMatchObject({ status: 502, code: "replica_unavailable" });
      expect(refused.detail).toContain("DEPTH_ZERO_SELF_SIGNED_CERT");
      expect(wary.logs).toContainEqual(
        expect.objectContaining({
          level: "warn",
          replicaTag: turnId.slice(-12),
          errno: "DEPTH_ZERO_SELF_SIGNED_CERT",
        }),
      );
    },
  );
});

/** Speaks TLS to whoever comes, and plain HTTP to the port that it is told. */
async function tlsProxy(certificate: { readonly cert: Buffer; readonly key: Buffer }) {
  let target = 0;
  const sockets = new Set<Socket>();
  const server = createTlsServer(certificate, (socket) => {
    const inner = connectTcp(target, "127.0.0.1");
    sockets.add(socket).add(inner);
    for (const [from, to] of [
      [socket, inner],
      [inner, socket],
    ] as const) {
      from.pipe(to);
      from.on("error", () => to.destroy()).on("close", () => to.destroy());
    }
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    to: (port: number) => (target = port),
    get connections() {
      return sockets.size / 2;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("a replica that has no keys", () => {
  it("answers to the name by which the others ask, and to no other", async () => {
    const store = await directoryStore();
    const server = await replica(store, { address: () => "http://b.agents.internal:8080" });
    const statusFor = async (host: string) => {
      const { port, hostname } = new URL(server.url);
      const socket = connectTcp(Number(port), hostname);
      socket.end(`GET /v1/turns HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
      let text = "";
      for await (const bytes of socket) text += String(bytes);
      return text.slice(9, 12);
    };
    expect(await statusFor("b.agents.internal:8080")).toBe("200");
    expect(await statusFor("c.agents.internal:8080")).toBe("421");
  });

  it("passes nothing on for the page of another origin", async () => {
    const side = await OtherSide.start(json);
    const store = await directoryStore();
    await announce(store, side.url);
    const server = await replica(store);
    const foreign = { "sec-fetch-site": "cross-site", origin: "https://evil.example" };
    expect((await refusal(cancelAt(server, newTurnId(TAG), foreign))).status).toBe(403);
    expect(side.asked).toEqual([]);
  });
});
