/**
 * Goal: what is left of deleted sessions in a store costs next to nothing until it is due, is then
 * forgotten, and never holds up a server that stops.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Pacer } from "../../src/lib/pacer.ts";
import { FileSessions } from "../../src/session/file-sessions.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { SessionLocks } from "../../src/session/session-locks.ts";
import { SharedSessions } from "../../src/session/shared-sessions.ts";
import { goneNameOf, headNameOf, type LogKey, ownerOf } from "../../src/session/stores/names.ts";
import { newHead } from "../../src/session/stores/session-head.ts";
import { codeOf, temporaryDirectory, thread } from "./fixture.ts";
import { MemoryObjects } from "./stores/memory-objects.ts";

const DAY_MS = 86_400_000;
const NOW_MS = 400 * DAY_MS;
const MINUTE_MS = 60_000;

async function prepare() {
  const store = new MemoryObjects();
  const dataDirectory = await temporaryDirectory();
  const locks = new SessionLocks();
  const maxPerTenant = Number.MAX_SAFE_INTEGER;
  const sessions = new SharedSessions({
    store,
    local: new FileSessions({ dataDirectory, maxPerTenant, locks }),
    dataDirectory,
    locks,
    holder: "one",
    leaseTimeMs: MINUTE_MS,
    maxPerTenant,
    maxIdleMs: null,
    outboxBytes: 2 ** 20,
    beforeDelete: async () => {},
    onNotice: () => {},
  });
  const forgetGone = async (nowMs: number, signal = new AbortController().signal) =>
    sessions.forgetGone(nowMs, { pacer: new Pacer(1), signal });
  return { store, sessions, forgetGone };
}

/** As the deletions of the days before have left them. */
async function writeGone(store: MemoryObjects, count: number, ageMs: number): Promise<void> {
  for (let at = 0; at < count; at += 1) {
    const key: LogKey = { owner: ownerOf("tenant", "acme"), sessionId: randomUUID() };
    const deletedAtMs = NOW_MS - ageMs;
    const head = { ...newHead(key.sessionId), deletedAtMs };
    await store.put(headNameOf(key), Buffer.from(JSON.stringify(head)), "absent");
    await store.put(goneNameOf(key, deletedAtMs), Buffer.alloc(0), "absent");
  }
  store.calls.length = 0;
}

describe("what is left of deleted sessions", () => {
  it("is read only once it is due, however many were deleted", async () => {
    const { store, forgetGone } = await prepare();
    await writeGone(store, 197, DAY_MS);
    await writeGone(store, 3, 8 * DAY_MS);
    await forgetGone(NOW_MS);
    expect(store.objects.size).toBe(2 * 197);
    // A list of each kind, and of the three: read, look that nothing is left, forget, unname.
    expect(store.calls.length).toBeLessThanOrEqual(2 + 3 * 4);
    store.calls.length = 0;
    await forgetGone(NOW_MS);
    expect(store.calls.map(({ call }) => call)).toEqual(["list", "list"]);
  });

  it("is left where it is at once when the server stops", async () => {
    const { store, forgetGone } = await prepare();
    await writeGone(store, 200, 8 * DAY_MS);
    const stop = new AbortController();
    store.faultOf = (call) => {
      if (call === "get") stop.abort();
      return null;
    };
    await forgetGone(NOW_MS, stop.signal);
    // The session that it was at, whole, and no other.
    expect(store.objects.size).toBe(2 * 199);
    const { length } = store.calls;
    await forgetGone(NOW_MS, stop.signal);
    expect(store.calls).toHaveLength(length);
  });

  it("is forgotten many at a time, as each has several calls one after the other", async () => {
    const { store, forgetGone } = await prepare();
    await writeGone(store, 100, 8 * DAY_MS);
    let underWay = 0;
    let most = 0;
    store.before = async (call) => {
      if (call !== "get") return;
      underWay += 1;
      most = Math.max(most, underWay);
      await delay(2);
      underWay -= 1;
    };
    await forgetGone(NOW_MS);
    expect(store.objects.size).toBe(0);
    expect(most).toBe(16);
  });

  it("goes soon where a deletion was cut short", async () => {
    const { store, sessions, forgetGone } = await prepare();
    const input = thread("t");
    const ref = sessionRefOf(input);
    {
      await using _claim = await sessions.claim(input, NOW_MS);
    }
    const piece = `${headNameOf({ owner: ownerOf("tenant", "acme"), sessionId: ref.sessionId })}less`;
    await store.put(piece, Buffer.from("said"), "absent");
    store.faultOf = (call, name) =>
      call === "list" && name.startsWith("sessions/") ? "before" : null;
    expect(await codeOf(sessions.delete(ref, NOW_MS))).toBe("store_unavailable");
    store.faultOf = () => null;
    // It might still be under way.
    await forgetGone(NOW_MS + MINUTE_MS);
    expect(store.objects.has(piece)).toBe(true);
    await forgetGone(NOW_MS + 11 * MINUTE_MS);
    expect(store.objects.has(piece)).toBe(false);
    expect([...store.objects.keys()].filter((name) => name.startsWith("deleting/"))).toEqual([]);
    expect(await codeOf(sessions.read(ref, NOW_MS + DAY_MS))).toBe("session_gone");
  });

  it("is forgotten although something that is damaged comes before it", async () => {
    const { store, forgetGone } = await prepare();
    await writeGone(store, 1, 9 * DAY_MS);
    const [damaged = ""] = [...store.objects.keys()].filter((name) => name.endsWith("/head"));
    await store.put(damaged, Buffer.from("{"), "any");
    await writeGone(store, 1, 8 * DAY_MS);
    await forgetGone(NOW_MS);
    expect([...store.objects.keys()]).toEqual([damaged]);
  });

  it("stays where a newer version has written it", async () => {
    const { store, forgetGone } = await prepare();
    await writeGone(store, 1, 8 * DAY_MS);
    for (const [name, { body }] of store.objects) {
      const newer = body.toString("utf8").replace('"version":1', '"version":99');
      await store.put(name, Buffer.from(newer), "any");
    }
    await writeGone(store, 1, 8 * DAY_MS);
    await forgetGone(NOW_MS);
    expect(store.objects.size).toBe(2);
    expect([...store.objects.values()].map(({ body }) => body.toString()).join("")).toContain("99");
  });

  it("stays while a session is remembered that was begun and deleted anew", async () => {
    const { store, sessions, forgetGone } = await prepare();
    const input = thread("t");
    for (const atMs of [NOW_MS, NOW_MS + DAY_MS]) {
      {
        await using _claim = await sessions.claim(input, atMs);
      }
      await sessions.delete(sessionRefOf(input), atMs);
    }
    await forgetGone(NOW_MS + 7.5 * DAY_MS);
    expect(await codeOf(sessions.read(sessionRefOf(input), NOW_MS + 7.5 * DAY_MS))).toBe(
      "session_gone",
    );
    await forgetGone(NOW_MS + 9 * DAY_MS);
    const left = [...store.objects.keys()].filter((name) => !name.startsWith("index/"));
    expect(left).toEqual([]);
  });
});
