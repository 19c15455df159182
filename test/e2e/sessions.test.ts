/**
 * Conversations: remembered between turns and over a restart, one turn at a time, each tenant for
 * itself, and gone when they are deleted.
 */

import { createHash, randomUUID } from "node:crypto";
import { execFileSync } from "node:child_process";
import { appendFile, mkdtemp, readdir, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { claudeOf, environmentOf, until } from "../helpers/leaks.ts";
import { startServer, type InProcessServer, type TestServer } from "../helpers/server.ts";
import { run } from "../cli/plimsoll.ts";
import { ask, post, refusal, stream, textOfRequest } from "./client.ts";
import { transcriptOf } from "./transcripts.ts";

const SCRIPT = `
defaults: { firstTokenMs: 20, tokensPerSecond: 500 }
rules:
  - when: { userText: slowly }
    tokensPerSecond: 20
    reply:
      - tokens: 20
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - reply:
      - text: "Turn {{turnCount}}, begun with: {{firstUserText}}"
`;

const AGENTS = [
  "name: helper\ninstructions: You are a test.\n",
  "name: other\ninstructions: You are another test.\n",
  "name: brief\ninstructions: You are a test.\nhosting: { pattern: ephemeral }\n",
];

const KEYS = { ada: "key-of-ada-0123456789", bob: "key-of-bob-0123456789" };
const SERVER_FILE = `
auth:
  keys:
    - { id: ada, tenant: ada, sha256: "${sha256(KEYS.ada)}" }
    - { id: bob, tenant: bob, role: operator, sha256: "${sha256(KEYS.bob)}" }
`;

const key = KEYS.ada;
const bob = KEYS.bob;
const options = {
  script: SCRIPT,
  agents: AGENTS,
  serverFile: SERVER_FILE,
  settings: { "capacity.memoryLimit": "4GiB" },
};

let server: InProcessServer;
beforeAll(async () => {
  server = await startServer(options);
});
afterAll(async () => server[Symbol.asyncDispose]());

describe("a session", () => {
  it("remembers: the model receives what was said before", async () => {
    const first = await ask(server, "My name is Ada", { key, threadId: "memory" });
    const second = await ask(server, "What is my name?", { key, sessionId: first.sessionId });
    expect(second.sessionId).toBe(first.sessionId);
    expect(second.text).toBe("Turn 2, begun with: My name is Ada");
    const received = textOfRequest(lastAsked(server));
    expect(received).toContain("My name is Ada");
    expect(received).toContain(first.text);
  });

  it("has the same id whenever the same tenant names the same thread of the same agent", async () => {
    const [first, again] = [
      await ask(server, "Hi", { key, threadId: "same" }),
      await ask(server, "Hi", { key, threadId: "same" }),
    ];
    expect(again.sessionId).toBe(first.sessionId);
    const others = [
      await ask(server, "Hi", { key: bob, threadId: "same" }),
      await ask(server, "Hi", { key, threadId: "same", agent: "other" }),
    ];
    const ids = new Set([first, ...others].map(({ sessionId }) => sessionId));
    expect(ids.size).toBe(3);
    expect(others.map(({ text }) => text)).toEqual(Array(2).fill("Turn 1, begun with: Hi"));
  });

  it("works in the same directory every turn, with a configuration and a home of its own", async () => {
    const places = [];
    for (const threadId of ["place one", "place one", "place two"]) {
      const turn = await stream(server, "Speak slowly", { key, threadId });
      const pid = await claudeOf(turn.turnId);
      const environment = environmentOf(pid);
      const value = (name: string) => environment.find((entry) => entry.startsWith(`${name}=`));
      places.push({
        cwd: await readlink(`/proc/${pid}/cwd`),
        config: value("CLAUDE_CONFIG_DIR"),
        home: value("HOME"),
      });
      await turn.outcome();
    }
    const [first, again, other] = places;
    expect(again).toEqual(first);
    expect(new Set([...Object.values(first ?? {}), ...Object.values(other ?? {})]).size).toBe(6);
    expect(first?.cwd.startsWith(join(server.directory, "data"))).toBe(true);
  });

  it("can be continued after its process was killed in the middle of a turn", async () => {
    await ask(server, "I am the first", { key, threadId: "crash" });
    const turn = await stream(server, "Now hang", { key, threadId: "crash" });
    await turn.until("text_delta");
    process.kill(await claudeOf(turn.turnId), "SIGKILL");
    expect(await turn.outcome()).toMatchObject({ status: "failed" });
    const next = await ask(server, "Go on", { key, threadId: "crash" });
    expect(next.text).toContain("begun with: I am the first");
  });

  it("survives a restart of the server", async () => {
    const { directory } = server;
    const first = await ask(server, "Before the restart", { key, threadId: "restart" });
    await server.stop();
    server = await startServer({ ...options, directory });
    const second = await ask(server, "After it", { key, sessionId: first.sessionId });
    expect(second.text).toBe("Turn 2, begun with: Before the restart");
    expect(second.usage.costUsd).toBeLessThan(2 * first.usage.costUsd);
  });
});

describe("two turns of one session at once", () => {
  it("are one turn and one refusal, which comes at once and takes no permit", async () => {
    const running = await stream(server, "Now hang", { key, threadId: "busy" });
    const { admitted } = await server.capacity(bob);
    const askedAtMs = performance.now();
    const problem = await refusal(post(server, "Me too", { key, threadId: "busy" }));
    // One that waits for the turn waits for minutes.
    expect(performance.now() - askedAtMs).toBeLessThan(60_000);
    expect(problem).toMatchObject({ status: 409, code: "session_busy" });
    expect(await server.capacity(bob)).toMatchObject({ inflight: 1, admitted });

    const agui = await refusal(
      fetch(`${server.url}/v1/agents/helper/agui`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
        body: JSON.stringify({
          threadId: "busy",
          runId: "r",
          messages: [{ id: "u", role: "user", content: "Me too" }],
        }),
      }),
    );
    expect(agui.code).toBe("session_busy");
    const { sessionId } = await running.until("turn_started");
    const deletion = await refusal(remove(sessionId));
    expect(deletion.code).toBe("session_busy");
    const headers = { authorization: `Bearer ${key}` };
    await fetch(`${server.url}/v1/turns/${running.turnId}/cancel`, { method: "POST", headers });
    expect(await running.outcome()).toMatchObject({ status: "cancelled" });
  });

  it("never lose the one that was taken", async () => {
    const answers = await Promise.all(
      ["This is one", "This is two"].map((input) => post(server, input, { key, threadId: "race" })),
    );
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, 409]);
    const taken = answers[0]?.status === 200 ? "This is one" : "This is two";
    const next = await ask(server, "And then", { key, threadId: "race" });
    expect(next.text).toBe(`Turn 2, begun with: ${taken}`);
  });

  it("are no trouble one after the other, as soon as the first says that it ended", async () => {
    for (const number of [1, 2, 3]) {
      const turn = await stream(server, "Quick", { key, threadId: "in a row" });
      expect(await turn.outcome(), `turn ${number}`).toMatchObject({ status: "completed" });
    }
  });
});

describe("a session that is not there", () => {
  it("is not found by an id that nobody was given", async () => {
    const problem = await refusal(post(server, "Hi", { key, sessionId: randomUUID() }));
    expect(problem).toMatchObject({ status: 404, code: "session_not_found" });
    expect((await server.capacity(bob)).inflight).toBe(0);
  });

  it("is gone once it was deleted, with all its files, until the thread is begun anew", async () => {
    const { sessionId } = await ask(server, "Forget this sentence", { key, threadId: "deleted" });
    expect(filesWith("Forget this sentence")).not.toEqual([]);
    expect((await remove(sessionId)).status).toBe(204);
    expect(filesWith("Forget this sentence")).toEqual([]);

    const problem = await refusal(post(server, "Hi", { key, sessionId }));
    expect(problem).toMatchObject({ status: 410, code: "session_gone" });
    expect((await refusal(read(sessionId))).status).toBe(410);
    expect((await refusal(remove(sessionId))).status).toBe(410);

    const anew = await ask(server, "A new start", { key, threadId: "deleted" });
    expect(anew.text).toBe("Turn 1, begun with: A new start");
  });

  it("can be exported by its tenant and by operators: the lines that the command exports", async () => {
    const { sessionId } = await ask(server, "Export this", { key, threadId: "exported" });
    const answer = await exported(sessionId);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toContain("application/x-ndjson");
    const text = await answer.text();
    const entries = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string });
    expect(entries.map(({ type }) => type)).toEqual(expect.arrayContaining(["user", "assistant"]));
    expect(text).toContain("Export this");
    const data = join(server.directory, "data");
    const { directory } = server;
    const command = await run(["sessions", "export", sessionId, "--data", data], { directory });
    expect(command).toMatchObject({ code: 0, stdout: text });

    const asOperator = await exported(`${sessionId}/export?tenant=ada`, bob);
    expect(await asOperator.text()).toBe(text);
    expect((await refusal(exported(sessionId, bob))).code).toBe("session_not_found");
    const foreign = await refusal(exported(`${sessionId}/export?tenant=bob`));
    expect(foreign).toMatchObject({ status: 403, code: "forbidden" });
    const odd = await refusal(exported(`${sessionId}/export?tennant=ada`, bob));
    expect(odd.code).toBe("invalid_request");
    expect((await exported(`${sessionId}/export?tenant=ada`)).status).toBe(200);
    await remove(sessionId);
    expect((await refusal(exported(sessionId))).status).toBe(410);
  });

  it("can be exported from a store, too", async () => {
    const directory = await mkdtemp(join(tmpdir(), "plimsoll-store-"));
    const url = pathToFileURL(directory).href;
    const settings = { ...options.settings, "sessions.store": url };
    {
      await using shared = await startServer({ ...options, settings });
      const { sessionId } = await ask(shared, "Export this", { key, threadId: "exported" });
      const text = await (await exported(sessionId, key, shared)).text();
      expect(text).toContain("Export this");
      const own = ["sessions", "export", sessionId, "--set", `sessions.store=${url}`];
      expect((await run(own, { directory: shared.directory })).stdout).toBe(text);
      expect((await refusal(exported(sessionId, bob, shared))).status).toBe(404);
    }
    await rm(directory, { recursive: true });
  });

  it("is gone when its transcript was lost, and not begun anew in silence", async () => {
    const { sessionId } = await ask(server, "Remember me", { key, threadId: "lost" });
    for (const file of filesWith("Remember me")) execFileSync("rm", [file]);
    const problem = await refusal(post(server, "Hi", { key, sessionId }));
    expect(problem).toMatchObject({ status: 410, code: "session_gone" });
    const byThread = await refusal(post(server, "Hi", { key, threadId: "lost" }));
    expect(byThread.status).toBe(410);
  });

  it("does not exist for another tenant, not even for its operator", async () => {
    const { sessionId } = await ask(server, "A secret of Ada", { key, threadId: "secret" });
    const attempts = [
      () => post(server, "Hi", { key: bob, sessionId }),
      () => read(sessionId, bob),
      () => remove(sessionId, bob),
    ];
    for (const attempt of attempts) {
      expect(await refusal(attempt())).toMatchObject({ status: 404, code: "session_not_found" });
    }
    expect(JSON.stringify(await list("", bob))).not.toContain(sessionId);
    expect(await ask(server, "Hi", { key, sessionId })).toMatchObject({ sessionId });
  });

  it("is not told apart from one that never was, by a caller without a key", async () => {
    const problem = await refusal(post(server, "Hi", { threadId: "secret" }));
    expect(problem).toMatchObject({ status: 401, code: "unauthorized" });
    const wrong = await refusal(post(server, "Hi", { key: "wrong-key-0123456789" }));
    expect(wrong.status).toBe(401);
  });
});

describe("the list of sessions", () => {
  it("has the newest first, a page at a time, and reads what was said", async () => {
    const ids = [];
    for (const threadId of ["list 1", "list 2", "list 3"]) {
      ids.unshift(
        (await ask(server, `Hi ${threadId}`, { key, threadId, agent: "other" })).sessionId,
      );
    }
    const first = await list("?agent=other&limit=2");
    expect(first.sessions.map(({ sessionId }) => sessionId)).toEqual(ids.slice(0, 2));
    const rest = await list(`?agent=other&limit=2&cursor=${first.nextCursor}`);
    expect(rest.sessions[0]?.sessionId).toBe(ids[2]);

    const session = (await (await read(ids[0] ?? "")).json()) as {
      turns: number;
      messages: { role: string; parts: { type: string; text?: string }[] }[];
    };
    expect(session.turns).toBe(1);
    expect(session.messages.map(({ role, parts }) => [role, parts[0]?.text])).toEqual([
      ["user", "Hi list 3"],
      ["assistant", "Turn 1, begun with: Hi list 3"],
    ]);
  });
});

describe("reads of a long session", () => {
  it("are so many at once, whatever is asked; the others are told to come back", async () => {
    const settings = { "sessions.readsAtOnce": "1", "sessions.readWait": "0s" };
    await using own = await startServer({ script: SCRIPT, settings });
    const { sessionId } = await ask(own, "Hi", { threadId: "long" });
    await appendFile(await transcriptOf(own.directory, sessionId), longTail(10));
    const url = `${own.url}/v1/sessions/${sessionId}`;
    const answers = await Promise.all(Array.from({ length: 12 }, () => fetch(url)));
    const refused = answers.filter(({ status }) => status !== 200);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(answers.length);
    for (const answer of refused) {
      expect(answer.headers.get("retry-after")).toBe("1");
      expect(await refusal(answer)).toMatchObject({ status: 503, code: "too_many_reads" });
    }
    expect((await fetch(url)).status).toBe(200);
  });

  it("wait for one another, and are all answered", async () => {
    await using own = await startServer({
      script: SCRIPT,
      settings: { "sessions.readWait": "1m" },
    });
    const { sessionId } = await ask(own, "Hi", { threadId: "long" });
    await appendFile(await transcriptOf(own.directory, sessionId), longTail(2));
    const url = `${own.url}/v1/sessions/${sessionId}`;
    const answers = await Promise.all(Array.from({ length: 12 }, () => fetch(url)));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  });
});

/** Words that somebody said, of so many MiB. */
function longTail(mebibytes: number): string {
  const message = { role: "user", content: "x".repeat(1024) };
  const line = (n: number) => JSON.stringify({ type: "user", uuid: `long-${n}`, message });
  return `${Array.from({ length: mebibytes * 1024 }, (_, n) => line(n)).join("\n")}\n`;
}

describe("an ephemeral agent", () => {
  it("keeps nothing of a turn, neither on the disk nor in the list", async () => {
    const turn = { key, agent: "brief", threadId: "brief" };
    const first = await ask(server, "Words to be forgotten", turn);
    expect(first.text).toBe("Turn 1, begun with: Words to be forgotten");
    const again = await ask(server, "Do you know me?", turn);
    expect(again.text).toBe("Turn 1, begun with: Do you know me?");
    expect(filesWith("Words to be forgotten")).toEqual([]);
    expect(await readdir(join(server.directory, "data", "run", "ephemeral"))).toEqual([]);
    expect((await list("?agent=brief")).sessions).toEqual([]);
    const problem = await refusal(
      post(server, "Hi", { ...turn, threadId: undefined, sessionId: first.sessionId } as object),
    );
    expect(problem.code).toBe("session_not_found");
  });

  it("takes two turns of one thread at once, as they have nothing in common", async () => {
    const turns = await Promise.all(
      ["one", "two"].map((input) => ask(server, input, { key, agent: "brief", threadId: "both" })),
    );
    expect(turns.map(({ status }) => status)).toEqual(["completed", "completed"]);
    await until(async () => (await server.capacity(bob)).inflight === 0, "no turn in flight");
  });
});

function read(sessionId: string, as = key): Promise<Response> {
  return fetch(`${server.url}/v1/sessions/${sessionId}`, {
    headers: { authorization: `Bearer ${as}` },
  });
}

/** @param what The id, or all of the address after the sessions. */
function exported(
  what: string,
  as = key,
  at: { readonly url: string } = server,
): Promise<Response> {
  const path = what.includes("/") ? what : `${what}/export`;
  return fetch(`${at.url}/v1/sessions/${path}`, { headers: { authorization: `Bearer ${as}` } });
}

function remove(sessionId: string, as = key): Promise<Response> {
  return fetch(`${server.url}/v1/sessions/${sessionId}`, {
    method: "DELETE",
    headers: { authorization: `Bearer ${as}` },
  });
}

async function list(query: string, as = key) {
  const answer = await fetch(`${server.url}/v1/sessions${query}`, {
    headers: { authorization: `Bearer ${as}` },
  });
  return (await answer.json()) as {
    sessions: { sessionId: string; threadId: string }[];
    nextCursor: string | null;
  };
}

function filesWith(text: string): string[] {
  try {
    const found = execFileSync("grep", ["-rlF", text, join(server.directory, "data")]);
    return found.toString().trim().split("\n");
  } catch {
    return []; // grep found nothing.
  }
}

function lastAsked({ asked }: TestServer) {
  const request = asked.at(-1);
  if (request === undefined) expect.fail("The model was not asked");
  return request;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
