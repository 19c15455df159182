/**
 * Goal: what is told of all sessions is what a look at all of them would find, though nobody looks:
 * after turns and deletions, and of a store as far as this replica can know.
 * Method: real sessions as files and in a store, compared with a fresh look; for what happens
 * during a look, one that the test turns.
 */

import { afterEach, describe, expect, it, vi } from "vitest";

import type { FileSessions } from "../../src/session/file-sessions.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { SessionTally, type SeenSession } from "../../src/session/session-tally.ts";
import type { Sessions } from "../../src/session/sessions.ts";
import { IdleSessions } from "../../src/server/idle-sessions.ts";
import { until } from "../helpers/leaks.ts";
import { openSessions, QUEUE_LINE, takeTurn, thread, userLine } from "./fixture.ts";
import { begin, replicas, type Replica } from "./replicas.ts";

const TURN_BYTES = (QUEUE_LINE + userLine("hello")).length;

async function lookAll(sessions: Pick<Sessions, "scan">): Promise<void> {
  for await (const _some of sessions.scan({ withDiskUsage: false }));
}

/** What a server that has just started would count. */
async function countedAnew(reopened: () => FileSessions) {
  const sessions = reopened();
  await lookAll(sessions);
  const { sessions: count, transcriptBytes } = sessions.tallied ?? {};
  return { sessions: count, transcriptBytes };
}

describe("sessions as files", () => {
  it("are not known before they were looked at", async () => {
    const { sessions } = await openSessions();
    await takeTurn(sessions, thread("one"), 1);
    expect(sessions.tallied).toBeNull();
  });

  it("are told after turns and deletions as a fresh look finds them", async () => {
    const { sessions, reopened } = await openSessions();
    await takeTurn(sessions, thread("one"), 1);
    await takeTurn(sessions, thread("two"), 1);
    await lookAll(sessions);
    expect(sessions.tallied).toMatchObject({ sessions: 2, transcriptBytes: 2 * TURN_BYTES });

    await takeTurn(sessions, thread("three", { tenant: "other" }), 2);
    await takeTurn(sessions, thread("one"), 2);
    expect(sessions.tallied).toMatchObject({ sessions: 3, transcriptBytes: 3 * TURN_BYTES });
    await sessions.delete(sessionRefOf(thread("two")), 3);
    const idleRef = { ...sessionRefOf(thread("one")), lastUseAtMs: 2 };
    expect(await sessions.deleteUnused(idleRef, 3)).toBe(true);
    expect(sessions.tallied).toMatchObject({ sessions: 1, transcriptBytes: TURN_BYTES });
    expect(sessions.tallied).toMatchObject(await countedAnew(reopened));
  });

  it("are counted while they come and go", async () => {
    const { sessions, reopened } = await openSessions();
    for (let n = 0; n < 30; n += 1) await takeTurn(sessions, thread(`${n}`), 1);
    const look = sessions.scan({ withDiskUsage: true });
    await look.next();
    await sessions.delete(sessionRefOf(thread("3")), 2);
    await takeTurn(sessions, thread("new"), 2);
    for await (const _rest of look);
    expect(sessions.tallied).toMatchObject({ sessions: 30 });
    expect(sessions.tallied).toMatchObject(await countedAnew(reopened));
  });
});

describe("a look", () => {
  const seen = (sessionId: string, transcriptBytes = 10): SeenSession => ({
    tenant: "acme",
    sessionId,
    createdAtMs: 1,
    lastUseAtMs: 1,
    bytes: 4096,
    transcriptBytes,
    isOnHold: false,
    isBusy: false,
  });
  const ref = (sessionId: string) => ({ tenant: "acme", sessionId });

  it("counts each session once that is there at its end, whenever it came or went", async () => {
    const tally = new SessionTally();
    async function* found() {
      yield [seen("stays"), seen("goes"), "unreadable" as const];
      // One that was read before it went, and one that was begun before it is come to.
      yield [seen("gone already"), seen("begun"), seen("stays")];
    }
    const look = tally.counting(found());
    await look.next();
    tally.removed(ref("goes"), 10);
    tally.removed(ref("gone already"), 10);
    tally.begun(ref("begun"));
    tally.grew(ref("begun"), 7);
    tally.grew(ref("stays"), 5);
    expect(tally.known).toBeNull();
    for await (const _rest of look);
    expect(tally.known).toMatchObject({ sessions: 2, transcriptBytes: 22 });
  });

  it("that is left before its end changes nothing", async () => {
    const tally = new SessionTally();
    async function* found(ids: readonly string[]) {
      for (const id of ids) yield [seen(id)];
    }
    for await (const _some of tally.counting(found(["a", "b", "c"])));
    for await (const _some of tally.counting(found(["a"]))) break;
    expect(tally.known).toMatchObject({ sessions: 3 });
  });
});

describe("sessions in a store", () => {
  const turnAt = async (at: Replica, name: string) => {
    await using turn = await begin(at, thread(name));
    await turn.say("hello");
    await turn.finish();
  };

  it("are told as they were last counted, with what this replica does", async () => {
    const { one, two } = await replicas();
    await turnAt(one, "a");
    await turnAt(two, "b");
    expect(one.sessions.tallied).toBeNull();
    await lookAll(one.sessions);
    await lookAll(two.sessions);
    // Each has counted in its own millisecond.
    const { sessions: before, transcriptBytes: bytes } = one.sessions.tallied ?? {};
    const ofTwo = two.sessions.tallied;
    expect(before).toBe(2);
    expect(bytes).toBeGreaterThan(0);
    expect(ofTwo).toMatchObject({ sessions: before, transcriptBytes: bytes });

    await turnAt(one, "c");
    await turnAt(one, "a");
    expect(one.sessions.tallied?.sessions).toBe(3);
    expect(two.sessions.tallied).toEqual(ofTwo);
    await one.sessions.delete(sessionRefOf(thread("b")), Date.now());
    const now = one.sessions.tallied;
    await lookAll(two.sessions);
    const { sessions, transcriptBytes } = two.sessions.tallied ?? {};
    expect(now).toMatchObject({ sessions, transcriptBytes });
  });
});

describe("what is told of those at rest", () => {
  const quiet = { warn: () => {} } as never;
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("is counted once, when somebody begins to watch", async () => {
    const { sessions } = await openSessions();
    for (let n = 0; n < 5; n += 1) await takeTurn(sessions, thread(`${n}`), 1);
    const looks = vi.spyOn(sessions, "scan");
    using idle = new IdleSessions({ sessions, isShared: false, inUse: () => 2, log: quiet });
    expect(idle.view()).toMatchObject({ idle: null, transcriptBytes: null, countedAtMs: null });
    for (let watcher = 0; watcher < 3; watcher += 1) idle.watched();
    await until(() => idle.view().idle !== null, "the sessions to be counted");
    idle.watched();
    expect(looks).toHaveBeenCalledTimes(1);
    expect(idle.view()).toMatchObject({ idle: 3, transcriptBytes: 5 * TURN_BYTES });
  });

  it("is never asked of a store for it", async () => {
    const { one } = await replicas();
    const looks = vi.spyOn(one.sessions, "scan");
    const parts = { sessions: one.sessions, isShared: true, inUse: () => 0, log: quiet };
    using idle = new IdleSessions(parts);
    idle.watched();
    expect(looks).not.toHaveBeenCalled();
    expect(idle.view()).toMatchObject({ isShared: true, idle: null });
    await lookAll(one.sessions);
    expect(idle.view()).toMatchObject({ isShared: true, idle: 0 });
  });
});
