/**
 * Goal: a process that was started ahead serves the first turn of some session as one of its own
 * would, but sooner; the session is then like any other, and no process serves two.
 * Method: the real server over HTTP, with agents that have spares; processes are counted and killed
 * from outside.
 */

import { readdirSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import {
  environmentOf,
  onlyOne,
  processesWith,
  programOf,
  until,
  withoutChildren,
} from "../helpers/leaks.ts";
import { startServer, type InProcessServer, type TestServer } from "../helpers/server.ts";
import { ask, post, refusal, stream, textOfRequest } from "./client.ts";
import { inThreeTries, SILENT_MS, type Try, waitedLong } from "./tries.ts";

const SCRIPT = `
defaults: { firstTokenMs: 1, tokensPerSecond: 2000 }
rules:
  - when: { userText: "/slowly$/" }
    reply: [{ tokens: 400 }]
    tokensPerSecond: 20
  - when: { userText: "/^Write/", afterTool: false }
    reply: [{ tool: { name: Bash, input: { command: "pwd; echo kept > note.txt", description: x } } }]
  - when: { userText: "/^Read/", afterTool: false }
    reply: [{ tool: { name: Bash, input: { command: "pwd; cat note.txt", description: x } } }]
  - when: { userText: "/who am I\\\\?$/", afterTool: false }
    reply: [{ tool: { name: mcp__tools__whoami, input: {} } }]
  - when: { afterTool: true }
    reply: [{ text: "{{toolResult}}" }]
  - reply: [{ text: "Yes: {{userText}}" }]
`;

const AHEAD = `
name: ahead
instructions: You are a test.
tools: { builtin: [Bash], functions: [$FIXTURES/tools.js] }
hosting: { spares: 1 }
`;
const PASSING = `
name: passing
instructions: You are a test.
hosting: { pattern: ephemeral, spares: 1 }
`;
const BOTH = `
name: both
instructions: You are a test.
tools: { builtin: [Bash] }
hosting: { linger: 10m, spares: 1 }
`;

/** Its sessions are its own. */
const THIRD = BOTH.replace("name: both", "name: third").replace(", spares: 1", "");

let server: InProcessServer;
let threads = 0;
function newThread(): string {
  threads += 1;
  return `thread-${threads}`;
}

/** Each Claude Code, without what it starts itself. */
function agentPids({ serverId }: TestServer): readonly number[] {
  const all = withoutChildren(processesWith("PLIMSOLL_SERVER_ID", serverId));
  return all.filter((pid) => programOf(pid).endsWith("/claude"));
}

/** Each that was started ahead, at rest or at work. */
function sparePids(of: TestServer): readonly number[] {
  return agentPids(of).filter((pid) =>
    environmentOf(pid).some((entry) => entry.startsWith("PLIMSOLL_TURN_ID=spare-")),
  );
}

async function waiting(count: number, of: TestServer = server): Promise<void> {
  await until(
    async () => metric(await of.metrics(), "plimsoll_agent_process_spares") === count,
    `${count} spares to wait`,
    30_000,
  );
}

function metric(page: string, start: string): number {
  const line = page.split("\n").find((text) => text.startsWith(start));
  return Number(line?.split(" ").at(-1) ?? Number.NaN);
}

function sourceOf(turnId: string): unknown {
  return server.logs.find((line) => line["turnId"] === turnId && "process" in line)?.["process"];
}

/** Of a turn that is to have a spare. */
function triedWith(turn: Parameters<typeof waitedLong>[0] & { readonly turnId: string }): Try {
  return { worked: sourceOf(turn.turnId) === "spare", wasHeldUp: waitedLong(turn) };
}

describe("a request that is refused for what it asks for", () => {
  it(
    "takes no permit, and leaves every process that is kept where it is",
    { timeout: 90_000 },
    async () => {
      await using small = await startServer({
        script: SCRIPT,
        agents: [PASSING, BOTH, THIRD],
        settings: { "sessions.maxPerTenant": "1", "capacity.memoryLimit": "8GiB" },
      });
      await waiting(2, small);
      const { sessionId: gone } = await ask(small, "Bye", { agent: "both", threadId: "gone" });
      await fetch(`${small.url}/v1/sessions/${gone}`, { method: "DELETE" });
      const { sessionId } = await ask(small, "Hello", { agent: "both", threadId: "stays" });
      await waiting(2, small);
      const kept = () =>
        withoutChildren(processesWith("PLIMSOLL_SERVER_ID", small.serverId)).toSorted(
          (a, b) => a - b,
        );
      // A resident and two spares.
      await until(() => kept().length === 3, "no other process to be left");
      const pids = kept();
      const { admitted } = await small.capacity();
      const unknown = "11111111-2222-5333-8444-555555555555";
      for (const [agent, asking, status, code] of [
        ["both", { sessionId: unknown }, 404, "session_not_found"],
        ["both", { sessionId: gone }, 410, "session_gone"],
        ["passing", { sessionId: unknown }, 404, "session_not_found"],
        ["passing", { sessionId }, 404, "session_not_found"],
        ["third", { sessionId }, 404, "session_not_found"],
        ["both", { threadId: "one too many" }, 429, "too_many_sessions"],
      ] as const) {
        const answer = await refusal(post(small, "Hello", { agent, ...asking }));
        expect(answer).toMatchObject({ status, code });
        await until(() => String(kept()) === String(pids), `only those kept, after ${code}`);
        expect((await small.capacity()).admitted).toBe(admitted);
      }
      const next = await ask(small, "Still there?", { agent: "both", sessionId });
      expect(next.text).toBe("Yes: Still there?");
      await until(() => String(kept()) === String(pids), "only those kept, after a turn");
    },
  );
});

describe("a spare", () => {
  // Not for all tests: what it starts meanwhile would count as left behind by another server.
  beforeAll(async () => {
    server = await startServer({ script: SCRIPT, agents: [AHEAD, PASSING, BOTH] });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it("serves the first turn of a session, in its directory, and is replaced", async () => {
    await inThreeTries(async () => {
      await waiting(3);
      const spares = sparePids(server);
      const asking = { agent: "ahead", threadId: newThread() };
      const turn = await stream(server, "Count slowly", asking);
      await turn.until("text_delta");
      await fetch(`${server.url}/v1/turns/${turn.turnId}/cancel`, { method: "POST" });
      const tried = triedWith({ ...(await turn.outcome()), turnId: turn.turnId });

      const written = await ask(server, "Write a note", asking);
      expect(sourceOf(written.turnId)).toBe("started");
      const read = await ask(server, "Read the note", asking);
      expect(read.text).toBe(`${written.text.trim()}\nkept`);
      await waiting(3);
      expect(sparePids(server).filter((pid) => spares.includes(pid))).toHaveLength(2);
      return tried;
    }, "a spare serves the first turn");
  });

  it("works where its session is, and what it leaves is there for the next turn", async () => {
    await inThreeTries(async () => {
      await waiting(3);
      const asking = { agent: "ahead", threadId: newThread() };
      const written = await ask(server, "Write a note", asking);
      expect(written.text).toContain(`${written.sessionId}/work`);
      const read = await ask(server, "Read the note", asking);
      expect(sourceOf(read.turnId)).toBe("started");
      expect(read.text).toBe(`${written.text.trim()}\nkept`);
      expect(lastAsked()).toContain("Write a note");
      const response = await fetch(`${server.url}/v1/sessions/${written.sessionId}`);
      expect(await response.json()).toMatchObject({ turns: 2, messages: { length: 8 } });
      return triedWith(written);
    }, "a spare works where its session is");
  });

  it("calls function tools for the turn it works for", async () => {
    await inThreeTries(async () => {
      await waiting(3);
      const said = await ask(server, "Now, who am I?", { agent: "ahead", threadId: newThread() });
      expect(said.text).toBe(`turn ${said.turnId} of session ${said.sessionId}`);
      return triedWith(said);
    }, "a spare calls function tools");
  });

  it("serves one session: who comes second starts a process, or has the next spare", async () => {
    await inThreeTries(async () => {
      await waiting(3);
      const turns = await Promise.all(
        ["One", "Two", "Three"].map((name) =>
          stream(server, `${name}: count slowly`, { agent: "ahead", threadId: newThread() }),
        ),
      );
      for (const turn of turns) await turn.until("text_delta");
      for (const { turnId } of turns) {
        await fetch(`${server.url}/v1/turns/${turnId}/cancel`, { method: "POST" });
      }
      const outcomes = await Promise.all(turns.map((turn) => turn.outcome()));
      const asked = server.asked.slice(-3).map(textOfRequest);
      for (const name of ["One", "Two", "Three"]) {
        expect(asked.filter((text) => text.includes(`${name}: count`))).toHaveLength(1);
      }
      const sources = turns.map(({ turnId }) => sourceOf(turnId));
      expect(sources).toContain("started");
      return { worked: sources.includes("spare"), wasHeldUp: outcomes.some(waitedLong) };
    }, "one of three has the spare");
  });

  it("serves a turn that leaves nothing behind, and neither does it", async () => {
    await inThreeTries(async () => {
      await waiting(3);
      const said = await ask(server, "Hello", { agent: "passing", threadId: newThread() });
      await waiting(3);
      const run = join(server.directory, "data", "run");
      expect(await readdir(join(run, "ephemeral"))).toEqual([]);
      const places = () => readdirSync(join(run, "spares")).length;
      await until(() => places() === 3, "nothing but the places of those that wait");
      return triedWith(said);
    }, "a spare serves a turn that leaves nothing behind");
  });

  it("may stay between the turns of its session, which goes on without it", async () => {
    await inThreeTries(async () => {
      await waiting(3);
      const asking = { agent: "both", threadId: newThread() };
      const written = await ask(server, "Write a note", asking);
      const read = await ask(server, "Read the note", asking);
      expect(read.text).toBe(`${written.text.trim()}\nkept`);
      const sources = [written, read].map(({ turnId }) => sourceOf(turnId));
      const worked = String(sources) === "spare,resident";
      const wasHeldUp = waitedLong(written) || waitedLong(read);
      for (const pid of agentPids(server)) process.kill(pid, "SIGKILL");
      const again = await ask(server, "Read the note", asking);
      expect(sourceOf(again.turnId)).toBe("started");
      expect(again.text).toBe(read.text);
      expect(lastAsked()).toContain("Write a note");
      return { worked, wasHeldUp };
    }, "a spare stays between the turns of its session");
  });

  it("that hangs as it is claimed gives its turn to another process", async () => {
    await waiting(3);
    const before = sparePids(server);
    for (const pid of before) process.kill(pid, "SIGSTOP");
    const asking = { agent: "ahead", threadId: newThread() };
    const written = await ask(server, "Write a note", asking);
    expect(sourceOf(written.turnId)).toBe("started");
    const read = await ask(server, "Read the note", asking);
    expect(read.text).toBe(`${written.text.trim()}\nkept`);
    // The agent's only spare was the turn's to end.
    expect(before.filter((pid) => sparePids(server).includes(pid))).toHaveLength(2);
    for (const pid of sparePids(server)) process.kill(pid, "SIGCONT");
  });

  it("that hangs as it is claimed holds up no cancel", async () => {
    await waiting(3);
    const before = sparePids(server);
    for (const pid of before) process.kill(pid, "SIGSTOP");
    const turn = await stream(server, "Hello", { agent: "ahead", threadId: newThread() });
    await turn.until("turn_started");
    await fetch(`${server.url}/v1/turns/${turn.turnId}/cancel`, { method: "POST" });
    expect(await turn.outcome()).toMatchObject({ status: "cancelled" });
    expect(server.gate.inflight).toBe(0);
    for (const pid of sparePids(server)) process.kill(pid, "SIGCONT");
  });

  it("is replaced when it dies", async () => {
    await waiting(3);
    const before = sparePids(server);
    for (const pid of before) process.kill(pid, "SIGKILL");
    await until(
      () =>
        sparePids(server).length === 3 && !sparePids(server).some((pid) => before.includes(pid)),
      "three other spares",
      30_000,
    );
    const page = await server.metrics();
    const died = page.split("\n").find((line) => /"spare".*"died"/u.test(line));
    expect(Number(died?.split(" ").at(-1))).toBeGreaterThanOrEqual(before.length);
  });
});

describe("a session that began in a spare", () => {
  it("goes on after a restart of the server", async () => {
    const threadId = newThread();
    await using first = await startServer({ script: SCRIPT, agents: [AHEAD] });
    await waiting(1, first);
    const { sessionId } = await ask(first, "My name is Ann.", { agent: "ahead", threadId });
    await first.stop();
    const { directory } = first;
    await using second = await startServer({ script: SCRIPT, agents: [AHEAD], directory });
    const next = await ask(second, "Do you remember?", { agent: "ahead", threadId });
    expect(next.sessionId).toBe(sessionId);
    expect(textOfRequest(second.asked.at(-1) ?? { messages: "", system: "" })).toContain(
      "My name is Ann.",
    );
    const deleted = await fetch(`${second.url}/v1/sessions/${sessionId}`, { method: "DELETE" });
    expect(deleted.status).toBe(204);
  });
});

describe("a spare for which there is no room", () => {
  it("is not started, and goes before a turn is shed", async () => {
    const settings = { "capacity.memoryLimit": "960MiB", "capacity.admission": "static" };
    await using small = await startServer({ script: SCRIPT, agents: [AHEAD], settings });
    await waiting(1, small);
    await inThreeTries(async () => {
      const spare = await onlyOne(() => sparePids(small), "the spare");
      const askedAtMs = performance.now();
      // A first turn takes it, and there is no room for another while that runs.
      const turn = await stream(small, "Count slowly", { agent: "ahead", threadId: newThread() });
      await turn.until("text_delta");
      const wasHeldUp = performance.now() - askedAtMs > SILENT_MS;
      const pids = sparePids(small);
      expect(pids.filter((pid) => pid !== spare)).toEqual([]);
      expect(small.gate.snapshot(monotonicMs()).shed.memory).toBe(0);
      await waiting(0, small);
      turn.leave();
      await waiting(1, small);
      return { worked: pids.includes(spare), wasHeldUp };
    }, "a turn takes the only spare");
  });
});

function lastAsked(): string {
  const request = server.asked.at(-1);
  return request === undefined ? "" : textOfRequest(request);
}
