/**
 * Goal: a disk that gets full during a turn fails that turn by name, and costs nothing once there is
 * space again.
 * Method: the real server over HTTP, with its data on a tiny file system of its own.
 */

import { appendFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";

import { until } from "../helpers/leaks.ts";
import { startServer } from "../helpers/server.ts";
import { mountTmpfs, unmount } from "../helpers/tmpfs.ts";
import { ask, post, refusal, stream, textOfRequest } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 2000 }
rules:
  - when: { userText: "/slowly$/" }
    tokensPerSecond: 20
    reply: [{ tokens: 60 }]
  - reply: [{ text: "You said: {{userText}}" }]
`;
const SIZE_BYTES = 16 * 1024 * 1024;

let directory: string;
let data: string;
let isMounted: boolean;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-full-"));
  data = join(directory, "data");
  await mkdir(data);
  isMounted = mountTmpfs(data, `size=${SIZE_BYTES}`);
});
afterEach(async () => {
  if (isMounted) unmount(data);
  await rm(directory, { recursive: true, force: true });
});

/** Until nothing more can be written. */
async function fill(file: string): Promise<void> {
  const more = Buffer.alloc(SIZE_BYTES / 16);
  try {
    for (;;) await appendFile(file, more);
  } catch (thrown) {
    expect(String(thrown)).toContain("ENOSPC");
  }
}

it("fails the turns it is met in, and no other", async ({ skip }) => {
  if (!isMounted) skip("mounting a tmpfs is not allowed here");
  const server = await startServer({ script: SCRIPT, directory });
  const asking = { threadId: "kept" };
  await ask(server, "My name is Ann.", asking);

  const turn = await stream(server, "Count slowly", asking);
  await turn.until("text_delta");
  const ballast = join(data, "ballast");
  let isOver = false;
  const outcome = turn.outcome().finally(() => (isOver = true));
  // Files that come and go leave a little space behind.
  const filled = async (): Promise<boolean> => {
    await fill(ballast);
    return isOver;
  };
  await until(filled, "the turn to end on a full disk", 20_000);
  expect(await outcome).toMatchObject({ status: "failed", code: "storage_full" });
  await fill(ballast);
  for (const threadId of ["kept", "another"]) {
    const refused = await refusal(post(server, "Hello", { threadId }));
    expect(refused).toMatchObject({ status: 507, code: "storage_full" });
    expect(JSON.stringify(refused)).not.toContain(directory);
  }
  expect(server.gate.inflight).toBe(0);

  await rm(ballast);
  expect(await ask(server, "Go on", asking)).toMatchObject({ status: "completed" });
  const last = server.asked.at(-1);
  expect(last === undefined ? "" : textOfRequest(last)).toContain("My name is Ann.");
  expect(await ask(server, "Hello", { threadId: "another" })).toMatchObject({
    status: "completed",
  });

  await server.stop();
  unmount(data);
  isMounted = false;
  await server[Symbol.asyncDispose]();
});
