/**
 * Goal: a conversation goes from one replica to another on every store, through a drain, a kill and
 * a store that is away, and the model is told all of it and nothing twice.
 * Method: the built program twice, with data directories of their own, on a real store; what the
 * model was asked is looked at.
 */

import { randomUUID } from "node:crypto";
import { readdirSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";

import { until } from "../helpers/leaks.ts";
import { hasPostgres, startPostgres } from "../helpers/postgres-server.ts";
import { hasRedis, startRedis } from "../helpers/redis-server.ts";
import { S3_KEYS, startS3 } from "../helpers/s3-server.ts";
import { startServerProcess, type ServerProcess } from "../helpers/server.ts";
import { ask, post, refusal, stream } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 5, tokensPerSecond: 2000 }
rules:
  - when: { userText: slowly }
    tokensPerSecond: 5
    reply:
      - tokens: 200
  - when: { userText: a while }
    tokensPerSecond: 20
    reply:
      - tokens: 160
  - reply:
      - text: "Turn {{turnCount}}, begun with: {{firstUserText}}"
`;

const AGENTS = ["name: helper\ninstructions: You are a test.\nhosting: { linger: 1m }\n"];

/** The shortest there is. */
const LEASE_MS = 3_000;

/**
 * Where the end of a turn must reach the store after an outage: who is held up for the time of the
 * lease loses the session, and rightly.
 */
const LASTING_LEASE = { "sessions.leaseTime": "15s" };

const EVENTS = "text/event-stream";

interface Store extends AsyncDisposable {
  readonly url: string;
  readonly environment?: Readonly<Record<string, string>>;
  stop(): Promise<void>;
  restart(): Promise<void>;
}

async function directoryStore(): Promise<Store> {
  const directory = await mkdtemp(join(tmpdir(), "plimsoll-store-"));
  const nothing = async () => {};
  const remove = () => rm(directory, { recursive: true });
  return {
    url: pathToFileURL(directory).href,
    stop: nothing,
    restart: nothing,
    [Symbol.asyncDispose]: remove,
  };
}

async function s3Store(): Promise<Store> {
  const server = await startS3();
  const endpoint = encodeURIComponent(server.endpoint);
  return Object.assign(server, {
    url: `s3://sessions/here?region=eu-central-1&endpoint=${endpoint}&pathStyle=true`,
    environment: {
      AWS_ACCESS_KEY_ID: S3_KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: S3_KEYS.secretAccessKey,
    },
  });
}

async function postgresStore(): Promise<Store> {
  const server = await startPostgres();
  return Object.assign(server, { url: `${server.url}/postgres` });
}

const STORES = [
  ["a shared directory", true, directoryStore],
  ["Redis", hasRedis(), startRedis],
  ["PostgreSQL", hasPostgres(), postgresStore],
  ["S3", true, s3Store],
] as const;

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

function keep<Kept extends AsyncDisposable>(kept: Kept): Kept {
  opened.push(kept);
  return kept;
}

const optionsFor = (store: Store, more: Readonly<Record<string, string>> = {}) => ({
  script: SCRIPT,
  agents: AGENTS,
  settings: {
    "capacity.memoryLimit": "4GiB",
    "sessions.leaseTime": `${LEASE_MS}ms`,
    // A call that a busy machine holds up is no outage.
    "sessions.storeTime": "10s",
    ...more,
  },
  environment: { PLIMSOLL_SESSIONS_STORE: store.url, ...store.environment },
});

/** What the user said in a request to the model, oldest first. */
function wordsOf(server: ServerProcess): readonly string[] {
  const messages: readonly { role: string; content: unknown }[] =
    server.asked.at(-1)?.messages ?? [];
  return messages
    .filter(({ role }) => role === "user")
    .map(({ content }) => {
      const blocks =
        typeof content === "string" ? [{ text: content }] : (content as { text: string }[]);
      return blocks.map(({ text }) => text).join("");
    })
    .map((text) => text.replaceAll(/<system-reminder>[\s\S]*?<\/system-reminder>/g, "").trim())
    .filter((text) => text !== "" && text !== "[Request interrupted by user]");
}

/** The events that an AG-UI client gets that comes to the thread. */
async function connect(at: ServerProcess, threadId: string): Promise<string> {
  const response = await fetch(`${at.url}/agui/connect`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ threadId, runId: "connect", protocolVersion: "1.0", messages: [] }),
  });
  return response.text();
}

describe.each(STORES)("a conversation on %s", (_name, isThere, startStore) => {
  it.skipIf(!isThere)("moves between replicas, and survives what happens to them", async () => {
    const store = keep(await startStore());
    const [one, two] = await Promise.all([
      startServerProcess(optionsFor(store)).then(keep),
      startServerProcess(optionsFor(store)).then(keep),
    ]);
    const threadId = randomUUID();
    const said: string[] = [];
    const turn = async (at: ServerProcess, input: string) => {
      const { status } = await ask(at, input, { threadId });
      expect(status).toBe("completed");
      said.push(input);
      expect(wordsOf(at)).toEqual(said);
    };
    await turn(one, "one: first");
    await turn(two, "two: second");
    // The process that lingers there has missed a turn.
    await turn(one, "one: third");
    await turn(one, "one: fourth");

    const running = await stream(one, "slowly", { threadId });
    const busy = await refusal(post(two, "meanwhile", { threadId }));
    expect(busy).toMatchObject({ status: 409, code: "session_busy" });
    expect(Date.parse(String(busy["expiresAt"])) - Date.now()).toBeLessThanOrEqual(LEASE_MS);
    const connected = await connect(two, threadId);
    expect(connected).toContain("one: fourth");
    expect(connected).toMatch(/"RUN_ERROR","code":"session_busy"[^\n]*\n\n$/);
    // What it has said so far is in the store by its next renewal.
    await until(() => running.text().length > 10, "the turn to say something");
    one.signal("SIGKILL");
    await one.exited;
    const killedAtMs = performance.now();
    await until(
      async () => {
        const sentAfterMs = performance.now() - killedAtMs;
        const response = await post(two, "two: after the kill", { threadId, accept: EVENTS });
        const body = await response.text();
        // Nobody is refused who comes after the time of the lease, however late an answer is.
        if (response.status !== 200) {
          expect(sentAfterMs).toBeLessThan(LEASE_MS + 2_500);
          return false;
        }
        expect(body).toContain('"status":"completed"');
        return true;
      },
      "the session to be taken over",
      45_000,
    );
    expect(wordsOf(two).filter((text) => text !== "slowly")).toEqual([
      ...said,
      "two: after the kill",
    ]);
    expect(wordsOf(two).at(-1)).toBe("two: after the kill");

    const listed = (await (await fetch(`${two.url}/v1/sessions`)).json()) as {
      sessions: { threadId: string; sessionId: string; isBusy: boolean }[];
    };
    expect(listed.sessions).toMatchObject([{ threadId, isBusy: false }]);
    const address = `${two.url}/v1/sessions/${listed.sessions[0]?.sessionId}`;
    const shown = (await (await fetch(address)).json()) as { messages: unknown[] };
    expect(shown.messages.length).toBeGreaterThanOrEqual(10);
    expect((await fetch(address, { method: "DELETE" })).status).toBe(204);
    expect((await fetch(address)).status).toBe(410);
  });
});

const TWO_STORES = STORES.slice(0, 2);

it(
  "counts what each turn has used, on whichever replica it runs",
  { timeout: 90_000 },
  async () => {
    const store = keep(await directoryStore());
    const [one, two] = await Promise.all([
      startServerProcess(optionsFor(store)).then(keep),
      startServerProcess(optionsFor(store)).then(keep),
    ]);
    const threadId = randomUUID();
    let sumUsd = 0;
    for (const at of [one, two, one, one, two]) {
      const { usage } = await ask(at, "please", { threadId });
      expect(usage.outputTokens).toBeGreaterThan(0);
      expect(usage.outputTokens).toBeLessThan(40);
      expect(usage.costUsd).toBeGreaterThan(0);
      sumUsd += usage.costUsd;
      const page = (await (await fetch(`${at.url}/v1/sessions`)).json()) as {
        readonly sessions: readonly { readonly costUsd: number }[];
      };
      expect(page.sessions[0]?.costUsd).toBeCloseTo(sumUsd, 9);
    }
  },
);

describe.each(TWO_STORES)("the same request twice, with %s", (_name, isThere, startStore) => {
  it.skipIf(!isThere)("runs once, wherever it comes to", async () => {
    const store = keep(await startStore());
    const [one, two] = await Promise.all([
      startServerProcess(optionsFor(store)).then(keep),
      startServerProcess(optionsFor(store)).then(keep),
    ]);
    const threadId = randomUUID();
    const asking = { threadId, headers: { "idempotency-key": '"once"' } };
    const first = await ask(one, "please", asking);
    const again = await ask(two, "please", asking);
    expect(again.text).toBe(first.text);
    expect(again.turnId).toBe(first.turnId);
    expect(two.asked).toEqual([]);
    const other = await refusal(post(two, "something else", asking));
    expect(other).toMatchObject({ status: 422, code: "idempotency_key_reused" });
    // While it runs, and when its replica is killed: never a second time.
    const late = { threadId, headers: { "idempotency-key": '"late"' } };
    const running = await stream(one, "slowly", late);
    await until(() => running.text().length > 10, "the turn to say something");
    const elsewhere = await refusal(post(two, "slowly", late));
    expect(elsewhere).toMatchObject({ status: 409, code: "session_busy" });
    one.signal("SIGKILL");
    await one.exited;
    await until(
      async () => (await refusal(post(two, "slowly", late))).code === "turn_cut_off",
      "the other replica to say that the turn was cut off",
    );
    expect(two.asked).toEqual([]);
    await until(
      async () => (await post(two, "go on", { threadId })).status === 200,
      "the session to be free",
    );
    const takenOver = /^plimsoll_session_repairs_total\{[^}]*"taken_over"[^}]*\} (\d+)/m;
    expect(takenOver.exec(await two.metrics())?.[1]).toBe("1");
  });

  it.skipIf(!isThere)("is one run of AG-UI by its run id", async () => {
    const store = keep(await startStore());
    const [one, two] = await Promise.all([
      startServerProcess(optionsFor(store)).then(keep),
      startServerProcess(optionsFor(store)).then(keep),
    ]);
    const run = (at: ServerProcess, content: string, runId = "r1") =>
      fetch(`${at.url}/v1/agents/helper/agui`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          threadId: "own",
          runId,
          messages: [{ id: "u1", role: "user", content }],
          protocolVersion: "1.0",
        }),
      });
    const first = await run(one, "please");
    const said = (text: string) =>
      [...text.matchAll(/"delta":"([^"]*)"/g)].map(([, delta]) => delta).join("");
    expect(said(await first.text())).toBe("Turn 1, begun with: please");
    const again = await run(two, "please");
    expect(again.headers.get("x-turn-id")).toBe(first.headers.get("x-turn-id"));
    const text = await again.text();
    expect(said(text)).toBe("Turn 1, begun with: please");
    expect(text).toContain('"type":"RUN_FINISHED"');
    expect(two.asked).toEqual([]);
    const other = await refusal(run(two, "something else"));
    expect(other).toMatchObject({ status: 422, code: "idempotency_key_reused" });
    expect(await (await run(two, "go on", "r2")).text()).toContain("RUN_FINISHED");
    expect(wordsOf(two)).toEqual(["please", "go on"]);
  });
});

describe("a process that lingers", () => {
  it("is ended before its files are replaced: nothing is lost", { timeout: 60_000 }, async () => {
    const store = keep(await directoryStore());
    const server = keep(await startServerProcess(optionsFor(store)));
    const threadId = randomUUID();
    const { sessionId } = await ask(server, "one", { threadId });
    const data = join(server.directory, "data");
    const transcripts = () =>
      readdirSync(data, { recursive: true, encoding: "utf8" }).filter(
        (name) => name.includes("/projects/") && name.endsWith(".jsonl"),
      );
    const results = join(data, String(transcripts()[0]).replace(/\.jsonl$/, ""), "tool-results");
    await mkdir(results, { recursive: true });
    await writeFile(join(results, "a.txt"), "a long result");
    await ask(server, "two", { threadId });
    await rm(join(results, "a.txt"));
    await ask(server, "three", { threadId });
    await ask(server, "four", { threadId });
    const said = ["one", "two", "three", "four"];
    expect(wordsOf(server)).toEqual(said);
    const shown = (await (await fetch(`${server.url}/v1/sessions/${sessionId}`)).json()) as {
      turns: number;
      messages: readonly { role: string; parts: readonly { text: string }[] }[];
    };
    const asked = shown.messages.filter(({ role }) => role === "user");
    expect(asked.map(({ parts }) => parts.map(({ text }) => text).join(""))).toEqual(said);
    expect(shown.turns).toBe(4);
    expect(transcripts()).toHaveLength(1);
  });
});

describe("a deletion", () => {
  it("takes the copy of another replica with its next sweep", async () => {
    const store = keep(await directoryStore());
    const [one, two] = await Promise.all([
      startServerProcess(optionsFor(store)).then(keep),
      startServerProcess(optionsFor(store)).then(keep),
    ]);
    const { sessionId } = await ask(one, "a secret", {});
    const address = `${two.url}/v1/sessions/${sessionId}`;
    const deleted = async () => (await fetch(address, { method: "DELETE" })).status === 204;
    await until(deleted, "the session to be free, and deleted");
    const names = () => readdirSync(one.directory, { recursive: true, encoding: "utf8" });
    expect(names().some((name) => name.includes(sessionId))).toBe(true);
    await fetch(`${one.url}/v1/sessions/sweep`, { method: "POST" });
    const left = names().filter((name) => name.includes(sessionId));
    expect(left.filter((name) => !name.includes("tombstones"))).toEqual([]);
  });
});

describe("a rolling deploy", () => {
  it("drains one replica while the other takes over", async () => {
    const store = keep(await directoryStore());
    const [one, two] = await Promise.all([
      startServerProcess(optionsFor(store)).then(keep),
      startServerProcess(optionsFor(store)).then(keep),
    ]);
    const threadIds = [randomUUID(), randomUUID()] as const;
    const [first, second] = threadIds;
    for (const threadId of threadIds) await ask(one, "before", { threadId });
    const running = await stream(one, "a while", { threadId: first });
    await until(() => running.text().length > 10, "the turn to say something");
    const stopped = one.stop();
    const tooEarly = await refusal(post(two, "too early", { threadId: first }));
    expect(tooEarly).toMatchObject({ status: 409 });
    // What rests there is free at once, what runs as soon as it has ended.
    await ask(two, "meanwhile", { threadId: second });
    expect(wordsOf(two)).toEqual(["before", "meanwhile"]);
    expect((await running.outcome()).status).toBe("completed");
    await ask(two, "after", { threadId: first });
    expect(wordsOf(two)).toEqual(["before", "a while", "after"]);
    await stopped;
    expect(await one.exited).toEqual({ code: 0, signal: null });
  });
});

describe("a store that is silent: Redis", () => {
  it.skipIf(!hasRedis())("does not hold up the end of a turn that is cancelled", async () => {
    const store = keep(await startRedis());
    const options = optionsFor(store, { ...LASTING_LEASE, "sessions.storeTime": "20s" });
    const [one, two] = await Promise.all([
      startServerProcess(options).then(keep),
      startServerProcess(options).then(keep),
    ]);
    const threadId = randomUUID();
    await ask(one, "before", { threadId });
    const running = await stream(one, "slowly", { threadId });
    await until(() => running.text().length > 10, "the turn to say something");
    store.freeze(true);
    const cancelledAtMs = performance.now();
    await fetch(`${one.url}/v1/turns/${running.turnId}/cancel`, { method: "POST" });
    expect(await running.outcome()).toMatchObject({ status: "cancelled" });
    // Who waits for the store waits for 20 s at least.
    expect(performance.now() - cancelledAtMs).toBeLessThan(18_000);
    // The session is not free before the store has the turn.
    const refused = await Promise.all(
      [one, two].map((at) => refusal(post(at, "too early", { threadId }))),
    );
    for (const each of refused) expect(each).toMatchObject({ code: "store_unavailable" });
    store.freeze(false);
    await until(
      async () => (await post(two, "after", { threadId })).status === 200,
      "the session to be free",
      45_000,
    );
    expect(wordsOf(two)).toEqual(["before", "slowly", "after"]);
  });
});

describe.each(STORES.slice(1))("a store that is away: %s", (_name, isThere, startStore) => {
  it.skipIf(!isThere)("lets a turn end, refuses the next, and hears of it afterwards", async () => {
    const store = keep(await startStore());
    const options = optionsFor(store, { ...LASTING_LEASE, "sessions.storeTime": "2s" });
    const [one, two] = await Promise.all([
      startServerProcess(options).then(keep),
      startServerProcess(options).then(keep),
    ]);
    const threadId = randomUUID();
    await ask(one, "before", { threadId });
    const running = await stream(one, "slowly", { threadId });
    await until(() => running.text().length > 10, "the turn to say something");
    await store.stop();
    await fetch(`${one.url}/v1/turns/${running.turnId}/cancel`, { method: "POST" });
    expect((await running.outcome()).status).toBe("cancelled");
    const refused = await refusal(post(one, "not now", { threadId }));
    expect(refused).toMatchObject({ status: 503, code: "store_unavailable" });
    expect(await refusal(post(two, "nor here", { threadId }))).toMatchObject({ status: 503 });
    // Who has nothing to do with the store goes on.
    expect((await fetch(`${one.url}/readyz`)).status).toBe(200);
    await store.restart();
    await until(
      async () => (await post(two, "after", { threadId })).status === 200,
      "the session to be free",
      45_000,
    );
    expect(wordsOf(two)).toEqual(["before", "slowly", "after"]);
    expect(one.logs.map(({ msg }) => msg)).toContain(
      "The session store has heard of a turn that was kept here",
    );
  });
});
