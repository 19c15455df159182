/**
 * Goal: what was put right in a session can be counted, where sessions are files and in a store alike.
 * Method: a torn line at the end of a transcript, as a crash leaves it.
 */

import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";

import { startServer, type TestServer } from "../helpers/server.ts";
import { ask } from "./client.ts";
import { transcriptOf } from "./transcripts.ts";

const OPTIONS = {
  script: "rules:\n  - reply:\n      - text: Yes\n",
  agents: ["name: helper\ninstructions: You are a test.\n"],
  settings: { "capacity.memoryLimit": "4GiB" },
};

const leftovers: string[] = [];
afterEach(async () => {
  for (const each of leftovers.splice(0)) await rm(each, { recursive: true });
});

async function directoryStore(): Promise<Record<string, string>> {
  const directory = await mkdtemp(join(tmpdir(), "plimsoll-store-"));
  leftovers.push(directory);
  return { PLIMSOLL_SESSIONS_STORE: pathToFileURL(directory).href };
}

async function repairs(server: TestServer, kind: string): Promise<number> {
  const page = (await server.metrics()).split("\n");
  const line = page.find(
    (text) => text.startsWith("plimsoll_session_repairs_total{") && text.includes(`"${kind}"`),
  );
  return Number(line?.split(" ").at(-1) ?? Number.NaN);
}

describe.each([
  ["files", async () => ({})],
  ["a store", directoryStore],
])("a turn on a transcript that was cut off, with sessions in %s", (_where, environmentOf) => {
  it("is counted as repaired", async () => {
    await using server = await startServer({ ...OPTIONS, environment: await environmentOf() });
    const { sessionId } = await ask(server, "Hello", { threadId: "torn" });
    expect(await repairs(server, "torn_line")).toBe(0);
    await appendFile(await transcriptOf(server.directory, sessionId), '{"type":"user","mes');
    const next = await ask(server, "And now?", { sessionId });
    expect(next.status).toBe("completed");
    expect(await repairs(server, "torn_line")).toBe(1);
    for (const kind of ["set_aside", "taken_over", "superseded"]) {
      expect(await repairs(server, kind)).toBe(0);
    }
  });
});

describe("a turn on a transcript without a message, as a first turn leaves it that died at once", () => {
  it("is counted as set aside", async () => {
    await using server = await startServer(OPTIONS);
    const { sessionId } = await ask(server, "Hello", { threadId: "died" });
    const transcript = await transcriptOf(server.directory, sessionId);
    await writeFile(transcript, '{"type":"queue-operation","operation":"dequeue"}\n');
    // Of a session that had turns it would be lost, and is told so.
    const data = join(server.directory, "data", "tenants");
    const record = (await readdir(data, { recursive: true })).find(
      (name) => basename(name) === "session.json" && name.includes(sessionId),
    );
    const file = join(data, record ?? "none");
    const told = JSON.parse(await readFile(file, "utf8")) as object;
    await writeFile(file, JSON.stringify({ ...told, turns: 0 }));
    expect((await ask(server, "Hello again", { threadId: "died" })).status).toBe("completed");
    expect(await repairs(server, "set_aside")).toBe(1);
    expect(await repairs(server, "torn_line")).toBe(0);
  });
});
