/**
 * Goal: what is copied is whole, wherever it is cut short; nothing on hold is replaced, and nothing
 * that cannot be read is left out in silence.
 * Method: archives on a real directory and on a store in memory that fails at each of its calls.
 */

import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { describe, expect, it } from "vitest";

import { Pacer } from "../../src/lib/pacer.ts";
import {
  DirectoryArchive,
  type SessionArchive,
  StoreArchive,
} from "../../src/session/session-archive.ts";
import type { Transcripts } from "../../src/session/local-copy.ts";
import { sessionIdOf, type SessionRef } from "../../src/session/session-id.ts";
import { sessionPathsOf } from "../../src/session/session-paths.ts";
import { FileSessions } from "../../src/session/file-sessions.ts";
import { SessionLocks } from "../../src/session/session-locks.ts";
import { SharedSessions } from "../../src/session/shared-sessions.ts";
import { newRecord, type SessionRecord } from "../../src/session/session-record.ts";
import { parseHead } from "../../src/session/stores/session-head.ts";
import { stateOf } from "../../src/session/stores/pieces.ts";
import { deletingNameOf, headNameOf, ownerOf } from "../../src/session/stores/names.ts";
import { openObjectStore } from "../../src/session/stores/open-object-store.ts";
import {
  cleanAfterTest,
  codeOf,
  openSessions,
  takeTurn,
  temporaryDirectory,
  thread,
} from "./fixture.ts";
import { begin, replica, replicas, required } from "./replicas.ts";
import { type Fault, MemoryObjects } from "./stores/memory-objects.ts";

function recordOf(threadId: string, lastTurnAtMs: number): SessionRecord {
  const session = { tenant: "acme", agentName: "helper", threadId };
  const ref = { tenant: "acme", sessionId: sessionIdOf(session) };
  return { ...newRecord(ref, "helper", threadId, 1), lastTurnAtMs };
}

function transcriptsOf(texts: Readonly<Record<string, string>>): Transcripts {
  return {
    paths: Object.keys(texts),
    async *load(path) {
      yield Buffer.from(texts[path] ?? "");
    },
  };
}

async function textsIn(archive: SessionArchive, record: SessionRef) {
  const { paths, load } = await archive.transcripts(record);
  const texts: Record<string, string> = {};
  for (const path of paths) {
    texts[path] = "";
    for await (const chunk of load(path)) texts[path] += chunk.toString("utf8");
  }
  return texts;
}

const OLD = { "": "old\n", "subagents/a.jsonl": "old helper\n" };
const NEW = { "": "new\n", "subagents/b.jsonl": "new helper\n" };

describe("a session that is replaced in a store", () => {
  const old = recordOf("a", 100);
  const next = { ...old, lastTurnAtMs: 200, turns: 7 };

  async function replaced(faultAt: number, fault: Fault) {
    const store = new MemoryObjects();
    const archive = new StoreArchive(store);
    await archive.put(old, transcriptsOf(OLD), false);
    let calls = 0;
    store.faultOf = () => {
      calls += 1;
      return calls === faultAt ? fault : null;
    };
    const outcome = await archive.put(next, transcriptsOf(NEW), true).catch(() => "failed");
    store.faultOf = () => null;
    return { store, archive, outcome, calls };
  }

  it("is the new one, and leaves nothing of the old one", async () => {
    const { store, archive, outcome } = await replaced(0, null);
    expect(outcome).toBe("copied");
    expect(await archive.all()).toEqual({ records: [next], unreadable: [] });
    expect(await textsIn(archive, next)).toEqual(NEW);
    const names = [...store.objects.keys()];
    // A head, two pieces and a place in the list.
    expect(names.length, names.join("\n")).toBe(4);
  });

  it("is the old one or the new one, whole, whichever call fails", async () => {
    const { calls } = await replaced(0, null);
    const ends = new Set<string>();
    for (let at = 1; at <= calls; at += 1) {
      for (const fault of ["before", "after"] as const) {
        const { archive } = await replaced(at, fault);
        const { records, unreadable } = await archive.all();
        const isNew = records[0]?.turns === 7;
        ends.add(isNew ? "new" : "old");
        expect({ records, unreadable }, `call ${at} failed ${fault}`).toEqual({
          records: [isNew ? next : old],
          unreadable: [],
        });
        expect(await textsIn(archive, isNew ? next : old)).toEqual(isNew ? NEW : OLD);
      }
    }
    expect(ends).toEqual(new Set(["old", "new"]));
  });

  it("is the old one, whole, where what it is copied from breaks off", async () => {
    const { store, archive } = await replaced(0, null);
    const before = [...store.objects.keys()];
    const broken: Transcripts = {
      paths: [""],
      async *load() {
        yield Buffer.alloc(9 * 2 ** 20, "x");
        throw new Error("broken off");
      },
    };
    await expect(archive.put(old, broken, true)).rejects.toThrow("broken off");
    expect(await textsIn(archive, next)).toEqual(NEW);
    const pieces = [...store.objects.keys()].filter((name) => name.startsWith("sessions/"));
    expect(pieces).toEqual(before.filter((name) => name.startsWith("sessions/")));
  });

  it("tells all replicas that their copies are outdated, and lets no late writer in", async () => {
    const store = new MemoryObjects();
    const archive = new StoreArchive(store);
    const head = () => {
      const key = { owner: ownerOf("tenant", "acme"), sessionId: old.sessionId };
      return parseHead(store.objects.get(headNameOf(key))?.body ?? Buffer.alloc(0));
    };
    await archive.put(old, transcriptsOf(OLD), false);
    const before = head();
    await archive.put(next, transcriptsOf(NEW), true);
    const after = head();
    if (before === undefined || after === undefined) expect.fail("There is no head");
    expect(stateOf(after)).not.toBe(stateOf(before));
    expect(after.fence).toBeGreaterThan(before.fence);
    expect(after.lease).toBeNull();
  });
});

describe("a session that is deleted in the store it is copied to", () => {
  const record = recordOf("a", 100);

  async function stored() {
    const { data } = await openSessions();
    const store = new MemoryObjects();
    const locks = new SessionLocks();
    const local = new FileSessions({ dataDirectory: data, maxPerTenant: 9, locks });
    const sessions = new SharedSessions({
      store,
      local,
      dataDirectory: data,
      locks,
      holder: "one",
      leaseTimeMs: 60_000,
      maxPerTenant: 9,
      maxIdleMs: null,
      outboxBytes: 0,
      beforeDelete: async () => {},
      onNotice: () => {},
    });
    const archive = new StoreArchive(store);
    await archive.put(record, transcriptsOf(OLD), false);
    return { store, sessions, archive };
  }

  /** The new one, of which half is read when something else happens. */
  function interrupted(work: () => Promise<unknown>): Transcripts {
    const { paths, load } = transcriptsOf(NEW);
    return {
      paths,
      async *load(path) {
        if (path !== "") await work();
        yield* load(path);
      },
    };
  }

  it("stays deleted, if it is so meanwhile", async () => {
    const { store, sessions, archive } = await stored();
    const remove = () => sessions.delete(record, Date.now());
    expect(await archive.put(record, interrupted(remove), true)).toBe("busy");
    expect((await archive.all()).records).toEqual([]);
    const left = [...store.objects.keys()].filter((name) => name.startsWith("sessions/"));
    expect(left.map((name) => name.endsWith("/head"))).toEqual([true]);
  });

  it("leaves nothing for good where it was cut off, and is no session until it is whole", async () => {
    for (const wasDeleted of [false, true]) {
      const { store, sessions, archive } = await stored();
      const other = wasDeleted ? record : recordOf("b", 5);
      if (wasDeleted) await sessions.delete(record, Date.now());
      const cut = async () => void (store.faultOf = () => "before");
      expect(await codeOf(archive.put(other, interrupted(cut), false))).toBe("store_unavailable");
      store.faultOf = () => null;
      const isLeft = () => [...store.objects.values()].some(({ body }) => body.includes("new"));
      const pace = { pacer: new Pacer(1), signal: new AbortController().signal };
      const HOUR_MS = 3_600_000;
      await sessions.forgetGone(Date.now() + HOUR_MS, pace);
      // It might still be under way.
      expect(isLeft()).toBe(true);
      await sessions.forgetGone(Date.now() + 25 * HOUR_MS, pace);
      expect(isLeft()).toBe(false);
      await sessions.forgetGone(Date.now() + 9 * 24 * HOUR_MS, pace);
      const left = [...store.objects.keys()].filter((name) => name.includes(other.sessionId));
      expect(left.filter((name) => !name.startsWith("index/"))).toEqual([]);
      expect(await archive.put(other, transcriptsOf(NEW), false)).toBe("copied");
      await sessions.forgetGone(Date.now() + 25 * HOUR_MS, pace);
      expect(await textsIn(archive, other)).toEqual(NEW);
    }
  });

  it("is listed when it is whole, whoever takes away names that are of no session", async () => {
    const { sessions, archive } = await stored();
    const other = recordOf("b", 5);
    const pace = { pacer: new Pacer(1), signal: new AbortController().signal };
    const sweep = async () => {
      for await (const _found of sessions.scan()) continue;
      await sessions.forgetGone(Date.now(), pace);
    };
    expect(await archive.put(other, interrupted(sweep), false)).toBe("copied");
    await sweep();
    expect((await archive.all()).records).toContainEqual(other);
  });

  it("comes back without what a deletion that was cut short has left", async () => {
    const { store, sessions, archive } = await stored();
    store.faultOf = (call, name) =>
      call === "list" && name.startsWith("sessions/") ? "before" : null;
    expect(await codeOf(sessions.delete(record, Date.now()))).toBe("store_unavailable");
    store.faultOf = () => null;
    expect(await archive.put(record, transcriptsOf(NEW), false)).toBe("copied");
    const all = [...store.objects.values()].map(({ body }) => body.toString("utf8")).join("");
    expect(all).not.toContain("old");
    expect(await textsIn(archive, record)).toEqual(NEW);
  });

  it("comes back whole, if it was so before, whoever looks after deleted ones", async () => {
    const { store, sessions, archive } = await stored();
    await sessions.delete(record, Date.now());
    const key = { owner: ownerOf("tenant", "acme"), sessionId: record.sessionId };
    await store.put(deletingNameOf(key, Date.now()), Buffer.alloc(0), "any");
    const pace = { pacer: new Pacer(1), signal: new AbortController().signal };
    // So late that the deletion counts as one that was cut short.
    const forget = () => sessions.forgetGone(Date.now() + 60 * 60 * 1000, pace);
    expect(await archive.put(record, interrupted(forget), false)).toBe("copied");
    await forget();
    expect((await archive.all()).records).toEqual([record]);
    expect(await textsIn(archive, record)).toEqual(NEW);
  });
});

describe("a session that a replica has", () => {
  it("is not read from the store: half a turn is no session", async () => {
    const { store, one } = await replicas();
    const archive = new StoreArchive(store);
    const turn = await begin(one, thread("t"));
    await turn.say("half of it");
    const [record] = (await archive.all()).records;
    expect(await codeOf(archive.transcripts(required(record)))).toBe("session_busy");
    await turn.finish();
    await turn[Symbol.asyncDispose]();
    const texts = await textsIn(archive, required(record));
    expect(texts[""]).toContain("half of it");
  });
});

const ARCHIVES: readonly (readonly [string, () => Promise<SessionArchive>])[] = [
  ["a directory", async () => new DirectoryArchive((await openSessions()).data)],
  ["a store", async () => new StoreArchive(new MemoryObjects())],
];

describe.each(ARCHIVES)("in %s", (_where, open) => {
  it("a session on hold is not replaced", async () => {
    const archive = await open();
    const held = { ...recordOf("a", 100), onHoldSinceMs: 50 };
    const { onHoldSinceMs: _onHoldSinceMs, ...free } = held;
    expect(await archive.put(held, transcriptsOf(OLD), false)).toBe("copied");
    expect(await archive.put(free, transcriptsOf(NEW), false)).toBe("present");
    expect(await codeOf(archive.put(free, transcriptsOf(NEW), true))).toBe("session_on_hold");
    expect(await textsIn(archive, held)).toEqual(OLD);
    expect((await archive.all()).records).toEqual([held]);
  });

  it("a session that was cut off while it was copied is none, and is copied the next time", async () => {
    const archive = await open();
    const record = recordOf("a", 100);
    const { paths, load } = transcriptsOf(NEW);
    const cut: Transcripts = {
      paths,
      async *load(path) {
        if (path !== "") throw new Error("cut off");
        yield* load(path);
      },
    };
    await expect(archive.put(record, cut, false)).rejects.toThrow();
    expect((await archive.all()).records).toEqual([]);
    expect(await archive.put(record, transcriptsOf(NEW), false)).toBe("copied");
    expect(await textsIn(archive, record)).toEqual(NEW);
  });

  it("a session is read as it is then, and among others without what its turns answered", async () => {
    const archive = await open();
    const before = recordOf("a", 100);
    await archive.put(before, transcriptsOf(OLD), false);
    const [listed] = (await archive.all()).records;
    expect(listed).toEqual(before);
    const turn = { hash: "h", inputHash: "i", turnId: "t", startedAtMs: 5 };
    const now = { ...before, onHoldSinceMs: 50, turns: 2, keptTurns: [turn] };
    await archive.put(now, transcriptsOf(NEW), true);
    // Much may have been copied since they were listed.
    const { record } = await archive.transcripts(required(listed));
    expect(record).toEqual(now);
    const { keptTurns: _keptTurns, ...others } = now;
    expect((await archive.all()).records).toEqual([others]);
    expect(await codeOf(archive.transcripts(recordOf("b", 1)))).toBe("session_not_found");
  });

  it("any one session is found by its id", async () => {
    const archive = await open();
    const [one, other] = [recordOf("a", 100), recordOf("b", 200)];
    for (const each of [one, other]) await archive.put(each, transcriptsOf(OLD), false);
    expect(await archive.find(one.sessionId)).toEqual(one);
    expect(await archive.find(recordOf("c", 1).sessionId)).toBeUndefined();
    expect((await archive.all()).records).toEqual([other, one]);
  });
});

describe("a session that cannot be read", () => {
  it("is named, of a directory, and what is no session is not", async () => {
    const { data, sessions } = await openSessions();
    const archive = new DirectoryArchive(data);
    await takeTurn(sessions, thread("whole"), 10);
    const { sessionId } = await takeTurn(sessions, thread("damaged"), 10);
    const { directory, record } = sessionPathsOf(data, { tenant: "acme", sessionId });
    await writeFile(record, "{");
    await writeFile(join(directory, "..", "stray"), "");
    const { records, unreadable } = await archive.all();
    expect(records.map(({ threadId }) => threadId)).toEqual(["whole"]);
    expect(unreadable).toEqual([sessionId]);
  });

  it("is named, of a store", async () => {
    const store = new MemoryObjects();
    const archive = new StoreArchive(store);
    const [whole, damaged] = [recordOf("whole", 10), recordOf("damaged", 10)];
    for (const each of [whole, damaged]) await archive.put(each, transcriptsOf(OLD), false);
    const key = { owner: ownerOf("tenant", "acme"), sessionId: damaged.sessionId };
    await store.put(headNameOf(key), Buffer.from("{"), "any");
    expect(await archive.all()).toEqual({ records: [whole], unreadable: [damaged.sessionId] });
    expect(await codeOf(archive.find(damaged.sessionId))).toBe("session_unreadable");
  });
});

describe("a session whose head has lost its bytes, in a store of files", () => {
  it("is one that cannot be read, and keeps no other from being listed", async () => {
    const directory = await temporaryDirectory();
    const store = await openObjectStore({ url: pathToFileURL(directory), timeoutMs: 60_000 });
    cleanAfterTest(async () => store[Symbol.asyncDispose]());
    const archive = new StoreArchive(store);
    const [whole, damaged] = [recordOf("whole", 10), recordOf("damaged", 10)];
    for (const each of [whole, damaged]) await archive.put(each, transcriptsOf(OLD), false);
    const key = { owner: ownerOf("tenant", "acme"), sessionId: damaged.sessionId };
    const place = join(directory, "objects", `${headNameOf(key)}@`);
    const bytes = (await readdir(place)).filter((name) => name.includes("."));
    for (const name of bytes) await rm(join(place, name));
    expect(await archive.all()).toEqual({ records: [whole], unreadable: [damaged.sessionId] });
    const { sessions } = await replica("one", store);
    const page = await sessions.list({ tenant: "acme" });
    expect(page).toMatchObject({ sessions: [{ threadId: "whole" }], unreadable: 1 });
    const seen = [];
    for await (const some of sessions.scan()) seen.push(...some);
    expect(seen).toContain("unreadable");
    expect(seen).toHaveLength(2);
    expect(await codeOf(sessions.read(damaged, 20))).toBe("session_unreadable");
  });
});

describe("StoreArchive.find", () => {
  it("reads one head, however many sessions there are", async () => {
    const store = new MemoryObjects();
    const archive = new StoreArchive(store);
    const records = Array.from({ length: 30 }, (_, at) => recordOf(`thread-${at}`, at));
    for (const each of records) await archive.put(each, transcriptsOf({}), false);
    store.calls.length = 0;
    expect(await archive.find(records[3]?.sessionId ?? "")).toEqual(records[3]);
    expect(store.calls.filter(({ call }) => call === "get").length).toBe(1);
    expect(store.calls.length).toBe(2);
  });
});
