/**
 * Goal: what was put right in a session can be counted, where sessions are files and in a store alike.
 * Method: a torn line at the end of a transcript, as a crash leaves it.
 */

import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
