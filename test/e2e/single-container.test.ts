/**
 * Goal: with `single-container` the replica is the session: it serves the session of its first
 * turn, refuses others, resumes it after a crash, and exits with it.
 * Method: the built program over HTTP, as a dispatcher sees it.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { processesWith, until, withoutChildren } from "../helpers/leaks.ts";
import {
  runServerProcess,
  type ServerProcess,
  startServer,
  startServerProcess,
} from "../helpers/server.ts";
import { ask, post, refusal, stream, textOfRequest, type TurnStream } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 1, tokensPerSecond: 2000 }
rules:
  - when: { userText: "/slowly$/" }
    reply: [{ tokens: 100 }]
    tokensPerSecond: 20
  - reply: [{ text: "Yes: {{userText}}" }]
`;
const AGENT = `
name: helper
instructions: You are a test.
hosting: { pattern: single-container }
`;
const BRIEF = AGENT.replace("}", ", idleTime: 3s }");
const NO_TURN = "no turn came within `hosting.idleTime`";
const KEYS = `
auth:
  keys:
    - { id: a, tenant: acme, sha256: ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb }
    - { id: b, tenant: globex, sha256: 3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d }
`;

const start = (more: object = {}) =>
  startServerProcess({ script: SCRIPT, agents: [AGENT], ...more });

async function readiness({ url }: { url: string }) {
  const response = await fetch(`${url}/readyz`);
  const { status } = (await response.json()) as { status: string };
  return [response.status, status];
}

async function exitOf({ exited }: ServerProcess) {
  let exit: Awaited<ServerProcess["exited"]> | undefined;
  void exited.then((how) => (exit = how));
  await until(() => exit !== undefined, "the replica to exit");
  return exit;
}

/** Whoever is held up for longer than idleTime comes too late for a first turn, and tries again. */
async function inFirstTurn(): Promise<{ server: ServerProcess; turn: TurnStream }> {
  for (let tries = 1; ; tries += 1) {
    let server: ServerProcess | undefined;
    try {
      server = await start({ agents: [BRIEF] });
      return { server, turn: await stream(server, "slowly", { threadId: "mine" }) };
    } catch (thrown) {
      await server?.[Symbol.asyncDispose]();
      const isGone = server === undefined || server.logs.some(({ reason }) => reason === NO_TURN);
      if (!isGone || tries === 3) throw thrown;
    }
  }
}

describe("a replica that is a session", () => {
  it("binds to the first turn's, keeps its process, and refuses all others", async () => {
    await using server = await start({ serverFile: KEYS });
    const mine = { threadId: "mine", key: "a" };
    expect(await readiness(server)).toEqual([200, "ready"]);
    const { sessionId } = await ask(server, "one", mine);
    expect(await readiness(server)).toEqual([503, "bound"]);

    const live = () => withoutChildren(processesWith("PLIMSOLL_SERVER_ID", server.serverId)).length;
    await until(() => live() === 1, "its process, and no other");
    for (const asking of [
      { threadId: "other", key: "a" },
      { threadId: "mine", key: "b" },
    ]) {
      const response = await post(server, "two", asking);
      expect(response.headers.get("connection")).toBe("close");
      expect(await refusal(response)).toMatchObject({ status: 421, code: "other_session" });
    }
    const headers = { authorization: "Bearer b" };
    const elsewhere = await fetch(`${server.url}/v1/sessions/${sessionId}`, { headers });
    expect(elsewhere.status).toBe(421);
    const hint = (key: string) =>
      fetch(`${server.url}/v1/sessions/${sessionId}/warm`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}` },
      });
    expect((await hint("b")).status).toBe(421);
    expect(await (await hint("a")).json()).toEqual({ warm: true, reason: "already_warm" });

    const turns = await Promise.all([1, 2].map(() => post(server, "two, slowly", mine)));
    expect(new Set(turns.map(({ status }) => status))).toEqual(new Set([200, 409]));
    expect(textOfRequest(server.asked.at(-1) ?? { messages: "", system: "" })).toContain("one");
    await until(() => live() === 1, "its process again, and no other");
  });

  it("stays free when the first turn does not begin its session", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [AGENT] });
    const unknown = { sessionId: "5d5a5b66-3a4f-5b7e-9a41-c2d7e05b9e13" };
    expect(await refusal(post(server, "one", unknown))).toMatchObject({ status: 404 });
    expect(await readiness(server)).toEqual([200, "ready"]);
    await ask(server, "two", { threadId: "mine" });
  });

  it("takes one of two sessions that come at once", async () => {
    await using server = await startServer({ script: SCRIPT, agents: [AGENT] });
    const both = ["a", "b"].map((threadId) => post(server, "one", { threadId }));
    const statuses = (await Promise.all(both)).map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([200, 421]));
  });

  it("exits with 0 when its session is deleted, and not while that has a turn", async () => {
    await using server = await start();
    const { sessionId } = await ask(server, "one", { threadId: "mine" });
    const remove = () => fetch(`${server.url}/v1/sessions/${sessionId}`, { method: "DELETE" });
    const turn = await stream(server, "slowly", { threadId: "mine" });
    await turn.until("text_delta");
    expect((await remove()).status).toBe(409);
    turn.leave();
    await until(async () => (await remove()).status === 204, "the session to be deleted");
    expect(await exitOf(server)).toEqual({ code: 0, signal: null });
    expect(server.logs).toContainEqual(
      expect.objectContaining({ reason: "its session was deleted" }),
    );
  });

  it("exits with 0 when no first turn comes", async () => {
    // Who waits until it is ready may come when it is gone.
    const { code, logs } = await runServerProcess({ script: SCRIPT, agents: [BRIEF] });
    expect(code).toBe(0);
    expect(logs.map(({ msg }) => msg)).toContain("Ready for turns");
    expect(logs).toContainEqual(expect.objectContaining({ reason: NO_TURN }));
  });

  it("exits with 0 after idleTime, but not while a turn runs for longer", async () => {
    const { server, turn } = await inFirstTurn();
    await using _server = server;
    expect((await turn.outcome()).status).toBe("completed");
    expect(await exitOf(server)).toEqual({ code: 0, signal: null });
  });

  it("goes on with its session after a crash, and refuses others from the start", async () => {
    const directory = await mkdtemp(join(tmpdir(), "plimsoll-single-"));
    try {
      const crashed = await start({ directory });
      await ask(crashed, "remember me", { threadId: "mine" });
      crashed.signal("SIGKILL");
      await crashed.exited;
      await crashed.model[Symbol.asyncDispose]();

      let seen: unknown[] = [];
      await using server = await startServer({
        script: SCRIPT,
        agents: [AGENT],
        directory,
        async whileStarting(url) {
          seen = await readiness({ url });
        },
      });
      expect(seen).not.toContain("ready");
      expect(await readiness(server)).toEqual([503, "bound"]);
      expect(await refusal(post(server, "one", { threadId: "other" }))).toMatchObject({
        code: "other_session",
      });
      await ask(server, "and now?", { threadId: "mine" });
      expect(textOfRequest(server.asked.at(-1) ?? { messages: "", system: "" })).toContain(
        "remember me",
      );
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it("starts a spare for its session, and none after it has come", async () => {
    await using server = await startServer({
      script: SCRIPT,
      agents: [AGENT.replace("}", ", spares: 1 }")],
    });
    const spares = async () =>
      /^plimsoll_agent_process_spares (\d+)/m.exec(await server.metrics())?.[1];
    await until(async () => (await spares()) === "1", "a spare");
    await ask(server, "one", { threadId: "mine" });
    expect(await spares()).toBe("0");
  });

  it("is refused beside other agents, and on a data directory of many sessions", async () => {
    const other = "name: other\ninstructions: x\n";
    const crowd = await runServerProcess({ script: SCRIPT, agents: [AGENT, other] });
    expect(crowd.code).toBe(78);
    expect(crowd.stderr).toContain("hosting.pattern needs a server of its own");

    await using many = await startServer({ script: SCRIPT });
    for (const threadId of ["a", "b"]) await ask(many, "one", { threadId });
    await many.stop();
    const used = await runServerProcess({
      script: SCRIPT,
      agents: [AGENT],
      directory: many.directory,
    });
    expect(used.code).toBe(78);
    expect(used.stderr).toContain("needs a data directory of its own");
  });
});
