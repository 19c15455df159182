/**
 * The same request never runs twice: while it runs, after its end, after a restart, after a crash.
 */

import { setTimeout as delay } from "node:timers/promises";
import { HttpAgent } from "@ag-ui/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { NO_CACHE } from "../../src/capacity/process-cache.ts";
import type { RestOutcome } from "../../src/protocol/rest.ts";
import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { until } from "../helpers/leaks.ts";
import {
  startServer,
  startServerProcess,
  type InProcessServer,
  type TestServer,
  type TestServerOptions,
} from "../helpers/server.ts";
import { ask, post, refusal, stream, type Asking } from "./client.ts";
import { eventsOf, lastIdOf, openFrames, take, type Frame } from "./frames.ts";

const SCRIPT = `
defaults: { firstTokenMs: 20, tokensPerSecond: 500 }
rules:
  - when: { userText: slowly }
    tokensPerSecond: 20
    reply:
      - tokens: 30
  - when: { userText: hang }
    hangAfterTokens: 3
    reply:
      - tokens: 10
  - when: { userText: long }
    tokensPerSecond: 100000
    reply:
      - tokens: 6000
  - reply:
      - text: "You said: {{userText}}"
`;

const OPTIONS = {
  script: SCRIPT,
  agents: [
    "name: helper\ninstructions: You are a test.\nhosting: { onDisconnect: continue }\n",
    "name: passing\ninstructions: You are a test.\nhosting: { pattern: ephemeral }\n",
    "name: careful\ninstructions: You are a test.\n",
    "name: lonely\ninstructions: You are a test.\n" +
      "tools: { mcp: { none: { type: stdio, command: 'false' } } }\n",
  ],
  settings: {
    "capacity.memoryLimit": "4GiB",
    "capacity.maxTurns": "2",
    // It sheds when it was not given a core for 2.5 s.
    "capacity.guard": "false",
    "journal.keepTime": "2m",
  },
} as const satisfies TestServerOptions;

/** Holds the events of a turn for longer than any test takes. */
let server: InProcessServer;
/** Has forgotten them a moment after its end. */
let forgetful: InProcessServer;
beforeAll(async () => {
  server = await startServer(OPTIONS);
  const settings = { ...OPTIONS.settings, "journal.keepTime": "1s" };
  forgetful = await startServer({ ...OPTIONS, settings });
});
afterAll(async () => {
  // Each looks for what is left open in this process: neither may wait for the other to end.
  await Promise.all([server, forgetful].map((each) => each[Symbol.asyncDispose]()));
});

let keys = 0;
function withKey(more: Asking = {}): Asking & { readonly threadId: string } {
  keys += 1;
  return { threadId: `thread ${keys}`, ...more, headers: { "idempotency-key": `"key ${keys}"` } };
}

/** Until nothing of the turn is in memory but the record of its session. */
async function forgotten({ url }: TestServer, turnId: string): Promise<void> {
  const isGone = async () => (await fetch(`${url}/v1/turns/${turnId}`)).status === 404;
  await until(isGone, "the turn to be forgotten");
}

/** Asks for the turn as a stream of events, from the one on that follows the id. */
function opening({ url }: TestServer, input: string, { headers, threadId }: Asking) {
  return (lastEventId?: string) =>
    openFrames(`${url}/v1/agents/helper/turns`, {
      method: "POST",
      headers: {
        ...headers,
        "content-type": "application/json",
        accept: "text/event-stream",
        ...(lastEventId !== undefined && { "last-event-id": lastEventId }),
      },
      body: JSON.stringify({ input, threadId }),
    });
}

describe("the same request", () => {
  it("is the same turn while it runs, as JSON and as events, and takes no permit", async () => {
    const asked = server.asked.length;
    const asking = withKey();
    const first = await stream(server, "Speak and hang", asking);
    await first.until("text_delta");
    const inflight = server.gate.inflight;
    const second = stream(server, "Speak and hang", asking);
    const third = ask(server, "Speak and hang", asking);
    await second;
    expect(server.gate.inflight).toBe(inflight);
    // Of the third one nothing is to be seen before its answer.
    await delay(500);
    await fetch(`${server.url}/v1/turns/${first.turnId}/cancel`, { method: "POST" });
    const outcome = await first.outcome();
    expect((await second).turnId).toBe(first.turnId);
    expect(await (await second).outcome()).toEqual(outcome);
    expect((await second).events).toEqual(first.events);
    expect(await third).toMatchObject({ turnId: first.turnId, text: first.text() });
    expect(server.asked.length).toBe(asked + 1);
  });

  it("is one turn when it comes twice at once, and the replica has no room for more", async () => {
    await using full = await startServer({
      ...OPTIONS,
      settings: { ...OPTIONS.settings, "capacity.maxTurns": "1" },
    });
    const asking = withKey();
    const answers = await Promise.all([1, 2, 3].map(() => post(full, "Speak slowly", asking)));
    const bodies = (await Promise.all(answers.map((each) => each.json()))) as RestOutcome[];
    const seen = () => JSON.stringify([full.gate.snapshot(monotonicMs()).lastDecision, ...bodies]);
    expect(new Set(bodies.map(({ turnId }) => turnId)).size, seen()).toBe(1);
    const replays = answers.filter(({ headers }) => headers.get("idempotent-replayed") === "true");
    expect(replays, seen()).toHaveLength(2);
    expect(full.asked).toHaveLength(1);
    // A full replica lets it pass while it runs, and no other one.
    const running = await stream(full, "Now hang", {
      ...asking,
      headers: { "idempotency-key": "b" },
    });
    const again = await stream(full, "Now hang", {
      ...asking,
      headers: { "idempotency-key": "b" },
    });
    expect(again.turnId).toBe(running.turnId);
    expect(await refusal(post(full, "Hi", withKey()))).toMatchObject({ code: "at_capacity" });
    await fetch(`${full.url}/v1/turns/${running.turnId}/cancel`, { method: "POST" });
    expect(await again.outcome()).toMatchObject({ status: "cancelled" });
  });

  it("goes on where its client was cut, by Last-Event-ID", async () => {
    const open = opening(server, "Speak slowly", withKey());
    const seen: Frame[] = await take(await open(), 5);
    seen.push(...(await take(await open(lastIdOf(seen)))));
    expect(seen.map(({ id }) => Number(id?.split("-")[1]))).toEqual(seen.map((_, n) => n + 1));
    expect(eventsOf(seen).at(-1)).toMatchObject({ outcome: { status: "completed" } });
    expect((await open(lastIdOf(seen))).response.status).toBe(204);
  });

  it("does not go on in the middle once its events are gone", async () => {
    const open = opening(forgetful, "Hi", withKey());
    const begun = await open();
    const seen = await take(begun);
    await forgotten(forgetful, begun.response.headers.get("x-turn-id") ?? "");
    const problem = await refusal((await open(seen[3]?.id)).response);
    expect(problem).toMatchObject({ status: 410, code: "events_expired" });
  });

  it("is answered from the record when its events are gone, also while another turn runs", async () => {
    const asked = forgetful.asked.length;
    const asking = withKey();
    const first = await ask(forgetful, "Hi", asking);
    await forgotten(forgetful, first.turnId);
    const other = await stream(forgetful, "Now hang", { threadId: asking.threadId });
    await other.until("text_delta");
    const response = await post(forgetful, "Hi", asking);
    expect(response.headers.get("idempotent-replayed")).toBe("true");
    expect(response.headers.get("x-turn-id")).toBe(first.turnId);
    expect(await response.json()).toEqual(first);
    const again = await stream(forgetful, "Hi", asking);
    expect(await again.outcome()).toMatchObject({ status: "completed", text: first.text });
    expect(again.text()).toBe(first.text);
    expect(again.events.map(({ type }) => type)).toEqual([
      "turn_started",
      "text_started",
      "text_delta",
      "text_ended",
      "turn_ended",
    ]);
    await fetch(`${forgetful.url}/v1/turns/${other.turnId}/cancel`, { method: "POST" });
    await other.outcome();
    expect(forgetful.asked.length).toBe(asked + 2);
  });

  it("says when only a part of its answer was kept", async () => {
    const asking = withKey();
    const first = await ask(forgetful, "Be long", asking);
    expect(first.text.length).toBeGreaterThan(20_000);
    await forgotten(forgetful, first.turnId);
    const again = await ask(forgetful, "Be long", asking);
    expect(again.isCut).toBe(true);
    expect(first.text.startsWith(again.text)).toBe(true);
    expect(again.text.length).toBeGreaterThan(16_000);
  });

  it("finds its session also where it names none", async () => {
    const { threadId: _none, ...asking } = withKey();
    const held = await ask(server, "Hi", asking);
    expect(await ask(server, "Hi", asking)).toEqual(held);
    const kept = await ask(forgetful, "Hi", asking);
    await forgotten(forgetful, kept.turnId);
    expect(await ask(forgetful, "Hi", asking)).toEqual(kept);
  });

  it("may be asked again of an agent that keeps nothing, once its events are gone", async () => {
    const asking = withKey({ agent: "passing" });
    const held = await ask(server, "Hi", asking);
    expect((await ask(server, "Hi", asking)).turnId).toBe(held.turnId);
    const first = await ask(forgetful, "Hi", asking);
    await forgotten(forgetful, first.turnId);
    expect((await ask(forgetful, "Hi", asking)).turnId).not.toBe(first.turnId);
  });
});

describe("a key", () => {
  it("is refused for another request, in memory and from the record; and is free elsewhere", async () => {
    const asking = withKey();
    const reused = { status: 422, code: "idempotency_key_reused" };
    await ask(server, "Hi", asking);
    expect(await refusal(post(server, "Ho", asking))).toMatchObject(reused);
    const { turnId } = await ask(forgetful, "Hi", asking);
    await forgotten(forgetful, turnId);
    expect(await refusal(post(forgetful, "Ho", asking))).toMatchObject(reused);
    const elsewhere = await ask(forgetful, "Ho", { ...asking, threadId: "elsewhere" });
    expect(elsewhere.text).toBe("You said: Ho");
  });

  it.each(["", '""', "a b", '"open', "x".repeat(256), `"${"x".repeat(256)}"`, "käse"])(
    "is refused when it is none: %j",
    async (key) => {
      const headers = { "idempotency-key": key };
      const problem = await refusal(post(server, "Hi", { headers }));
      expect(problem).toMatchObject({ status: 400, code: "invalid_request" });
    },
  );

  it("is the same quoted or bare", async () => {
    const threadId = "quoted or bare";
    const first = await ask(server, "Hi", { threadId, headers: { "idempotency-key": '"8e03-x"' } });
    const again = await ask(server, "Hi", { threadId, headers: { "idempotency-key": "8e03-x" } });
    expect(again).toEqual(first);
  });

  it("is needed to go on with a turn, and must be of one that is known", async () => {
    const headers = { "last-event-id": "0b7e1c1e-3" };
    const accept = "text/event-stream";
    expect(await refusal(post(server, "Hi", { accept, headers }))).toMatchObject({ status: 400 });
    const unknown = { ...headers, "idempotency-key": "never-seen" };
    const problem = await refusal(post(server, "Hi", { accept, headers: unknown }));
    expect(problem).toMatchObject({ status: 404, code: "turn_not_found" });
  });
});

describe("a turn of which nothing has run", () => {
  it.each(["1s", "1ms"])(
    "runs when it is asked for again, though it was cancelled as it waited: events held for %s",
    async (keepTime) => {
      const settings = { ...OPTIONS.settings, "journal.keepTime": keepTime };
      await using own = await startServer({ ...OPTIONS, settings });
      const asking = withKey({ agent: "careful" });
      let free = () => {};
      const freed = new Promise<void>((resolve) => (free = resolve));
      own.gate.useCache({ ...NO_CACHE, leavingBytes: () => 1, evict: () => freed });
      const first = await stream(own, "Hi", asking);
      await first.until("turn_started");
      await fetch(`${own.url}/v1/turns/${first.turnId}/cancel`, { method: "POST" });
      free();
      expect(await first.outcome()).toMatchObject({ status: "cancelled" });
      await until(() => own.gate.inflight === 0, "the turn to end");
      const again = await ask(own, "Hi", asking);
      expect(again).toMatchObject({ status: "completed", text: "You said: Hi" });
      expect(again.turnId).not.toBe(first.turnId);
    },
  );

  it("is tried again when its MCP server could not be reached", async () => {
    const asking = withKey({ agent: "lonely" });
    const tried: (string | null)[] = [];
    for (let time = 0; time < 2; time++) {
      const response = await post(server, "Hi", asking);
      expect(response.headers.get("idempotent-replayed")).toBeNull();
      tried.push(response.headers.get("x-turn-id"));
      expect(await refusal(response)).toMatchObject({ code: "mcp_server_unavailable" });
    }
    expect(new Set(tried).size).toBe(2);
  });
});

describe("after a restart", () => {
  it("the same request is answered from the record", async () => {
    const asking = withKey();
    const before = await startServer(OPTIONS);
    const first = await ask(before, "Hi", asking);
    await before.stop();
    await using after = await startServer({ ...OPTIONS, directory: before.directory });
    expect(await ask(after, "Hi", asking)).toEqual(first);
    expect(after.asked).toHaveLength(0);
    const next = await ask(after, "And now?", { threadId: asking.threadId });
    expect(next.sessionId).toBe(first.sessionId);
    expect(await ask(after, "Hi", asking)).toEqual(first);
  });

  it("a turn that a drain cut off is not run again under its key, nor said to be elsewhere", async () => {
    const asking = withKey();
    const settings = { ...OPTIONS.settings, "drain.grace": "0s" };
    const before = await startServer({ ...OPTIONS, settings });
    const first = await stream(before, "Now hang", asking);
    await first.until("text_delta");
    await before.stop();
    expect(await first.outcome()).toMatchObject({ status: "cancelled", cause: "draining" });
    await using after = await startServer({ ...OPTIONS, directory: before.directory });
    const problem = await refusal(post(after, "Now hang", asking));
    expect(problem).toMatchObject({ status: 409, code: "turn_cut_off", turnId: first.turnId });
    expect(after.asked).toHaveLength(0);
  });

  it("a turn that a crash cut off is not run again under its key", async () => {
    const asking = withKey();
    const before = await startServerProcess(OPTIONS);
    const first = await stream(before, "Now hang", asking);
    await first.until("text_delta");
    before.signal("SIGKILL");
    await before.exited;
    await using after = await startServer({ ...OPTIONS, directory: before.directory });
    const problem = await refusal(post(after, "Now hang", asking));
    expect(problem).toMatchObject({ status: 409, code: "turn_cut_off", turnId: first.turnId });
    expect(after.asked).toHaveLength(0);
    const { headers: _key, ...without } = asking;
    expect(await ask(after, "Hi", without)).toMatchObject({ status: "completed" });
    await before.model[Symbol.asyncDispose]();
  });
});

describe("the run of an AG-UI client", () => {
  const run = (
    threadId: string,
    runId: string,
    content: string,
    more: object = {},
    at: TestServer = server,
  ) =>
    fetch(`${at.url}/v1/agents/helper/agui`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        threadId,
        runId,
        messages: [{ id: "u1", role: "user", content }],
        protocolVersion: "1.0",
        ...more,
      }),
    });

  it("does not run twice, whether its events are held or gone", async () => {
    const asked = [server.asked.length, forgetful.asked.length];
    const first = await (await run("agui twice", "r1", "Hi")).text();
    expect(await (await run("agui twice", "r1", "Hi")).text()).toBe(first);

    const twice = (content: string) => run("agui twice", "r1", content, {}, forgetful);
    const begun = await twice("Hi");
    await begun.text();
    await forgotten(forgetful, begun.headers.get("x-turn-id") ?? "");
    const gone = await (await twice("Hi")).text();
    expect(gone).toContain('"type":"RUN_FINISHED"');
    expect(gone).toContain("You said: Hi");
    expect([server, forgetful].map((at) => at.asked.length)).toEqual(asked.map((n) => n + 1));
    expect(await refusal(twice("Ho"))).toMatchObject({ status: 422 });
  });

  it("is another one for other words of a client before 1.0", async () => {
    const old = { protocolVersion: undefined };
    for (const word of ["Hi", "Ho"]) {
      const text = await (await run("agui old", "r1", word, old)).text();
      expect(text).toContain(`"delta":"${word}"`);
      expect(text).toContain("RUN_FINISHED");
    }
  });

  it("is the same message for the real client, first or again", async () => {
    const agents = [1, 2].map(
      () => new HttpAgent({ url: `${server.url}/v1/agents/helper/agui`, threadId: "agui real" }),
    );
    for (const agent of agents) {
      agent.addMessage({ id: "u1", role: "user", content: "Hi" });
      await agent.runAgent({ runId: "same" });
    }
    expect(agents[1]?.messages).toEqual(agents[0]?.messages);
    expect(agents[0]?.messages.at(-1)).toMatchObject({ content: "You said: Hi" });
  });
});
