/**
 * Goal: whoever reads the feed of a replica sees what happens on it, as it happens and in words, and
 * costs it nothing when gone.
 * Method: the real Claude Code behind the server over HTTP, readers with a parser of their own.
 */

import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";

import { describe, expect, it } from "vitest";

import { reasonForNoGroups1 } from "../helpers/control-group.ts";
import { until } from "../helpers/leaks.ts";
import { startServer } from "../helpers/server.ts";
import { ask, post, refusal, stream } from "./client.ts";
import { askForFeed, FeedClient, stagesOf } from "./feed-client.ts";

/** 1 GiB, in one piece. */
const BALLOON = "node -e 'Buffer.alloc(2 ** 30, 1); setInterval(() => {}, 1000)'";

const noGroups = reasonForNoGroups1();

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - when: { afterTool: true }
    reply:
      - text: "I was told: {{toolResult}}"
  - when: { userText: hang }
    hangAfterTokens: 3
    reply: [{ tokens: 10 }]
  - when: { userText: slowly }
    tokensPerSecond: 20
    reply: [{ tokens: 40 }]
  - when: { userText: balloon }
    reply:
      - tool: { name: Bash, input: { command: ${JSON.stringify(BALLOON)} } }
  - when: { userText: shell }
    reply:
      - text: "I look. "
      - tool: { name: Bash, input: { command: "echo 42" } }
  - reply:
      - text: "You said: {{userText}}"
`;

const SHELL = `
name: helper
instructions: You are a test.
tools: { builtin: [Bash] }
`;

/** Room for one turn. */
const FOR_ONE = { "capacity.admission": "static", "capacity.memoryLimit": "900MiB" };

describe("the feed", () => {
  it("begins with what there is: who it is, the last hour, what was lately, the load", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [SHELL] });
    const before = await ask(server, "Hello");
    using feed = await FeedClient.open(server.url);
    await feed.until("capacity");
    const types = feed.events.map(({ type }) => type);
    expect(types.slice(0, 4)).toEqual(["hello", "history", "recent", "capacity"]);
    const [hello] = feed.of("hello");
    expect(hello?.version).toBe("0.0.0");
    expect(hello?.nowMs).toBeGreaterThan(hello?.startedAtMs ?? Infinity);
    const [history] = feed.of("history");
    expect(history?.inflight).toHaveLength(720);
    expect((history?.fromMs ?? 0) + 720 * 5_000).toBeLessThanOrEqual(Date.now());
    const [recent] = feed.of("recent");
    expect(recent?.turns).toHaveLength(1);
    expect(recent?.turns[0]).toMatchObject({
      turnId: before.turnId,
      agent: "helper",
      tenant: "default",
      caller: "anonymous",
      sessionId: before.sessionId,
      threadId: before.threadId,
      outcome: { status: "completed", detail: null, message: null },
      outputTokens: before.usage.outputTokens,
      costUsd: before.usage.costUsd,
    });
    expect(recent?.decisions).toMatchObject([
      { admitted: true, reason: null, agent: "helper", tenant: "default", untold: 0 },
    ]);
    const { limitBytes } = await server.capacity();
    expect(feed.of("capacity")[0]).toMatchObject({
      capacity: { limitBytes },
      readiness: { state: "ready" },
    });
  });

  it("says which replica it is, by the name that its operator gave it", async () => {
    const settings = { "console.replicaName": "harbour-1" };
    await using server = await startServer({ script: SCRIPT, agents: [SHELL], settings });
    using feed = await FeedClient.open(server.url);
    expect((await feed.until("hello")).replica).toBe("harbour-1");
  });

  it("tells how many sessions are at rest, as turns begin and end and one is deleted", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [SHELL] });
    await ask(server, "Hello");
    using feed = await FeedClient.open(server.url);
    const { sessions } = await feed.until("capacity", (event) => event.sessions.idle === 1);
    expect(sessions.isShared).toBe(false);
    expect(sessions.countedAtMs).toBeLessThanOrEqual(Date.now());
    expect(sessions.transcriptBytes).toBeGreaterThan(0);

    const other = await ask(server, "Hello again");
    const two = await feed.until("capacity", (event) => event.sessions.idle === 2);
    expect(two.sessions.transcriptBytes).toBeGreaterThan(sessions.transcriptBytes ?? Infinity);
    expect(two.sessions.countedAtMs).toBe(sessions.countedAtMs);

    // In a turn it is none of them.
    const busy = await stream(server, "Speak slowly", { sessionId: other.sessionId });
    await busy.until("text_delta");
    const during = feed.events.length;
    await feed.until("capacity", (event) => {
      return event.sessions.idle === 1 && feed.events.indexOf(event) >= during;
    });
    await busy.until("turn_ended");
    const after = feed.events.length;
    await feed.until("capacity", (event) => {
      return event.sessions.idle === 2 && feed.events.indexOf(event) >= after;
    });
    await fetch(`${server.url}/v1/sessions/${other.sessionId}`, { method: "DELETE" });
    const deleted = feed.events.length;
    const one = await feed.until("capacity", (event) => {
      return event.sessions.idle === 1 && feed.events.indexOf(event) >= deleted;
    });
    expect(one.sessions.transcriptBytes).toBe(sessions.transcriptBytes);
  });

  it("shows a turn through its stages to its end", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [SHELL] });
    using feed = await FeedClient.open(server.url);
    const outcome = await ask(server, "Use the shell");
    const turn = await feed.ended(outcome.turnId);
    expect(stagesOf(turn)).toEqual([
      "waiting",
      "starting",
      "thinking",
      "writing",
      "thinking",
      "tool Bash",
      "thinking",
      "writing",
      "thinking",
      "ending",
      "ended",
    ]);
    const since = turn.stages.map(({ sinceMs }) => sinceMs);
    expect(since).toEqual(since.toSorted((one, other) => one - other));
    expect(since[0]).toBe(turn.startedAtMs);
    expect(since.at(-1)).toBe(turn.endedAtMs);
    expect(turn).toMatchObject({ processSource: "started", toolCalls: 1, toolsEnded: 0 });
    expect(turn.predictedBytes).toBeGreaterThan(0);
    expect(turn.peakBytes).toBeGreaterThan(0);
    expect(turn.firstTokenMs).toBe(outcome.usage.firstTokenMs);
  });

  it("tells why a turn was shed, in the words of the gate; such a turn is none", async () => {
    const options = { script: SCRIPT, agents: [SHELL], settings: FOR_ONE };
    await using server = await startServer(options);
    using feed = await FeedClient.open(server.url);
    const only = await stream(server, "Please hang");
    const { detail } = await refusal(post(server, "Hello"));
    const shed = await feed.until("decision", ({ admitted }) => !admitted);
    expect(shed).toMatchObject({ reason: "memory", agent: "helper", tenant: "default", untold: 0 });
    expect(shed.text).toMatch(/^shed \(memory\): .* MiB committed; this turn is predicted/);
    expect(detail).toContain(shed.text.replace("shed (memory): ", ""));
    // One without a process has no peak.
    await feed.until("turn", ({ turn }) => turn.stages.at(-1)?.stage === "writing");
    await fetch(`${server.url}/v1/turns/${only.turnId}/cancel`, { method: "POST" });
    const { outcome, peakBytes } = await feed.ended(only.turnId);
    expect(outcome).toEqual({ status: "cancelled", detail: "cancel_requested", message: null });
    expect(peakBytes).not.toBeNull();
    const ids = feed.of("turn").map(({ turn }) => turn.turnId);
    expect(new Set(ids)).toEqual(new Set([only.turnId]));
    await until(() => feed.capacity?.shed.memory === 1, "the load to be told anew");
  });

  it("names what the memory guard has ended, and in which turn", async () => {
    await using server = await startServer({
      script: SCRIPT,
      agents: [`${SHELL}limits: { turnMemory: 512MiB }\n`],
      settings: { "capacity.memoryLimit": "4GiB", "agentProcess.ownGroup": "false" },
    });
    using feed = await FeedClient.open(server.url);
    const { turnId } = await ask(server, "Balloon");
    const ended = await feed.until("guard");
    expect(ended).toMatchObject({ by: "guard", what: "tool", turnId });
    expect(ended.bytes).toBeGreaterThan(2 ** 27);
    expect(ended.text).toMatch(/ended a tool: it held .* of the 512 MiB that one turn may hold/);
    const turn = await feed.ended(turnId);
    expect(turn.toolsEnded).toBeGreaterThan(0);
    expect(turn.outcome).toMatchObject({ status: "completed" });
    using later = await FeedClient.open(server.url);
    expect((await later.until("recent")).guard).toContainEqual(ended);
  });

  it.skipIf(noGroups !== null)(
    `names what the kernel has ended at the ceiling of a turn${noGroups ? `: ${noGroups}` : ""}`,
    async () => {
      await using server = await startServer({
        script: SCRIPT,
        agents: [`${SHELL}limits: { turnMemory: 512MiB }\n`],
        settings: { "capacity.memoryLimit": "4GiB", "capacity.guard": "false" },
      });
      using feed = await FeedClient.open(server.url);
      const { turnId } = await ask(server, "Balloon");
      expect(await feed.until("guard")).toMatchObject({ by: "kernel", what: "tool", turnId });
      const turn = await feed.ended(turnId);
      expect(turn).toMatchObject({ toolsEnded: 0, outcome: { status: "completed" } });
      expect(turn.toolsKilled).toBeGreaterThan(0);
    },
  );

  it("has the turns of a burst that is over before its step is", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [SHELL] });
    await Promise.all([1, 2].map((n) => ask(server, "Hello", { threadId: `burst ${n}` })));
    const most = async () => {
      using feed = await FeedClient.open(server.url);
      return Math.max(...(await feed.until("history")).inflight.map((count) => count ?? 0));
    };
    // As the step ends.
    await until(async () => (await most()) === 2, "the history to have both at once");
  });

  it("is the same for all who read it, and for who comes back", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [SHELL] });
    using one = await FeedClient.open(server.url);
    using other = await FeedClient.open(server.url);
    for (const feed of [one, other]) await feed.until("capacity");
    const { turnId } = await ask(server, "Use the shell");
    const ended = await one.ended(turnId);
    expect(await other.ended(turnId)).toEqual(ended);
    expect(other.of("turn")).toEqual(one.of("turn"));
    expect(other.of("decision")).toEqual(one.of("decision"));
    one.leave();
    using again = await FeedClient.open(server.url);
    expect((await again.until("recent")).turns).toEqual([ended]);
  });

  it("has the steps that are over, also of the time in which nobody read", async () => {
    const settings = { "capacity.memoryLimit": "4GiB" };
    await using server = await startServer({ script: SCRIPT, agents: [SHELL], settings });
    await ask(server, "Hello");
    const lastSteps = async () => {
      using feed = await FeedClient.open(server.url);
      return await feed.until("history");
    };
    const known = (column: readonly (number | null)[]) => column.filter((value) => value !== null);
    // On a busy machine it may have come in the second step.
    const isOver = async () => known((await lastSteps()).firstTokenMs).length > 0;
    await until(isOver, "the step of the first token", 45_000);
    const { firstTokenMs, limitBytes, shed } = await lastSteps();
    expect([limitBytes.at(-1), shed.at(-1)]).toEqual([4 * 2 ** 30, 0]);
    expect(known(firstTokenMs)).toHaveLength(1);
  });

  it("has sixteen readers, and no HEAD", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [SHELL] });
    const readers = await Promise.all(
      Array.from({ length: 16 }, () => FeedClient.open(server.url)),
    );
    const refused = await askForFeed(server.url);
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(await refusal(refused)).toMatchObject({ status: 429, code: "too_many_readers" });
    readers[3]?.leave();
    const isTaken = async () => {
      const answer = await askForFeed(server.url);
      await answer.body?.cancel();
      return answer.status === 200;
    };
    await until(isTaken, "the place of who left");
    for (const reader of readers) reader.leave();
    const head = await fetch(`${server.url}/v1/feed`, { method: "HEAD" });
    expect(head.status).toBe(405);
  });

  it("ends in order when the server stops, after the end of the last turn", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [SHELL] });
    using feed = await FeedClient.open(server.url);
    const last = await stream(server, "Speak slowly");
    await last.until("text_delta");
    // One who never reads keeps nobody waiting, either.
    const silent = await silentReader(server.url);
    const stopped = server.stop();
    await feed.closed;
    expect(feed.of("capacity").at(-1)?.readiness.state).toBe("draining");
    expect(await feed.ended(last.turnId)).toMatchObject({ outcome: { status: "completed" } });
    await stopped;
    silent.destroy();
  });
});

/** Takes the head of the answer, and none of its body. */
async function silentReader(url: string): Promise<IncomingMessage> {
  const request = get(`${url}/v1/feed`, { agent: false });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.on("error", () => undefined);
  return response.pause();
}
