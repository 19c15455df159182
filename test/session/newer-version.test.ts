/**
 * Goal: after a rollback, a session that the newer version has written is refused with what helps,
 * an upgrade, and nothing deletes it or writes over it.
 */

import { readFile, writeFile } from "node:fs/promises";

import { describe, expect, it } from "vitest";

import { ERRORS } from "../../src/lib/errors.ts";
import { FileSessions } from "../../src/session/file-sessions.ts";
import { DirectoryArchive, StoreArchive } from "../../src/session/session-archive.ts";
import { sessionIdOf, type SessionRef } from "../../src/session/session-id.ts";
import { SessionLocks } from "../../src/session/session-locks.ts";
import { sessionPathsOf } from "../../src/session/session-paths.ts";
import { newRecord } from "../../src/session/session-record.ts";
import type { Sessions } from "../../src/session/sessions.ts";
import { SharedSessions } from "../../src/session/shared-sessions.ts";
import { headNameOf, ownerOf } from "../../src/session/stores/names.ts";
import { cleanAfterTest, codeOf, openSessions, takeTurn, thread, TOTALS } from "./fixture.ts";
import { MemoryObjects } from "./stores/memory-objects.ts";

const SESSION = { tenant: "acme", agentName: "helper", threadId: "a" };
const ref: SessionRef = { tenant: "acme", sessionId: sessionIdOf(SESSION) };
const record = newRecord(ref, "helper", "a", 10);
const NO_TRANSCRIPTS = { paths: [], load: async function* () {} };

interface Kept {
  readonly sessions: Sessions;
  readonly archive: DirectoryArchive | StoreArchive;
  /** What is kept of the session. */
  readonly text: () => Promise<string>;
}

async function inDirectory(): Promise<Kept> {
  const { data, sessions } = await openSessions();
  await takeTurn(sessions, thread("a"), 10);
  const file = sessionPathsOf(data, ref).record;
  const text = () => readFile(file, "utf8");
  await writeFile(file, JSON.stringify({ ...JSON.parse(await text()), version: 2 }));
  return { sessions, archive: new DirectoryArchive(data), text };
}

/** @param change What the newer version does otherwise. */
async function inStore(change: (head: object) => object): Promise<Kept> {
  const { data } = await openSessions();
  const store = new MemoryObjects();
  const archive = new StoreArchive(store);
  await archive.put(record, NO_TRANSCRIPTS, false);
  const name = headNameOf({ owner: ownerOf("tenant", "acme"), sessionId: ref.sessionId });
  const text = async () => store.objects.get(name)?.body.toString("utf8") ?? "";
  const head = change(JSON.parse(await text()) as object);
  await store.put(name, Buffer.from(JSON.stringify(head)), "any");
  const locks = new SessionLocks();
  const sessions = new SharedSessions({
    store,
    local: new FileSessions({ dataDirectory: data, maxPerTenant: 9, locks }),
    dataDirectory: data,
    locks,
    holder: "one",
    leaseTimeMs: 60_000,
    maxPerTenant: 9,
    maxIdleMs: null,
    outboxBytes: 2 ** 20,
    beforeDelete: async () => {},
    onNotice: () => {},
  });
  cleanAfterTest(async () => sessions[Symbol.asyncDispose]());
  return { sessions, archive, text };
}

const PLACES: readonly (readonly [string, () => Promise<Kept>])[] = [
  ["a record in a directory", inDirectory],
  ["a head in a store", () => inStore((head) => ({ ...head, version: 2 }))],
  [
    "a record in a store",
    () => inStore((head) => ({ ...head, record: { ...record, version: 2 } })),
  ],
];

describe.each(PLACES)("%s of a newer version", (_what, open) => {
  it("is refused as such, and stays as it is", async () => {
    const { sessions, archive, text } = await open();
    const before = await text();
    const turn = async () => {
      await using _claim = await sessions.claim(thread("a"), 20);
      await sessions.open(thread("a"), 20);
    };
    const refused = [
      turn(),
      sessions.read(ref, 20),
      sessions.transcript(ref, 20),
      sessions.exported(ref, 20),
      sessions.keptTurn(ref, "helper", { hash: "h" }),
      sessions.delete(ref, 20),
      sessions.hold(ref, true, 20),
      archive.find(ref.sessionId),
      archive.put({ ...record, totals: TOTALS }, NO_TRANSCRIPTS, true),
    ];
    const codes = await Promise.all(refused.map(codeOf));
    expect(codes).toEqual(refused.map(() => "session_newer"));
    for (const agentName of [undefined, "helper"]) {
      const only = agentName === undefined ? {} : { agentName, threadId: "a" };
      const page = await sessions.list({ tenant: "acme", ...only });
      expect(page).toMatchObject({ sessions: [], unreadable: 1 });
    }
    expect(await archive.all()).toEqual({ records: [], unreadable: [ref.sessionId] });
    expect(await text()).toBe(before);
  });
});

it("what helps is an upgrade, not another try", () => {
  expect(ERRORS.session_newer.retryable).toBe(false);
  expect(ERRORS.session_newer.remedy).toContain("Upgrade this replica");
  expect(ERRORS.session_newer.remedy).toContain("do not delete");
});
