/**
 * Goal: a store that was away, or has a piece that was cut short, costs no request that ran its answer,
 * and the server none of its turns.
 * Method: the real server on a directory as its store, which is moved away, and cut.
 */

import { mkdir, mkdtemp, readdir, rename, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";

import { expect, it } from "vitest";

import { until } from "../helpers/leaks.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { ask, post, type Problem } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 1, tokensPerSecond: 2000 }
rules:
  - when: { userText: "/slowly$/" }
    reply: [{ tokens: 60 }]
    tokensPerSecond: 20
  - reply: [{ text: "Yes: {{userText}}" }]
`;

async function onDirectory(
  work: (server: InProcessServer, store: string) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "plimsoll-store-"));
  const store = join(directory, "store");
  await mkdir(store);
  const server = await startServer({
    script: SCRIPT,
    settings: {
      "capacity.memoryLimit": "4GiB",
      "journal.keepTime": "1s",
      // Far longer than a stop may take: it must not be waited for.
      "drain.grace": "2m",
    },
    environment: { PLIMSOLL_SESSIONS_STORE: pathToFileURL(store).href },
  });
  try {
    await work(server, store);
  } finally {
    const beganAtMs = performance.now();
    await server[Symbol.asyncDispose]();
    expect(performance.now() - beganAtMs).toBeLessThan(40_000);
    await rm(directory, { recursive: true });
  }
}

it(
  "answers the key of a turn that ended while the store was away",
  { timeout: 90_000 },
  async () => {
    await onDirectory(async (server, store) => {
      const asked = async () =>
        post(server, "say it slowly", { threadId: "t", headers: { "idempotency-key": '"k1"' } });
      const first = asked();
      // It has begun in the store, and goes on for three seconds.
      await until(() => server.asked.length === 1, "the model to be asked");
      await rename(store, `${store}-away`);
      expect((await first).status).toBe(200);
      // Until its events are gone, and the outbox pauses for long.
      await delay(8_000);
      await rename(`${store}-away`, store);
      const again = await asked();
      expect([again.status, ((await again.json()) as { status?: string }).status]).toEqual([
        200,
        "completed",
      ]);
    });
  },
);

it(
  "refuses a session with a piece that was cut short, and goes on",
  { timeout: 60_000 },
  async () => {
    await onDirectory(async (server, store) => {
      await ask(server, "hello", { threadId: "cut" });
      // The bytes of an object are in a file beside its token, which is empty.
      const objects = join(store, "objects", "sessions");
      for (const name of await readdir(objects, { recursive: true })) {
        const found = await stat(join(objects, name));
        if (!found.isFile() || found.size < 200 || name.includes("/head@")) continue;
        await truncate(join(objects, name), found.size - 50);
      }
      // So that the next turn makes its copy anew.
      const tenants = join(server.directory, "data", "tenants");
      for (const name of await readdir(tenants)) await rm(join(tenants, name), { recursive: true });
      const refused = await post(server, "again", { threadId: "cut" });
      expect(((await refused.json()) as Problem).code).toBe("session_unreadable");
      expect((await post(server, "hello", { threadId: "another" })).status).toBe(200);
    });
  },
);
