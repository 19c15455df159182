/**
 * Of a conversation that was deleted nothing is served any more, however short a time ago its last
 * turn has ended: not to who connects to it, nor to who sends its request again.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { startServer, startServerProcess, type TestServer } from "../helpers/server.ts";

const SCRIPT = `
defaults: { firstTokenMs: 5, tokensPerSecond: 500 }
rules: [{ reply: [{ text: "Turn {{turnCount}}: a secret" }] }]
`;

let server: TestServer;
beforeAll(async () => {
  const settings = { "capacity.memoryLimit": "4GiB", "retention.sessionsPerTenant": "1" };
  server = await startServer({ script: SCRIPT, settings });
});
afterAll(async () => server[Symbol.asyncDispose]());

interface AguiEvent {
  readonly type: string;
  readonly delta?: string;
  readonly messages?: unknown;
}

async function agui(path: string, threadId: string, content: string, at = server) {
  const response = await fetch(`${at.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      threadId,
      runId: `run of ${threadId}`,
      protocolVersion: "1.0",
      messages: content === "" ? [] : [{ id: "u", role: "user", content }],
    }),
  });
  const text = await response.text();
  const data = [...text.matchAll(/^data: (.*)$/gm)].map(([, json = ""]) => json);
  const events = data.map((json) => JSON.parse(json) as AguiEvent);
  const said = events.map(({ delta = "" }) => delta).join("");
  return { turnId: response.headers.get("x-turn-id") ?? "", said, events };
}

async function sessionOf(threadId: string): Promise<string> {
  const response = await fetch(
    `${server.url}/v1/sessions?threadId=${encodeURIComponent(threadId)}`,
  );
  const { sessions } = (await response.json()) as { sessions: { sessionId: string }[] };
  return sessions[0]?.sessionId ?? "";
}

async function statusOf(path: string, method = "GET"): Promise<number> {
  const response = await fetch(server.url + path, { method });
  await response.body?.cancel();
  return response.status;
}

describe("a conversation that was deleted", () => {
  it.each([
    ["DELETE", (sessionId: string) => statusOf(`/v1/sessions/${sessionId}`, "DELETE")],
    [
      "a sweep",
      async () => {
        // There may be one, and the younger one stays.
        await agui("/agui", "another", "Hi");
        return statusOf("/v1/sessions/sweep", "POST");
      },
    ],
  ])("by %s is not served from memory", async (how, remove) => {
    const thread = `to be deleted by ${how}`;
    const run = await agui("/agui", thread, "Tell me");
    expect(run.said).toBe("Turn 1: a secret");
    const again = await agui("/agui", thread, "Tell me");
    expect(again.turnId).toBe(run.turnId);
    const sessionId = await sessionOf(thread);
    expect(await statusOf(`/v1/turns/${run.turnId}`)).toBe(200);

    expect(await remove(sessionId)).toBeLessThan(300);
    expect(await statusOf(`/v1/sessions/${sessionId}`)).toBe(410);
    expect(await statusOf(`/v1/turns/${run.turnId}`)).toBe(404);
    expect(await statusOf(`/v1/turns/${run.turnId}/events`)).toBe(404);
    const { events } = await agui("/agui/connect", thread, "");
    const types = events.map(({ type }) => type);
    expect(types).toEqual(["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]);
    expect(events[1]?.messages).toEqual([]);

    const anew = await agui("/agui", thread, "Tell me");
    expect(anew.turnId).not.toBe(run.turnId);
    expect(anew.said).toBe("Turn 1: a secret");
  });

  it("at another replica is not shown to who connects where it ran", async () => {
    const directory = await mkdtemp(join(tmpdir(), "plimsoll-store-"));
    try {
      const settings = {
        "capacity.memoryLimit": "4GiB",
        "sessions.store": pathToFileURL(directory).href,
      };
      await using here = await startServerProcess({ script: SCRIPT, settings });
      await using there = await startServerProcess({ script: SCRIPT, settings });
      const run = await agui("/agui", "shared", "Tell me", here);
      expect(run.said).toBe("Turn 1: a secret");
      const { sessions } = (await (await fetch(`${there.url}/v1/sessions`)).json()) as {
        sessions: readonly { sessionId: string }[];
      };
      const gone = `${there.url}/v1/sessions/${sessions[0]?.sessionId}`;
      expect((await fetch(gone, { method: "DELETE" })).status).toBe(204);
      const { events } = await agui("/agui/connect", "shared", "", here);
      const types = events.map(({ type }) => type);
      expect(types).toEqual(["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]);
      expect(events[1]?.messages).toEqual([]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
