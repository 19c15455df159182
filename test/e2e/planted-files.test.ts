/**
 * Goal: what an agent puts in the place of its transcript costs that session and nothing else.
 * Method: the built program; a pipe where the transcript was, which nobody will ever write to.
 */

import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";

import { startServerProcess } from "../helpers/server.ts";
import { ask, post, refusal } from "./client.ts";
import { transcriptOf } from "./transcripts.ts";

const SCRIPT = 'rules: [{ reply: [{ text: "Yes" }] }]';
const LINGERS = "name: helper\ninstructions: You are a test.\nhosting: { linger: 10m }\n";
/** More than there are threads for files. */
const READERS = 6;

it.each([
  ["of a session at rest", undefined],
  ["of a session whose process is there", [LINGERS]],
])("a pipe in place of the transcript %s holds up nobody", async (_whose, agents) => {
  await using server = await startServerProcess({
    script: SCRIPT,
    ...(agents !== undefined && { agents }),
  });
  const signal = AbortSignal.timeout(50_000);
  const { sessionId } = await ask(server, "Hello", { threadId: "planted", signal });
  const file = await transcriptOf(server.directory, sessionId);
  await rm(file);
  execFileSync("mkfifo", [file]);

  const url = `${server.url}/v1/sessions/${sessionId}`;
  for (let readers = 0; readers < READERS; readers += 1) {
    const read = await fetch(url, { signal });
    expect(await read.json()).toMatchObject({ sessionId, messages: [] });
  }
  const next = await refusal(post(server, "Go on", { threadId: "planted", signal }));
  expect(next).toMatchObject({ status: 410, code: "session_gone" });
  expect(await ask(server, "Hello", { threadId: "another", signal })).toMatchObject({
    status: "completed",
  });
  expect((await fetch(url, { method: "DELETE", signal })).status).toBe(204);
  await server.stop();
  expect(await server.exited).toMatchObject({ code: 0 });
});

it("a pipe in place of what is kept beside the transcript holds up nobody", async () => {
  await using server = await startServerProcess({ script: SCRIPT });
  const signal = AbortSignal.timeout(50_000);
  const { sessionId } = await ask(server, "Hello", { threadId: "planted", signal });
  const names = readdirSync(server.directory, { recursive: true, encoding: "utf8" });
  const name = names.find((each) => each.endsWith(join(sessionId, "session.json"))) ?? "";
  const file = join(server.directory, name);
  await rm(file);
  execFileSync("mkfifo", [file]);

  const url = `${server.url}/v1/sessions/${sessionId}`;
  for (let readers = 0; readers < READERS; readers += 1) {
    expect(await refusal(fetch(url, { signal }))).toMatchObject({ code: "session_unreadable" });
  }
  const listed = (await (await fetch(`${server.url}/v1/sessions`, { signal })).json()) as object;
  expect(listed).toMatchObject({ sessions: [] });
  expect(await ask(server, "Hello", { threadId: "another", signal })).toMatchObject({
    status: "completed",
  });
  expect((await fetch(url, { method: "DELETE", signal })).status).toBe(204);
  await server.stop();
  expect(await server.exited).toMatchObject({ code: 0 });
});
