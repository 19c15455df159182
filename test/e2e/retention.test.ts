/**
 * Sessions go by themselves when their time is over, from a real server with real transcripts; those
 * on hold stay. What operators ask over HTTP and what the command line does is the same.
 */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { run, type Exit } from "../cli/plimsoll.ts";
import { startServer, type InProcessServer } from "../helpers/server.ts";
import { ask, type Problem } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 5, tokensPerSecond: 500 }
rules: [{ reply: [{ text: "Turn {{turnCount}} of \\e[31mred\\e[0m" }] }]
`;
const KEYS = { caller: "caller-key-0123456789", operator: "operator-key-0123456789" };
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const SERVER_FILE = `
auth:
  keys:
    - { id: c, tenant: acme, sha256: "${sha256(KEYS.caller)}" }
    - { id: o, tenant: ops, role: operator, sha256: "${sha256(KEYS.operator)}" }
`;
const options = {
  script: SCRIPT,
  agents: ["name: helper\ninstructions: You are a test.\n"],
  serverFile: SERVER_FILE,
  settings: { "capacity.memoryLimit": "4GiB", "retention.sessionsPerTenant": "2" },
};

let server: InProcessServer;
beforeAll(async () => {
  server = await startServer(options);
});
afterAll(async () => server[Symbol.asyncDispose]());

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function call(method: string, path: string, key = KEYS.operator): Promise<Answer> {
  const headers = { authorization: `Bearer ${key}` };
  const response = await fetch(server.url + path, { method, headers });
  const text = await response.text();
  return { status: response.status, body: text === "" ? {} : (JSON.parse(text) as Answer["body"]) };
}

async function begin(threadId: string): Promise<string> {
  const { sessionId } = await ask(server, "hello", { key: KEYS.caller, threadId });
  if (sessionId === null) throw new Error("the turn has no session");
  return sessionId;
}

async function command(...args: readonly string[]): Promise<Exit> {
  const data = join(server.directory, "data");
  return run(["sessions", ...args, "--data", data], { directory: server.directory });
}

describe("retention", () => {
  it("is swept over HTTP: the longest idle go, those on hold stay, and it is told", async () => {
    const held = await begin("one");
    const oldest = await begin("two");
    const ids = [await begin("three"), await begin("four")];
    const hold = `/v1/sessions/${held}/hold?tenant=acme`;
    expect(await call("POST", hold)).toMatchObject({ status: 200, body: { isOnHold: true } });
    expect(await call("DELETE", `/v1/sessions/${held}`, KEYS.caller)).toMatchObject({
      status: 409,
      body: { code: "session_on_hold" } satisfies Partial<Problem>,
    });

    const dry = await call("POST", "/v1/sessions/sweep?dryRun=true");
    expect(dry.body).toMatchObject({ seen: 4, onHold: 1, deleted: 2 });
    expect(dry.body["sessions"]).toMatchObject([{ sessionId: oldest }, { sessionId: ids[0] }]);
    expect((await call("GET", `/v1/sessions/${oldest}`, KEYS.caller)).status).toBe(200);

    const swept = await call("POST", "/v1/sessions/sweep");
    expect(swept.body).toMatchObject({ deleted: 2, byReason: { tenant_sessions: 2, idle: 0 } });
    expect((await call("GET", `/v1/sessions/${oldest}`, KEYS.caller)).body).toMatchObject({
      code: "session_gone",
    });
    const { body } = await call("GET", "/v1/sessions", KEYS.caller);
    expect((body["sessions"] as { sessionId: string }[]).map((each) => each.sessionId)).toEqual([
      ids[1],
      held,
    ]);
    expect(await server.metrics(KEYS.operator)).toContain(
      'plimsoll_session_expired_total{plimsoll_retention_reason="tenant_sessions"} 2',
    );
    expect(server.logs.some(({ msg }) => msg === "Sessions had to go")).toBe(true);
    // A turn goes on in what is on hold, and does not take it off.
    await ask(server, "again", { key: KEYS.caller, threadId: "one" });
    expect((await call("GET", `/v1/sessions/${held}`, KEYS.caller)).body).toMatchObject({
      turns: 2,
      isOnHold: true,
    });
    const released = await call("DELETE", hold);
    expect(released).toMatchObject({ status: 200, body: { isOnHold: false } });
  });

  it("is for operators, and refuses what it does not know", async () => {
    const sessionId = await begin("five");
    for (const path of ["/v1/sessions/sweep", `/v1/sessions/${sessionId}/hold`]) {
      expect(await call("POST", path, KEYS.caller)).toMatchObject({ status: 403 });
    }
    expect(await call("POST", "/v1/sessions/sweep?dryrun=true")).toMatchObject({ status: 400 });
    expect(await call("POST", `/v1/sessions/${sessionId}/hold`)).toMatchObject({ status: 404 });
    expect(await call("POST", "/v1/sessions/..%2f..%2fetc/hold?tenant=acme")).toMatchObject({
      status: 404,
    });
  });
});

describe("plimsoll sessions", () => {
  it("lists, shows and exports beside a running server, and changes nothing of it", async () => {
    const sessionId = await begin("a thread");
    const listed = await command("list", "--tenant", "acme");
    expect(listed.stdout).toMatch(new RegExp(`^${sessionId} +acme +helper +a thread +1 `, "m"));
    const records = (await command("list", "--json")).stdout.trim().split("\n");
    expect(JSON.parse(records[0] ?? "")).toMatchObject({ sessionId, threadId: "a thread" });

    const shown = await command("show", sessionId);
    expect(shown).toMatchObject({ code: 0, stderr: "" });
    expect(shown.stdout).toContain("user\nhello\n");
    // What the model said cannot move the cursor of who reads it.
    expect(shown.stdout).toContain("Turn 1 of \uFFFD[31mred");
    const lines = (await command("export", sessionId)).stdout.trim().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { type: string }).type)).toContain("assistant");

    expect((await command("sweep", "--dry-run", "--json")).code).toBe(0);
    for (const change of [
      ["delete", sessionId],
      ["hold", sessionId],
      ["sweep", "--set", "retention.maxIdle=1d"],
    ]) {
      const refused = await command(...change);
      expect(refused.code, change[0]).toBe(69);
      expect(refused.stderr).toContain("another server is using it");
    }
    expect((await call("GET", `/v1/sessions/${sessionId}`, KEYS.caller)).status).toBe(200);
  });

  it("says what to do about ids and directories that are not there", async () => {
    const unknown = await command("show", "8ea2274c-79a5-5b61-bdd7-fa884df8cef0");
    expect(unknown).toMatchObject({ code: 64 });
    expect(unknown.stderr).toContain("plimsoll sessions list");
    expect((await command("delete", "../../etc")).code).toBe(64);
    const elsewhere = await run(["sessions", "list"], { directory: server.directory });
    expect(elsewhere).toMatchObject({ code: 64 });
    expect(elsewhere.stderr).toContain("--data");
  });
});
