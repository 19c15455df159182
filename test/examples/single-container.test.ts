/**
 * Goal: the dispatcher of the example gives each session a replica of its own, makes one where two
 * ask at once, and none beyond its limit; a session that is over frees its place.
 * Method: the dispatcher as its Deployment runs it, against a Kubernetes whose pods are real
 * replicas.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHash } from "node:crypto";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { ask, post, refusal, stream } from "../e2e/client.ts";
import { ROOT } from "../helpers/example.ts";
import { until } from "../helpers/leaks.ts";
import { type FakeKubernetes, startFakeKubernetes, TOKEN } from "./fake-kubernetes.ts";

const SCRIPT = `
defaults: { firstTokenMs: 1, tokensPerSecond: 2000 }
rules:
  - when: { userText: "/slowly$/" }
    reply: [{ tokens: 400 }]
    tokensPerSecond: 20
  - reply: [{ text: "Yes: {{userText}}" }]
`;
const agent = "companion";
const ada = { agent, threadId: "ada", key: "key-of-acme" };
const bob = { agent, threadId: "bob", key: "key-of-acme" };
/** Another tenant's, of the same name. */
const otherAda = { agent, threadId: "ada", key: "key-of-globex" };
const sha256 = (key: string) => createHash("sha256").update(key).digest("hex");

let directory: string;
let kubernetes: FakeKubernetes;
const ends: (() => Promise<void>)[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-pods-"));
  await writeFile(join(directory, "token"), `${TOKEN}\n`);
  kubernetes = await startFakeKubernetes({ directory, script: SCRIPT });
});
afterAll(async () => {
  for (const end of ends) await end();
  await kubernetes[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function startDispatcher(more: Readonly<Record<string, string>> = {}) {
  const child = spawn(
    process.execPath,
    [join(ROOT, "examples/single-container/dispatcher/main.mjs")],
    {
      env: {
        KUBERNETES_URL: kubernetes.url,
        TOKEN_FILE: join(directory, "token"),
        IMAGE: "plimsoll",
        REPLICA_KEY: "example-key-of-dispatcher",
        REPLICA_PORT: String(kubernetes.replicaPort),
        CALLERS: `acme=${sha256("key-of-acme")}\nglobex=${sha256("key-of-globex")}`,
        PORT: "0",
        MAX_SESSIONS: "2",
        VOLUME_SIZE: "1Gi",
        ...more,
      },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const portOf = (text: string) => /^Listening on (\d+)$/m.exec(text)?.[1];
  await until(() => portOf(stdout) !== undefined, "the dispatcher to listen");
  const url = `http://127.0.0.1:${portOf(stdout)}`;
  expect((await fetch(`${url}/livez`)).ok).toBe(true);
  const stop = async () => {
    child.kill("SIGTERM");
    if (child.exitCode === null) await once(child, "exit");
    expect([child.exitCode, stderr]).toEqual([0, ""]);
  };
  ends.push(stop);
  return { url };
}

async function remove({ url }: { url: string }, { threadId, key }: typeof ada) {
  const headers = { authorization: `Bearer ${key}` };
  return fetch(`${url}/v1/threads/${threadId}`, { method: "DELETE", headers });
}

describe("the dispatcher", () => {
  it("refuses who has no key, and what names no thread, before it starts anything", async () => {
    const dispatcher = await startDispatcher();
    const stranger = { agent, threadId: "ada", key: "guessed" };
    expect(await refusal(post(dispatcher, "one", stranger))).toMatchObject({ status: 401 });
    const nameless = { agent, key: "key-of-acme" };
    expect(await refusal(post(dispatcher, "one", nameless))).toMatchObject({ status: 400 });
    expect((await remove(dispatcher, ada)).status).toBe(404);
    expect(kubernetes.created).toEqual([]);
  });

  it("gives two sessions two replicas, also those of two tenants, and none to a third", async () => {
    const dispatcher = await startDispatcher();
    // Two at once of one new session: one Job, and the session takes one turn at a time.
    const burst = [post(dispatcher, "one", ada), post(dispatcher, "two", ada)];
    const [running, ...turns] = await Promise.all([
      stream(dispatcher, "slowly", otherAda),
      ...burst,
    ]);
    const statuses = turns.map(({ status }) => status);
    expect(statuses).toContain(200);
    expect(statuses.every((status) => status === 200 || status === 409)).toBe(true);

    await running.until("text_delta");
    expect(kubernetes.running()).toHaveLength(2);
    expect(kubernetes.created.map(({ kind }) => kind)).toEqual([
      "PersistentVolumeClaim",
      "Job",
      "PersistentVolumeClaim",
      "Job",
    ]);
    // The stream comes as it is written, and who leaves ends the turn.
    running.leave();
    await until(
      async () => (await post(dispatcher, "now", otherAda)).status === 200,
      "the next turn",
    );

    const third = await post(dispatcher, "one", bob);
    expect(third.headers.get("retry-after")).toBe("30");
    expect(await refusal(third)).toMatchObject({ status: 429, code: "too_many_sessions" });
  });

  it("finds the sessions of another dispatcher, and each replica answers for its own", async () => {
    const dispatcher = await startDispatcher();
    const again = await ask(dispatcher, "more", ada);
    expect(again.status).toBe("completed");
    expect(kubernetes.running()).toHaveLength(2);

    const [pod] = kubernetes.pods.values();
    if (pod === undefined) expect.fail("There is no pod");
    const replica = { url: `http://${pod.ip}:${kubernetes.replicaPort}` };
    const straight = { agent, threadId: "bob", key: "example-key-of-dispatcher" };
    expect(await refusal(post(replica, "one", straight))).toMatchObject({ status: 421 });
  });

  it("ends a session and its replica, and the place is free again", async () => {
    const dispatcher = await startDispatcher();
    expect((await remove(dispatcher, otherAda)).status).toBe(204);
    await until(() => kubernetes.running().length === 1, "the Job to be complete", 15_000);
    expect([...kubernetes.pods.values()].map(({ exitCode }) => exitCode)).toContain(0);
    expect(kubernetes.claims.size).toBe(1);
    expect((await ask(dispatcher, "one", bob)).status).toBe("completed");
  });

  it("goes on with a session whose replica has ended, on its volume", async () => {
    const dispatcher = await startDispatcher();
    const { sessionId } = await ask(dispatcher, "before", bob);
    const name = kubernetes.running().at(-1) ?? "";
    const server = await kubernetes.pods.get(name)?.started;
    server?.signal("SIGTERM");
    await until(() => !kubernetes.running().includes(name), "the replica to end", 15_000);

    const after = await ask(dispatcher, "after", bob);
    expect(after.sessionId).toBe(sessionId);
    const jobs = kubernetes.created.filter(
      ({ kind, metadata }) => kind === "Job" && metadata.name === name,
    );
    expect(jobs).toHaveLength(2);
    const reborn = await kubernetes.pods.get(name)?.started;
    expect(JSON.stringify(reborn?.asked.at(-1)?.messages)).toContain("before");
  });

  it("sends no turn of a client that left while its replica started", async () => {
    const dispatcher = await startDispatcher({ MAX_SESSIONS: "3" });
    const eve = { agent, threadId: "eve", key: "key-of-acme" };
    const before = kubernetes.running();
    const leaving = new AbortController();
    const left = post(dispatcher, "left", { ...eve, signal: leaving.signal });
    const newName = () => kubernetes.running().find((name) => !before.includes(name));
    await until(() => newName() !== undefined, "the replica to be started");
    // It waits for the same start, and is next.
    const stays = ask(dispatcher, "stays", eve);
    leaving.abort();
    await expect(left).rejects.toThrow("aborted");
    expect(await stays).toMatchObject({ status: "completed", text: "Yes: stays" });
    const replica = await kubernetes.pods.get(newName() ?? "")?.started;
    expect(replica?.asked).toHaveLength(1);
    expect((await remove(dispatcher, eve)).status).toBe(204);
  });

  it("passes on which request it is, and from where its events are read", async () => {
    const dispatcher = await startDispatcher();
    const headers = { "idempotency-key": "the-first" };
    const accept = "text/event-stream";
    const whole = await post(dispatcher, "once", { ...ada, accept, headers });
    const text = await whole.text();
    const [, lastId = ""] = /^id: (.*)$/m.exec(text) ?? [];
    const again = { ...headers, "last-event-id": lastId };
    const rest = await post(dispatcher, "once", { ...ada, accept, headers: again });
    expect(rest.headers.get("idempotent-replayed")).toBe("true");
    expect(rest.headers.get("x-turn-id")).toBe(whole.headers.get("x-turn-id"));
    const idsOf = (frames: string) => frames.match(/^id: .*$/gm) ?? [];
    expect(idsOf(await rest.text())).toEqual(idsOf(text).slice(1));
  });
});
