/**
 * Goal: a process that stays between the turns of its session makes the next one faster, and
 * nothing worse: context, cost and tokens are as with a fresh process, it belongs to its session
 * alone, and it is gone when it should be.
 * Method: the real server over HTTP, with agents that linger and a long-running one; processes are
 * looked at, killed and outdated from outside.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { NO_CACHE } from "../../src/capacity/process-cache.ts";
import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { onlyOne, processesWith, programOf, until, withoutChildren } from "../helpers/leaks.ts";
import { startServer, type InProcessServer, type TestServer } from "../helpers/server.ts";
import { ask, post, refusal, stream, textOfRequest } from "./client.ts";
import { sayElsewhere } from "./transcripts.ts";
import { inThreeTries, waitedLong } from "./tries.ts";

const SCRIPT = `
defaults: { firstTokenMs: 1, tokensPerSecond: 2000 }
rules:
  - when: { userText: "/slowly$/" }
    reply: [{ tokens: 400 }]
    tokensPerSecond: 20
  - when: { userText: "/at length$/" }
    reply: [{ tokens: 300 }]
  - when: { userText: "/refuse me$/" }
    error: { status: 400 }
  - when: { userText: "/who am I\\\\?$/", afterTool: false }
    reply: [{ tool: { name: mcp__tools__whoami, input: {} } }]
  - when: { afterTool: true }
    reply: [{ text: "{{toolResult}}" }]
  - reply: [{ text: "Yes: {{userText}}" }]
`;

const LINGERS = `
name: lingers
instructions: You are a test.
tools: { functions: [$FIXTURES/tools.js] }
hosting: { linger: 10m }
`;
const BRIEFLY = `
name: briefly
instructions: You are a test.
hosting: { linger: 1500ms }
`;
const STAYS = `
name: stays
instructions: You are a test.
hosting: { pattern: long-running }
`;
const STAYS_BRIEFLY = `
name: stays-briefly
instructions: You are a test.
hosting: { pattern: long-running, idleTime: 1500ms }
`;

const SPARED = `
name: spared
instructions: You are a test.
hosting: { spares: 1 }
`;

/** How long one that is cancelled may take to end its turn and stay; less what clocks cut off. */
const CANCEL_GRACE_MS = 600 - 50;

/** As set by default. */
const PARENT_RESERVE_BYTES = 400 * 1024 * 1024;

let server: InProcessServer;
beforeAll(async () => {
  server = await startServer({ script: SCRIPT, agents: [LINGERS, BRIEFLY, STAYS, STAYS_BRIEFLY] });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Main processes of agents, without their tools and what else they start for a moment. */
function agentPids({ serverId }: TestServer): readonly number[] {
  const all = withoutChildren(processesWith("PLIMSOLL_SERVER_ID", serverId));
  return all.filter((pid) => programOf(pid).endsWith("/claude"));
}

function agentPid(of: TestServer = server): Promise<number> {
  return onlyOne(() => agentPids(of), "one agent process, and no other");
}

function lastAsked(): string {
  const request = server.asked.at(-1);
  return request === undefined ? "" : textOfRequest(request);
}

let threads = 0;
function newThread(): string {
  threads += 1;
  return `thread-${threads}`;
}

async function noneLeft(): Promise<void> {
  const all = () => processesWith("PLIMSOLL_SERVER_ID", server.serverId);
  await until(() => all().length === 0, "no agent process to be left");
}

async function deleteSession(sessionId: string): Promise<void> {
  const response = await fetch(`${server.url}/v1/sessions/${sessionId}`, { method: "DELETE" });
  expect(response.status).toBe(204);
}

describe("a process that lingers", () => {
  it("takes the session's next turn, which is told as if it had a process of its own", async () => {
    await inThreeTries(async () => {
      const asking = { agent: "lingers", threadId: newThread() };
      const first = await ask(server, "My name is Ann.", asking);
      const pid = await agentPid();
      const second = await ask(server, "Do you remember?", asking);
      const worked = (await agentPid()) === pid;

      expect(second).toMatchObject({ status: "completed", text: "Yes: Do you remember?" });
      expect(lastAsked()).toContain("My name is Ann.");
      expect(second.sessionId).toBe(first.sessionId);
      // What the second turn alone used: the totals of the session are the sum.
      expect(second.usage.steps).toBe(1);
      expect(second.usage.outputTokens).toBeLessThan(2 * first.usage.outputTokens);
      const response = await fetch(`${server.url}/v1/sessions/${first.sessionId}`);
      const session = (await response.json()) as {
        turns: number;
        isBusy: boolean;
        costUsd: number;
      };
      expect(session).toMatchObject({ turns: 2, isBusy: false });
      expect(session.costUsd).toBeCloseTo(first.usage.costUsd + second.usage.costUsd, 9);
      await deleteSession(first.sessionId);
      await noneLeft();
      return { worked, wasHeldUp: waitedLong(second) };
    }, "the process takes the session's next turn");
  });

  it("makes a turn faster than one that has to start its own", async () => {
    const asking = { agent: "lingers", threadId: newThread() };
    const first = await ask(server, "Hello", asking);
    const [startedMs, nextMs] = [first.usage.firstTokenMs ?? 0, [] as number[]];
    // A machine that is busy holds up one turn or another, but not six of them for as long as a start.
    const isFaster = () => Math.min(...nextMs) < startedMs;
    while (!isFaster() && nextMs.length < 6) {
      const { usage } = await ask(server, "Once more", asking);
      nextMs.push(usage.firstTokenMs ?? Infinity);
    }
    expect(isFaster(), JSON.stringify({ startedMs, nextMs })).toBe(true);
    await deleteSession(first.sessionId);
    await noneLeft();
  });

  it("teaches with each turn what a turn holds", async () => {
    const learned = async () => (await server.capacity()).footprints["briefly"]?.samples;
    const asking = { agent: "briefly", threadId: newThread() };
    for (const count of [1, 2]) {
      await ask(server, "Hello", asking);
      expect(await learned()).toBe(count);
    }
    await noneLeft();
  });

  it("calls function tools for the turn it works for", async () => {
    const asking = { agent: "lingers", threadId: newThread() };
    for (const say of ["Now, who am I?", "And now, who am I?"]) {
      const { turnId, sessionId, text } = await ask(server, say, asking);
      expect(text).toBe(`turn ${turnId} of session ${sessionId}`);
    }
    await deleteSession((await ask(server, "Bye", asking)).sessionId);
    await noneLeft();
  });

  it("belongs to its session alone", async () => {
    const [one, other] = [newThread(), newThread()];
    const first = await ask(server, "One", { agent: "lingers", threadId: one });
    const pid = await agentPid();
    const second = await ask(server, "Other", { agent: "lingers", threadId: other });
    await until(() => agentPids(server).length === 2, "one process for each session");
    expect(agentPids(server)).toContain(pid);
    expect(lastAsked()).not.toContain("One");
    for (const { sessionId } of [first, second]) await deleteSession(sessionId);
    await noneLeft();
  });

  it("is gone when its time is over, and the session goes on without it", async () => {
    const asking = { agent: "briefly", threadId: newThread() };
    const before = await expired();
    await ask(server, "My name is Ben.", asking);
    // It stays for so short a time that it may be gone before anybody can look.
    await until(async () => (await expired()) === before + 1, "a process that stayed to go");
    await noneLeft();
    await ask(server, "Do you remember?", asking);
    expect(lastAsked()).toContain("My name is Ben.");
    await noneLeft();
    expect(await expired()).toBe(before + 2);
  });

  it.each([
    ["a cancel", "Count slowly"],
    ["an error of the model", "Please refuse me"],
  ])("goes on after %s, and knows what was said before", async (_what, say) => {
    const isCancelled = say.endsWith("slowly");
    await inThreeTries(async () => {
      const asking = { agent: "lingers", threadId: newThread() };
      const { sessionId } = await ask(server, "My name is Cleo.", asking);
      const pid = await agentPid();
      const turn = await stream(server, say, asking);
      if (isCancelled) await turn.until("text_delta");
      const beganAtMs = performance.now();
      if (isCancelled) await cancel(turn.turnId);
      const outcome = await turn.outcome();
      const wasForced = isCancelled && performance.now() - beganAtMs > CANCEL_GRACE_MS;
      expect(outcome.status).not.toBe("completed");
      const stayed = agentPids(server).includes(pid);
      const next = await (await stream(server, "Go on", asking)).outcome();
      expect(lastAsked()).toContain("My name is Cleo.");
      const worked = stayed && (await agentPid()) === pid;
      await deleteSession(sessionId);
      await noneLeft();
      return { worked, wasHeldUp: wasForced || waitedLong(outcome) || waitedLong(next) };
    }, "the process goes on");
  });

  it.each(["SIGKILL", "SIGSTOP"] as const)("is replaced after a %s", async (signal) => {
    const asking = { agent: "lingers", threadId: newThread() };
    const { sessionId } = await ask(server, "My name is Dora.", asking);
    const pid = await agentPid();
    process.kill(pid, signal);
    expect(await ask(server, "Go on", asking)).toMatchObject({ status: "completed" });
    expect(lastAsked()).toContain("My name is Dora.");
    expect(agentPids(server)).not.toContain(pid);
    await deleteSession(sessionId);
    await noneLeft();
  });

  it("is replaced when its session had a turn elsewhere", async () => {
    const asking = { agent: "lingers", threadId: newThread() };
    const { sessionId } = await ask(server, "My name is Emil.", asking);
    const pid = await agentPid();
    await sayElsewhere(server, sessionId, "My name is Frida now.");
    expect(await ask(server, "Go on", asking)).toMatchObject({ status: "completed" });
    expect(lastAsked()).toContain("My name is Frida now.");
    expect(await agentPid()).not.toBe(pid);
    expect(await keptEnded("resident", "outdated")).toBe(1);
    await deleteSession(sessionId);
    await noneLeft();
  });

  it("leaves its session's sums right when it is killed", async () => {
    const asking = { agent: "lingers", threadId: newThread() };
    const { sessionId } = await ask(server, "One", asking);
    const spent = async () => {
      const response = await fetch(`${server.url}/v1/sessions/${sessionId}`);
      return ((await response.json()) as { costUsd: number }).costUsd;
    };
    // Where it missed a turn it ends in order, and the transcript has what it counted.
    await sayElsewhere(server, sessionId, "Something else");
    await ask(server, "Speak at length", asking);
    const before = await spent();
    process.kill(await agentPid(), "SIGKILL");
    await noneLeft();
    const { usage } = await ask(server, "Two", asking);
    expect(usage.outputTokens).toBeLessThanOrEqual(10);
    expect(await spent()).toBeCloseTo(before + usage.costUsd, 9);
    await deleteSession(sessionId);
    await noneLeft();
  });

  it("makes room for a turn that needs it", async () => {
    const settings = { "capacity.memoryLimit": "960MiB", "capacity.admission": "static" };
    await using small = await startServer({ script: SCRIPT, agents: [LINGERS], settings });
    const threadId = newThread();
    await ask(small, "My name is Gerd.", { agent: "lingers", threadId });
    const resident = await agentPid(small);
    const committed = () => small.gate.snapshot(monotonicMs()).committedBytes;
    await until(() => committed() > PARENT_RESERVE_BYTES, "the resident to be measured");
    const turn = await stream(small, "Count slowly", { agent: "lingers", threadId: newThread() });
    await turn.until("text_delta");
    expect(agentPids(small)).not.toContain(resident);
    expect(await keptEnded("resident", "evicted", small)).toBe(1);
    turn.leave();
    await until(() => small.gate.snapshot(monotonicMs()).inflight === 0, "the turn to end");
    const next = await ask(small, "Do you remember?", { agent: "lingers", threadId });
    expect(next.status).toBe("completed");
    expect(textOfRequest(small.asked.at(-1)!)).toContain("My name is Gerd.");
  });
});

describe("a process whose turn waits for room", () => {
  it.each([
    ["one that lingers", "My name is Ida."],
    ["a spare", null],
  ])("is a turn's to the memory guard from its admission on: %s", async (_, said) => {
    await inThreeTries(async () => {
      await using small = await startServer({ script: SCRIPT, agents: [LINGERS, SPARED] });
      const asking = { agent: said === null ? "spared" : "lingers", threadId: newThread() };
      const hasSpare = async () => (await small.capacity()).kept.spares === 1;
      await until(hasSpare, "a spare that can be taken");
      if (said !== null) await ask(small, said, asking);
      const kind = said === null ? "spare" : "resident";
      const waiting = async () => (await small.capacity()).turns.find((each) => each.kind === kind);
      await until(async () => (await waiting()) !== undefined, `a ${kind} that waits`);
      const { processId } = (await waiting())!;
      using room = holdRoom(small);
      const turn = await stream(small, "Go on", asking);
      await turn.until("turn_started");
      const { turns } = await small.capacity();
      const own = turns.find((each) => each.processId === processId);
      if (own !== undefined) expect(own.kind).toBe("turn");
      if (own !== undefined) expect(own.predictedBytes).toBeGreaterThan(0);
      room.free();
      const outcome = await turn.outcome();
      expect(outcome).toMatchObject({ status: "completed" });
      return { worked: own !== undefined, wasHeldUp: waitedLong(outcome) };
    }, "it is the turn's");
  });

  it("is a turn's no longer than a turn may take", async () => {
    const hasty = `${LINGERS}limits: { turnTime: 2s }\n`;
    await using small = await startServer({ script: SCRIPT, agents: [hasty] });
    using _room = holdRoom(small);
    const turn = await stream(small, "Hello", { agent: "lingers", threadId: newThread() });
    expect(await turn.outcome()).toMatchObject({ status: "failed", code: "turn_timeout" });
    await until(() => small.gate.snapshot(monotonicMs()).inflight === 0, "the permit to be back");
    expect(small.asked).toEqual([]);
  });

  it("is replaced when it dies meanwhile", async () => {
    await using small = await startServer({ script: SCRIPT, agents: [LINGERS] });
    const asking = { agent: "lingers", threadId: newThread() };
    await ask(small, "My name is Jan.", asking);
    const pid = await agentPid(small);
    using room = holdRoom(small);
    const turn = await stream(small, "Go on", asking);
    await turn.until("turn_started");
    process.kill(pid, "SIGKILL");
    const isGone = async () => (await small.capacity()).turns.length === 0;
    await until(isGone, "the process to be gone");
    room.free();
    expect(await turn.outcome()).toMatchObject({ status: "completed" });
    expect(textOfRequest(small.asked.at(-1)!)).toContain("My name is Jan.");
  });

  /** Turns that are admitted wait for room until it is free. */
  function holdRoom({ gate }: InProcessServer) {
    let free = () => {};
    const freed = new Promise<void>((resolve) => (free = resolve));
    gate.useCache({ ...NO_CACHE, leavingBytes: () => 1, evict: () => freed });
    return { free, [Symbol.dispose]: free };
  }
});

describe("more processes than may stay", () => {
  it("are one fewer: the least recently used one goes", async () => {
    const settings = { "capacity.maxResidents": "1" };
    await using small = await startServer({ script: SCRIPT, agents: [LINGERS], settings });
    await ask(small, "One", { agent: "lingers", threadId: newThread() });
    const first = await agentPid(small);
    await ask(small, "Two", { agent: "lingers", threadId: newThread() });
    expect(await agentPid(small)).not.toBe(first);
  });
});

describe("a long-running session", () => {
  it("keeps its process, whose memory stays committed, until it is deleted", async () => {
    await inThreeTries(async () => {
      const asking = { agent: "stays", threadId: newThread() };
      const { sessionId } = await ask(server, "My name is Hans.", asking);
      const pid = await agentPid();
      expect(server.gate.snapshot(monotonicMs())).toMatchObject({ inflight: 0, resting: 1 });
      const { kept } = await server.capacity();
      expect(kept.longRunning).toBe(1);
      expect(kept.longRunningBytes).toBeGreaterThan(2 ** 20);
      expect(kept.evictableBytes).toBe(0);
      const turn = await stream(server, "Count slowly", asking);
      await turn.until("text_delta");
      expect(server.gate.snapshot(monotonicMs())).toMatchObject({ inflight: 1, resting: 0 });
      const busy = await refusal(post(server, "Me too", asking));
      expect(busy.code).toBe("session_busy");
      const beganAtMs = performance.now();
      await cancel(turn.turnId);
      const outcome = await turn.outcome();
      const wasForced = performance.now() - beganAtMs > CANCEL_GRACE_MS;
      const { inflight, resting } = server.gate.snapshot(monotonicMs());
      expect(inflight).toBe(0);
      const worked = resting === 1 && agentPids(server).includes(pid);
      await deleteSession(sessionId);
      await noneLeft();
      await until(() => server.gate.snapshot(monotonicMs()).resting === 0, "the permit to be back");
      return { worked, wasHeldUp: wasForced || waitedLong(outcome) };
    }, "the process stays, and its permit rests");
  });

  it("ends its process after a long silence, and is continued by another", async () => {
    const asking = { agent: "stays-briefly", threadId: newThread() };
    const before = await expired();
    await ask(server, "My name is Ines.", asking);
    // As above: it stayed, and may be gone by now.
    await until(async () => (await expired()) === before + 1, "the process to go");
    await noneLeft();
    await until(() => server.gate.snapshot(monotonicMs()).resting === 0, "the permit to be back");
    await ask(server, "Do you remember?", asking);
    expect(lastAsked()).toContain("My name is Ines.");
    await noneLeft();
  });

  it("ends with the server, at once, and is continued by the next", async () => {
    const threadId = newThread();
    await using first = await startServer({ script: SCRIPT, agents: [STAYS] });
    await ask(first, "My name is Jan.", { agent: "stays", threadId });
    await agentPid(first);
    await first.stop();
    expect(agentPids(first)).toEqual([]);
    expect(first.gate.snapshot(monotonicMs()).resting).toBe(0);
    const { directory } = first;
    await using second = await startServer({ script: SCRIPT, agents: [STAYS], directory });
    await ask(second, "Do you remember?", { agent: "stays", threadId });
    expect(textOfRequest(second.asked.at(-1)!)).toContain("My name is Jan.");
  });
});

function cancel(turnId: string): Promise<Response> {
  return fetch(`${server.url}/v1/turns/${turnId}/cancel`, { method: "POST" });
}

/** Processes that stayed between turns until their time was over. */
async function expired(): Promise<number> {
  return (await keptEnded("resident", "expired")) || 0;
}

async function keptEnded(kind: string, reason: string, of: TestServer = server): Promise<number> {
  const line = (await of.metrics())
    .split("\n")
    .find((text) => text.includes(`"${kind}"`) && text.includes(`end_reason="${reason}"`));
  return Number(line?.split(" ").at(-1) ?? Number.NaN);
}
