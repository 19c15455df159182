/**
 * Goal: a process that was started ahead for a session has its next turn, which is as with a
 * process of its own; and the hint costs nobody anything: no turn is refused or kept waiting for
 * it, it takes no room that a turn needs, and whoever repeats it starts nothing.
 * Method: the real server over HTTP. One agent starts slowly, since its MCP server does, so that
 * turns, deletions and signals meet a process that is starting.
 */

import { appendFile, rm, truncate, writeFile } from "node:fs/promises";
import { createHash, randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import { environmentOf, onlyOne, processesWith, until, withoutChildren } from "../helpers/leaks.ts";
import { startServer, type InProcessServer, type TestServer } from "../helpers/server.ts";
import { ask, post, refusal, stream, textOfRequest, type Asking } from "./client.ts";
import { sayElsewhere, transcriptOf } from "./transcripts.ts";
import { inThreeTries, type Try, waitedLong } from "./tries.ts";

const SCRIPT = `
defaults: { firstTokenMs: 1, tokensPerSecond: 2000 }
rules:
  - when: { userText: "/slowly$/" }
    reply: [{ tokens: 400 }]
    tokensPerSecond: 20
  - when: { userText: "/who am I\\\\?$/", afterTool: false }
    reply: [{ tool: { name: mcp__tools__whoami, input: {} } }]
  - when: { afterTool: true }
    reply: [{ text: "{{toolResult}}" }]
  - reply: [{ text: "Yes: {{userText}}" }]
`;

const PLAIN = `
name: plain
instructions: You are a test.
tools: { functions: [$FIXTURES/tools.js] }
`;
/** @param before What its MCP server waits for. */
const waitsFor = (name: string, before: string) => `
name: ${name}
instructions: You are a test.
tools:
  mcp:
    vault:
      type: stdio
      command: sh
      args: [-c, "${before}; exec node ${join(import.meta.dirname, "../turn/mcp-server.mjs")}"]
`;
const SLOW = waitsFor("slow", "sleep 1");
/** Its processes do not start before this file is there. */
const GATE = join(tmpdir(), `plimsoll-gate-${randomUUID()}`);
const GATED = waitsFor("gated", `until [ -e ${GATE} ]; do sleep 0.1; done`);
const LINGERS = `
name: lingers
instructions: You are a test.
hosting: { linger: 10m }
`;
const STAYS = `
name: stays
instructions: You are a test.
hosting: { pattern: long-running, idleTime: 1h }
`;
const STAYS_BRIEFLY = `
name: stays-briefly
instructions: You are a test.
hosting: { pattern: long-running, idleTime: 1500ms }
`;

/** How long a process that was started in vain is too soon for another; less what clocks cut off. */
const IN_VAIN_PAUSE_MS = 10_000 - 50;

let server: InProcessServer;
let threads = 0;

interface Said extends Asking {
  readonly agent: string;
  readonly sessionId: string;
}

/** A session that has had a turn. */
async function begin(agent: string, say: string, on: TestServer = server): Promise<Said> {
  threads += 1;
  const { sessionId } = await ask(on, say, { agent, threadId: `thread-${threads}` });
  return { agent, sessionId };
}

function hint({ sessionId }: Said, on: TestServer = server, key?: string): Promise<Response> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  return fetch(`${on.url}/v1/sessions/${sessionId}/warm`, { method: "POST", headers });
}

async function warm(said: Said, on: TestServer = server, key?: string): Promise<string> {
  const response = await hint(said, on, key);
  expect(response.status).toBe(202);
  const answer = (await response.json()) as { warm: boolean; reason: string };
  expect(answer.warm).toBe(["started", "already_warm"].includes(answer.reason));
  return answer.reason;
}

/** The same, once its last process is gone. */
async function warmOnceFree(said: Said, on: TestServer = server, key?: string): Promise<string> {
  let reason = "";
  const isFree = async () => (reason = await warm(said, on, key)) !== "busy";
  await until(isFree, "its process to be gone");
  return reason;
}

/** Gives the hint again after a process that ended no sooner than then, without a turn. */
async function triedTooSoon(said: Said, endedAtMs: number, on: TestServer = server): Promise<Try> {
  const worked = (await warmOnceFree(said, on)) === "too_soon";
  return { worked, wasHeldUp: performance.now() - endedAtMs > IN_VAIN_PAUSE_MS };
}

/** Starts a process for the session, and waits until it waits. */
async function warmed(said: Said, on: TestServer = server): Promise<number> {
  expect(await warmOnceFree(said, on)).toBe("started");
  await warmedPid(on);
  await startsAreOver(on);
  return warmedPid(on);
}

function warmedPid(on: TestServer = server): Promise<number> {
  return onlyOne(() => warmedPids(on), "a process that was started ahead");
}

async function startsAreOver(on: TestServer = server): Promise<void> {
  await until(async () => (await on.capacity()).cpu.starting === 0, "all starts to be over");
}

function agentPids({ serverId }: TestServer): readonly number[] {
  return processesWith("PLIMSOLL_SERVER_ID", serverId);
}

/** Claude Code, without its MCP server, that was started ahead, whether it has its turn or not. */
function warmedPids(on: TestServer): readonly number[] {
  return withoutChildren(agentPids(on)).filter((pid) => {
    const environment = environmentOf(pid);
    const isAhead = environment.some((entry) => entry.startsWith("PLIMSOLL_TURN_ID=warmed-"));
    return isAhead && !environment.some((entry) => entry.startsWith("CLAUDECODE="));
  });
}

function sourceOf(turnId: string, { logs }: TestServer = server): unknown {
  return logs.find((line) => line["turnId"] === turnId && "process" in line)?.["process"];
}

/** Of a turn that is to have the process that was started ahead for it. */
function triedWith(
  turn: Parameters<typeof waitedLong>[0] & { readonly turnId: string },
  on: TestServer = server,
): Try {
  return { worked: sourceOf(turn.turnId, on) === "warmed", wasHeldUp: waitedLong(turn) };
}

function lastAsked({ asked }: TestServer = server): string {
  return textOfRequest(asked.at(-1) ?? { messages: "", system: "" });
}

async function noneLeft(on: TestServer = server): Promise<void> {
  await until(() => agentPids(on).length === 0, "no agent process to be left");
}

async function deleteSession({ sessionId }: Said, on: TestServer = server): Promise<void> {
  const response = await fetch(`${on.url}/v1/sessions/${sessionId}`, { method: "DELETE" });
  expect(response.status).toBe(204);
}

async function cancel(turnId: string, on: TestServer = server): Promise<void> {
  await fetch(`${on.url}/v1/turns/${turnId}/cancel`, { method: "POST" });
}

async function residentsEnded(reason: string, of: TestServer = server): Promise<number> {
  const page = (await of.metrics()).split("\n");
  const line = page.find((text) => text.includes('"resident"') && text.includes(`"${reason}"`));
  return Number(line?.split(" ").at(-1) ?? 0);
}

/** Takes so much that less is free than the guard can bear. The server is in this process. */
async function fillToTheBrake(on: TestServer): Promise<Buffer> {
  const { limitBytes, safetyReserveBytes, memory } = await on.capacity();
  return Buffer.alloc(limitBytes - memory.bytes - safetyReserveBytes / 2, 1);
}

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc()");
}

describe("a process that was started ahead for a session", () => {
  beforeAll(async () => {
    server = await startServer({
      script: SCRIPT,
      agents: [PLAIN, SLOW, GATED, LINGERS, STAYS, STAYS_BRIEFLY],
    });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it("has its next turn, told as if it had a process of its own, and ends with it", async () => {
    await inThreeTries(async () => {
      const said = await begin("plain", "My name is Ann.");
      const asked = server.asked.length;
      const pid = await warmed(said);
      expect(await server.capacity()).toMatchObject({ inflight: 0, kept: { residents: 1 } });
      expect(server.asked).toHaveLength(asked);

      const turn = await stream(server, "Count slowly", said);
      await turn.until("text_delta");
      const pids = warmedPids(server);
      expect(lastAsked()).toContain("My name is Ann.");
      await cancel(turn.turnId);
      const { turnId } = turn;
      const { worked, wasHeldUp } = triedWith({ ...(await turn.outcome()), turnId });
      if (worked) expect(pids).toEqual([pid]);
      await noneLeft();

      const next = await ask(server, "Do you remember?", said);
      expect(sourceOf(next.turnId)).toBe("started");
      expect(lastAsked()).toContain("My name is Ann.");
      expect(lastAsked()).toContain("Count slowly");
      return { worked, wasHeldUp };
    }, "it has the session's next turn");
  });

  it("counts cost for the turn alone, teaches what it held, and calls function tools", async () => {
    await inThreeTries(async () => {
      const said = await begin("plain", "Hello");
      const read = async () => {
        const response = await fetch(`${server.url}/v1/sessions/${said.sessionId}`);
        return (await response.json()) as { turns: number; costUsd: number };
      };
      const learned = async () => (await server.capacity()).footprints["plain"]?.samples ?? 0;
      const before = await read();
      const samples = await learned();
      await warmed(said);
      const turn = await ask(server, "Now, who am I?", said);
      expect(turn.text).toBe(`turn ${turn.turnId} of session ${said.sessionId}`);
      const after = await read();
      expect(after.turns).toBe(2);
      expect(await learned()).toBe(samples + 1);
      expect(after.costUsd).toBeCloseTo(before.costUsd + turn.usage.costUsd, 9);
      return triedWith(turn);
    }, "the turn is counted with the process that was started ahead for it");
  });

  it("stays after its turn where the agent's processes do", async () => {
    await inThreeTries(async () => {
      const said = await begin("lingers", "Hello");
      expect(await warm(said)).toBe("already_warm");
      const resident = await onlyOne(() => withoutChildren(agentPids(server)), "its process");
      process.kill(resident, "SIGKILL");
      await until(async () => (await server.capacity()).kept.residents === 0, "it to be forgotten");
      const pid = await warmed(said);
      const first = await ask(server, "One", said);
      const second = await ask(server, "Two", said);
      const worked = triedWith(first).worked && sourceOf(second.turnId) === "resident";
      if (worked) expect(warmedPids(server)).toEqual([pid]);
      await deleteSession(said);
      await noneLeft();
      return { worked, wasHeldUp: waitedLong(first) || waitedLong(second) };
    }, "it has two turns");
  });

  it("is one, however often it is asked for", async () => {
    const said = await begin("plain", "Hello");
    const reasons = await Promise.all(Array.from({ length: 5 }, () => warm(said)));
    expect(reasons.toSorted()).toEqual([...Array<string>(4).fill("already_warm"), "started"]);
    await startsAreOver();
    expect(await warm(said)).toBe("already_warm");
    expect(warmedPids(server)).toHaveLength(1);
    await deleteSession(said);
    await noneLeft();
  });

  it("has a turn that comes while it is starting", async () => {
    await inThreeTries(async () => {
      const said = await begin("slow", "My name is Ben.");
      expect(await warm(said)).toBe("started");
      const next = await ask(server, "Do you remember?", said);
      expect(next.status).toBe("completed");
      expect(lastAsked()).toContain("My name is Ben.");
      await noneLeft();
      return triedWith(next);
    }, "it has the turn for which it is still starting");
  });

  it.each(["starting", "waiting"])("is replaced when it dies as it is %s", async (state) => {
    const said = await begin(state === "waiting" ? "plain" : "slow", "My name is Cleo.");
    expect(await warm(said)).toBe("started");
    await warmedPid();
    if (state === "waiting") await startsAreOver();
    const pid = await warmedPid();
    const next = ask(server, "Do you remember?", said);
    process.kill(pid, "SIGKILL");
    expect(await next).toMatchObject({ status: "completed" });
    expect(sourceOf((await next).turnId)).toBe("started");
    expect(lastAsked()).toContain("My name is Cleo.");
    await noneLeft();
  });

  it("is forgotten when it dies before its turn, and not started again at once", async () => {
    await inThreeTries(async () => {
      await writeFile(GATE, "");
      const said = await begin("gated", "Hello");
      await rm(GATE);
      expect(await warm(said)).toBe("started");
      const pid = await warmedPid();
      const diesAtMs = performance.now();
      process.kill(pid, "SIGKILL");
      await until(async () => (await server.capacity()).kept.residents === 0, "it to be forgotten");
      const tried = await triedTooSoon(said, diesAtMs);
      await deleteSession(said);
      await noneLeft();
      const line = server.logs.findLast(({ msg }) => msg === "Cannot start a process ahead");
      expect(line).toMatchObject({ level: "warn", agent: "gated", sessionId: said.sessionId });
      return tried;
    }, "it is not started again at once");
  });

  it.each(["starting", "waiting"])("goes with its session, also while it is %s", async (state) => {
    const agent = state === "waiting" ? "plain" : "slow";
    const said = await begin(agent, "Hello");
    expect(await warm(said)).toBe("started");
    if (state === "waiting") await startsAreOver();
    await deleteSession(said);
    await noneLeft();
    expect(await refusal(hint(said))).toMatchObject({ status: 410, code: "session_gone" });
    const anew = await ask(server, "Good morning", { agent, threadId: `thread-${threads}` });
    expect(anew.sessionId).toBe(said.sessionId);
    expect(lastAsked()).not.toContain("Hello");
  });

  it("is replaced when its session had a turn elsewhere", async () => {
    const said = await begin("plain", "My name is Emil.");
    await warmed(said);
    await sayElsewhere(server, said.sessionId, "My name is Frida now.");
    const next = await ask(server, "Go on", said);
    expect(sourceOf(next.turnId)).toBe("started");
    expect(lastAsked()).toContain("My name is Frida now.");
    expect(await residentsEnded("outdated")).toBe(1);
    await noneLeft();
  });

  it("resumes a transcript that was cut off", async () => {
    await inThreeTries(async () => {
      const said = await begin("plain", "My name is Gerd.");
      await appendFile(await transcriptOf(server.directory, said.sessionId), '{"type":"user","mes');
      await warmed(said);
      const next = await ask(server, "Do you remember?", said);
      expect(lastAsked()).toContain("My name is Gerd.");
      return triedWith(next);
    }, "it resumes what was cut off");
  });

  it("is not started while a turn has the session, nor with nothing to resume", async () => {
    const said = await begin("plain", "Hello");
    const turn = await stream(server, "Count slowly", said);
    await turn.until("text_delta");
    expect(await warm(said)).toBe("busy");
    await cancel(turn.turnId);
    await turn.outcome();
    await truncate(await transcriptOf(server.directory, said.sessionId));
    expect(await warm(said)).toBe("nothing_to_resume");
    expect(agentPids(server)).toEqual([]);
  });

  it("is not started for a long-running session: a turn brings its process", async () => {
    const staying = await begin("stays", "Hello");
    expect(await warm(staying)).toBe("already_warm");
    await deleteSession(staying);
    const said = await begin("stays-briefly", "Hello");
    await noneLeft();
    expect(await warmOnceFree(said)).toBe("not_kept");
    expect(agentPids(server)).toEqual([]);
  });
});

describe("a process that was started ahead, and is not used", () => {
  it("is gone when its time is over, and the session goes on without it", async () => {
    const settings = { "capacity.warmTime": "1s" };
    await using brief = await startServer({ script: SCRIPT, agents: [PLAIN], settings });
    await inThreeTries(async () => {
      const said = await begin("plain", "My name is Ines.", brief);
      const before = await residentsEnded("expired", brief);
      const startsAtMs = performance.now();
      expect(await warm(said, brief)).toBe("started");
      const isOver = async () => (await residentsEnded("expired", brief)) === before + 1;
      await until(isOver, "the end of its time");
      await noneLeft(brief);
      const tried = await triedTooSoon(said, startsAtMs, brief);
      if (!tried.worked) return tried;
      const next = await ask(brief, "Do you remember?", said);
      expect(sourceOf(next.turnId, brief)).toBe("started");
      expect(lastAsked(brief)).toContain("My name is Ines.");
      return tried;
    }, "it is gone, and not started again at once");
  });

  it("gives way to one that is asked for later, where one alone may stay", async () => {
    const settings = { "capacity.maxResidents": "1" };
    await using single = await startServer({ script: SCRIPT, agents: [PLAIN], settings });
    await inThreeTries(async () => {
      const [one, other] = [
        await begin("plain", "One", single),
        await begin("plain", "Two", single),
      ];
      const first = await warmed(one, single);
      const goesAtMs = performance.now();
      expect(await warm(other, single)).toBe("started");
      await until(() => !warmedPids(single).includes(first), "the first to go");
      const tried = await triedTooSoon(one, goesAtMs, single);
      await warmedPid(single);
      expect((await single.capacity()).kept.residents).toBe(1);
      for (const said of [one, other]) await deleteSession(said, single);
      return tried;
    }, "the first is not started again at once");
  });

  it("is not started where none may stay", async () => {
    const settings = { "capacity.maxResidents": "0" };
    await using none = await startServer({ script: SCRIPT, agents: [PLAIN], settings });
    expect(await warm(await begin("plain", "One", none), none)).toBe("no_room");
  });

  it.each(["starting", "waiting"])("ends with the server while it is %s", async (state) => {
    const agents = [state === "waiting" ? PLAIN : SLOW];
    await using draining = await startServer({ script: SCRIPT, agents });
    const said = await begin(state === "waiting" ? "plain" : "slow", "Hello", draining);
    expect(await warm(said, draining)).toBe("started");
    if (state === "waiting") await startsAreOver(draining);
    await draining.stop();
    expect(agentPids(draining)).toEqual([]);
  });

  it("is not started by a server that drains", async () => {
    await using draining = await startServer({ script: SCRIPT, agents: [PLAIN] });
    const said = await begin("plain", "Hello", draining);
    const turn = await stream(draining, "Count slowly", { agent: "plain", threadId: "other" });
    await turn.until("text_delta");
    const stopped = draining.stop();
    await until(async () => (await fetch(`${draining.url}/readyz`)).status === 503, "unready");
    expect(await refusal(hint(said, draining))).toMatchObject({ status: 503, code: "draining" });
    draining.hurry();
    await stopped;
  });
});

describe("where memory is tight", () => {
  const settings = { "capacity.memoryLimit": "960MiB", "capacity.admission": "static" };

  it("makes room for a turn, which is admitted as if it were not there", async () => {
    await using small = await startServer({ script: SCRIPT, agents: [PLAIN], settings });
    const said = await begin("plain", "My name is Jan.", small);
    await warmed(said, small);
    const held = async () => (await small.capacity()).kept.evictableBytes > 60 * 2 ** 20;
    await until(held, "it to be measured");
    const turn = await stream(small, "Count slowly", { agent: "plain", threadId: "other" });
    await turn.until("text_delta");
    expect(warmedPids(small)).toEqual([]);
    expect(await residentsEnded("evicted", small)).toBe(1);
    expect(small.gate.snapshot(monotonicMs()).shed.memory).toBe(0);
    turn.leave();
  });

  it("is not started without room, and takes none that a turn may need", async () => {
    await using small = await startServer({ script: SCRIPT, agents: [PLAIN], settings });
    const said = await begin("plain", "Hello", small);
    const turn = await stream(small, "Count slowly", { agent: "plain", threadId: "other" });
    await turn.until("text_delta");
    expect(await warm(said, small)).toBe("no_room");
    expect(warmedPids(small)).toEqual([]);
    turn.leave();
    await until(() => small.gate.snapshot(monotonicMs()).inflight === 0, "the turn to end");
    expect(await warm(said, small)).toBe("started");
  });

  it("counts for a second one what the first will hold before it holds it", async () => {
    await using small = await startServer({ script: SCRIPT, agents: [SLOW], settings });
    const [one, other] = [await begin("slow", "One", small), await begin("slow", "Two", small)];
    const reasons = await Promise.all([warm(one, small), warm(other, small)]);
    expect(reasons.toSorted()).toEqual(["no_room", "started"]);
  });

  it("is kept for a turn that was shed", async () => {
    const more = { "capacity.maxTurns": "1", "capacity.guard": "false" };
    await using full = await startServer({ script: SCRIPT, agents: [SLOW, PLAIN], settings: more });
    await inThreeTries(async () => {
      const said = await begin("slow", "My name is Kai.", full);
      const turn = await stream(full, "Count slowly", { agent: "plain", threadId: "other" });
      await turn.until("text_delta");
      expect(await warm(said, full)).toBe("started");
      const shed = await refusal(post(full, "Do you remember?", said));
      expect(shed).toMatchObject({ status: 429, reason: "max_turns" });
      turn.leave();
      await until(() => full.gate.snapshot(monotonicMs()).inflight === 0, "the turn to end");
      const next = await ask(full, "Do you remember?", said);
      expect(lastAsked(full)).toContain("My name is Kai.");
      return triedWith(next, full);
    }, "it has the turn once that is taken");
  });
});

describe("a start", () => {
  it("is for turns first: a hint waits for none", async () => {
    const settings = { "capacity.startsAtOnce": "1" };
    await using one = await startServer({ script: SCRIPT, agents: [PLAIN, GATED], settings });
    const said = await begin("plain", "Hello", one);
    const starting = post(one, "Hello", { agent: "gated", threadId: "other" });
    await until(async () => (await one.capacity()).cpu.starting === 1, "a turn to start");
    expect(await warm(said, one)).toBe("no_room");
    await writeFile(GATE, "");
    expect((await starting).status).toBe(200);
    await rm(GATE);
  });

  it.each(["starting", "waiting"])("goes when memory is short, also as it is %s", async (state) => {
    const settings = { "capacity.memoryLimit": "3GiB" };
    await using tight = await startServer({ script: SCRIPT, agents: [SLOW], settings });
    const said = await begin("slow", "My name is Ivo.", tight);
    expect(await warmOnceFree(said, tight)).toBe("started");
    await until(() => warmedPids(tight).length === 1, "the process");
    if (state === "waiting") await startsAreOver(tight);

    let others: Buffer | null = await fillToTheBrake(tight);
    await noneLeft(tight);
    expect(others.length).toBeGreaterThan(0);
    await until(async () => (await tight.capacity()).kept.residents === 0, "it to be forgotten");
    expect(await residentsEnded("evicted", tight)).toBe(1);

    others = null;
    collectGarbage();
    await until(async () => (await tight.capacity()).guard.level === 0, "room to be back");
    const next = await ask(tight, "Do you remember?", said);
    expect(next.status).toBe("completed");
    expect(lastAsked(tight)).toContain("My name is Ivo.");
  });

  it("that hangs holds up a turn no longer than its own could", async () => {
    const settings = { "agentProcess.startTime": "20s" };
    await using hung = await startServer({ script: SCRIPT, agents: [SLOW], settings });
    const said = await begin("slow", "My name is Lea.", hung);
    expect(await warm(said, hung)).toBe("started");
    await until(() => warmedPids(hung).length === 1, "the process");
    for (const pid of warmedPids(hung)) process.kill(pid, "SIGSTOP");
    const next = await ask(hung, "Do you remember?", said);
    expect(sourceOf(next.turnId, hung)).toBe("started");
    expect(lastAsked(hung)).toContain("My name is Lea.");
    expect(warmedPids(hung)).toEqual([]);
  });

  it("that hangs holds up no cancel of the turn that waits for it", async () => {
    await using hung = await startServer({ script: SCRIPT, agents: [SLOW] });
    const said = await begin("slow", "Hello", hung);
    expect(await warm(said, hung)).toBe("started");
    await until(() => warmedPids(hung).length === 1, "the process");
    for (const pid of warmedPids(hung)) process.kill(pid, "SIGSTOP");
    const next = ask(hung, "Do you remember?", said);
    let turnId: string | undefined;
    await until(async () => {
      const list = (await (await fetch(`${hung.url}/v1/turns`)).json()) as {
        turns: readonly { turnId: string }[];
      };
      turnId = list.turns[0]?.turnId;
      return turnId !== undefined;
    }, "the turn");
    const cancelledAtMs = performance.now();
    await cancel(turnId ?? "", hung);
    expect(await next).toMatchObject({ status: "cancelled" });
    expect(performance.now() - cancelledAtMs).toBeLessThan(20_000);
    await noneLeft(hung);
  });
});

describe("a session of somebody else", () => {
  const sha256 = (key: string) => createHash("sha256").update(key).digest("hex");
  const serverFile = `
auth:
  keys:
    - { id: ada, tenant: ada, sha256: ${sha256("key-of-ada")} }
    - { id: bob, tenant: bob, role: operator, sha256: ${sha256("key-of-bob")} }
`;
  const beginAs = async (key: string, on: TestServer): Promise<Said> => {
    const { sessionId } = await ask(on, "Hello", { agent: "plain", threadId: "own", key });
    return { agent: "plain", sessionId };
  };

  it("does not exist", async () => {
    await using keyed = await startServer({ script: SCRIPT, agents: [PLAIN], serverFile });
    const said = await beginAs("key-of-ada", keyed);
    expect(await refusal(hint(said, keyed))).toMatchObject({ status: 401 });
    for (const [key, session] of [
      ["key-of-bob", said],
      ["key-of-ada", { ...said, sessionId: "none" }],
    ] as const) {
      const { status, code } = await refusal(hint(session, keyed, key));
      expect([status, code]).toEqual([404, "session_not_found"]);
    }
    expect(agentPids(keyed)).toEqual([]);
    expect((await hint(said, keyed, "key-of-ada")).status).toBe(202);
    // Also not while it is there.
    expect((await hint(said, keyed, "key-of-bob")).status).toBe(404);
  });

  it("loses no process to a hint", async () => {
    const settings = { "capacity.maxResidents": "1" };
    const options = { script: SCRIPT, agents: [PLAIN], serverFile, settings };
    await using keyed = await startServer(options);
    const [ofAda, ofBob] = [await beginAs("key-of-ada", keyed), await beginAs("key-of-bob", keyed)];
    expect(await warmOnceFree(ofAda, keyed, "key-of-ada")).toBe("started");
    expect(await warmOnceFree(ofBob, keyed, "key-of-bob")).toBe("no_room");
    expect(await warm(ofAda, keyed, "key-of-ada")).toBe("already_warm");
  });
});
