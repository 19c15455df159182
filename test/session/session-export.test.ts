/**
 * Goal: an export is all of the conversation as whole lines, the same from files and from a store,
 * and read no faster than it is taken.
 */

import { appendFile, mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { describe, expect, it } from "vitest";

import { LeaseClock } from "../../src/session/lease-clock.ts";
import { DirectoryArchive, StoreArchive } from "../../src/session/session-archive.ts";
import { exportOf } from "../../src/session/session-export.ts";
import { StoredSessions } from "../../src/session/stored-sessions.ts";
import {
  codeOf,
  openSessions,
  QUEUE_LINE,
  thread,
  TOTALS,
  userLine,
  writeTranscript,
} from "./fixture.ts";
import { MemoryObjects } from "./stores/memory-objects.ts";

async function textOf(chunks: AsyncIterable<Buffer>): Promise<string> {
  let text = "";
  for await (const chunk of chunks) text += chunk.toString("utf8");
  return text;
}

const MAIN = QUEUE_LINE + userLine("later");
const EARLIER = userLine("earlier");
const HELPER = userLine("by a helper");

async function sessionWithAll() {
  const { data, sessions } = await openSessions();
  const session = await sessions.open(thread("a"), 10);
  const file = await writeTranscript(session, MAIN);
  const beside = join(dirname(file), session.sessionId);
  await mkdir(join(beside, "subagents"), { recursive: true });
  await mkdir(join(beside, "tool-results"));
  await writeFile(join(beside, "earlier.jsonl"), EARLIER);
  await writeFile(join(beside, "subagents", "agent-a.jsonl"), HELPER);
  await writeFile(join(beside, "tool-results", "a.txt"), "no line");
  const ref = { tenant: "acme", sessionId: session.sessionId };
  await sessions.finish(ref, { totals: TOTALS, endedAtMs: 10 });
  return { data, sessions, ref, file };
}

describe("an export", () => {
  it("has what was cut off, what was said and what subagents said, from files and stores", async () => {
    const { data, sessions, ref } = await sessionWithAll();
    const exported = await textOf(await sessions.exported(ref, 20));
    expect(exported).toBe(EARLIER + MAIN + HELPER);

    const store = new MemoryObjects();
    const from = new DirectoryArchive(data);
    const record = await from.find(ref.sessionId);
    if (record === undefined) expect.fail("There is no session");
    const { record: own, ...transcripts } = await from.transcripts(record);
    await new StoreArchive(store).put(own, transcripts, false);
    const clock = new LeaseClock("here", 60_000);
    const options = { store, clock, maxPerTenant: 1, isBusyHere: () => false };
    const stored = new StoredSessions(options);
    expect(await textOf(await stored.exported(ref, 20))).toBe(exported);
    const foreign = { ...ref, tenant: "other" };
    expect(await codeOf(stored.exported(foreign, 20))).toBe("session_not_found");
    expect(await codeOf(sessions.exported(foreign, 20))).toBe("session_not_found");
  });

  it.each([
    ["leaves out half a line", '{"half', MAIN],
    ["completes a line that lacks its end", '{"whole":true}', `${MAIN}{"whole":true}\n`],
  ])("%s", async (_what, end, main) => {
    const { sessions, ref, file } = await sessionWithAll();
    await appendFile(file, end);
    expect(await textOf(await sessions.exported(ref, 20))).toBe(EARLIER + main + HELPER);
  });

  it("ends when a turn shortens it meanwhile, and misses no line in silence", async () => {
    const { sessions, ref, file } = await sessionWithAll();
    // So long that it is not read at once.
    const earlier = join(dirname(file), ref.sessionId, "earlier.jsonl");
    await writeFile(earlier, userLine("x".repeat(2 ** 20)).repeat(4));
    await appendFile(file, userLine("y".repeat(2 ** 20)) + userLine("at which it is cut"));
    const chunks = (await sessions.exported(ref, 20))[Symbol.asyncIterator]();
    await chunks.next();
    const transcript = { maxBytes: 2 ** 20, whenFull: "shorten" } as const;
    const { shortened } = await sessions.open(thread("a"), 20, { transcript });
    expect(shortened).not.toBeNull();
    const rest = { [Symbol.asyncIterator]: () => chunks };
    expect(await codeOf(textOf(rest))).toBe("session_gone");
    // The next one has all of it.
    const text = await textOf(await sessions.exported(ref, 21));
    expect(text.split("\n").filter((line) => line.includes("yyy"))).toHaveLength(1);
  });

  it("names no path when a file of it is gone", async () => {
    const { sessions, ref, file } = await sessionWithAll();
    const chunks = await sessions.exported(ref, 20);
    await rm(file);
    const failed = await textOf(chunks).catch((thrown: unknown) => thrown);
    expect(failed).toMatchObject({ code: "storage_failed" });
    expect(String(failed)).not.toContain(ref.sessionId);
  });

  it("holds no line that is long, however it is cut", async () => {
    const piece = Buffer.alloc(300_000, "x");
    let read = 0;
    const load = async function* () {
      for (read = 1; read <= 20; read += 1) yield piece;
    };
    let sent = 0;
    for await (const chunk of exportOf({ paths: [""], load })) {
      sent += chunk.length;
      expect(read * piece.length - sent).toBeLessThan(2 ** 20 + 2 * piece.length);
    }
    expect(sent).toBe(20 * piece.length + 1);
  });
});
