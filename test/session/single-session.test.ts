/**
 * Goal: a replica that is a session serves that one, and no other, until it is over.
 * Method: locks and files as a server has them, on a data directory of their own.
 */

import { setTimeout as delay } from "node:timers/promises";

import { describe, expect, it } from "vitest";

import { openDataDirectory } from "../../src/session/data-directory.ts";
import { FileSessions } from "../../src/session/file-sessions.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { anySessions } from "../../src/session/session-list.ts";
import { SessionLocks } from "../../src/session/session-locks.ts";
import { SingleSession } from "../../src/session/single-session.ts";
import { until } from "../helpers/leaks.ts";
import { cleanAfterTest, temporaryDirectory, thread } from "./fixture.ts";

const FIRST = thread("first");
const OTHER = thread("other");
const OTHER_TENANT = thread("first", { tenant: "globex" });
const REFUSAL = expect.objectContaining({ code: "other_session" });

async function openReplica(idleMs = 60_000) {
  const data = await temporaryDirectory();
  const directory = await openDataDirectory(data, 1);
  cleanAfterTest(async () => directory[Symbol.asyncDispose]());
  const [begun = null] = await anySessions(data, 2);
  const single = new SingleSession({ begun, idleMs });
  cleanAfterTest(async () => single[Symbol.dispose]());
  const locks = new SessionLocks(single);
  const sessions = new FileSessions({ dataDirectory: data, maxPerTenant: 9, locks, single });
  const turn = async (input = FIRST) => {
    using _lock = locks.lock(sessionRefOf(input));
    await sessions.open(input, 1);
  };
  return { data, single, locks, sessions, turn };
}

describe("SingleSession", () => {
  it("is bound by the first turn, and refuses all other sessions, of other tenants too", async () => {
    const { single, locks, sessions, turn } = await openReplica();
    expect(single.isTaken).toBe(false);
    await turn();
    expect(single.isTaken).toBe(true);
    for (const ref of [OTHER, OTHER_TENANT].map(sessionRefOf)) {
      expect(() => locks.lock(ref)).toThrow(REFUSAL);
      await expect(sessions.read(ref, 1)).rejects.toThrow(REFUSAL);
      await expect(sessions.delete(ref, 1)).rejects.toThrow(REFUSAL);
    }
    await turn();
    expect(single.over.aborted).toBe(false);
  });

  it("is held for a first turn that is being begun, and free again if that fails", async () => {
    const { single, locks, sessions, turn } = await openReplica();
    const lock = locks.lock(sessionRefOf(FIRST));
    expect(() => locks.lock(sessionRefOf(OTHER))).toThrow(REFUSAL);
    expect(() => locks.lock(sessionRefOf(FIRST))).toThrow(
      expect.objectContaining({ code: "session_busy" }),
    );
    const unknown = thread("first", {
      target: { by: "thread", threadId: "first", expectsHistory: true },
    });
    await expect(sessions.open(unknown, 1)).rejects.toMatchObject({ code: "session_not_found" });
    lock[Symbol.dispose]();
    lock[Symbol.dispose]();
    expect(single.isTaken).toBe(false);
    await turn(OTHER);
    expect(() => locks.lock(sessionRefOf(FIRST))).toThrow(REFUSAL);
  });

  it("is bound again after a restart", async () => {
    const { data, turn } = await openReplica();
    await turn();
    const [begun = null, ...others] = await anySessions(data, 2);
    expect(others).toEqual([]);
    using single = new SingleSession({ begun, idleMs: 60_000 });
    expect(single.isTaken).toBe(true);
    single.check(sessionRefOf(FIRST));
    expect(() => single.check(sessionRefOf(OTHER))).toThrow(REFUSAL);
  });

  it("is over when it is deleted, and not when a deletion is refused", async () => {
    const { single, locks, sessions, turn } = await openReplica();
    const ref = sessionRefOf(FIRST);
    await expect(sessions.delete(ref, 1)).rejects.toMatchObject({ code: "session_not_found" });
    await turn();
    const lock = locks.lock(ref);
    await expect(sessions.delete(ref, 1)).rejects.toMatchObject({ code: "session_busy" });
    lock[Symbol.dispose]();
    expect(single.over.aborted).toBe(false);
    await sessions.delete(ref, 1);
    expect(single.over.reason).toBe("its session was deleted");
  });

  it("is over when no turn comes, but not while one runs, however long", async () => {
    const idle = await openReplica(50);
    idle.single.awaitTurn();
    await until(() => idle.single.over.aborted, "the end of a replica without a turn");
    expect(idle.single.over.reason).toContain("hosting.idleTime");

    const { single, locks } = await openReplica(300);
    const lock = locks.lock(sessionRefOf(FIRST));
    // As long as it takes: the end would have come by now.
    await delay(600);
    expect(single.over.aborted).toBe(false);
    lock[Symbol.dispose]();
    await until(() => single.over.aborted, "the end after the last turn");
  });
});
