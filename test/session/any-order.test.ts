/**
 * Goal: no order of calls makes the store lose count, lose a session, or show a tenant what is
 * another's.
 * Method: random sequences of lock, open, finish, hold and delete by two tenants who use the same
 * thread ids; a model that only remembers what was promised is compared after each one, and once more
 * through a second store on the same directory, as after a restart. Both list in the same order.
 */

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { FileSessions } from "../../src/session/file-sessions.ts";
import type { SessionRef } from "../../src/session/session-id.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { TOTALS, codeOf, openSessions, thread, userLine, writeTranscript } from "./fixture.ts";

const MAX_PER_TENANT = 2;
const TENANTS = ["acme", "other"];

const step = fc.record({
  action: fc.constantFrom("lock", "unlock", "open", "finish", "hold", "delete"),
  tenant: fc.constantFrom(...TENANTS),
  threadId: fc.constantFrom("a", "b", "c"),
});

/** Turns finished, by tenant and thread. */
type Model = Map<string, Map<string, number>>;

describe("FileSessions, for any order of calls", () => {
  it("keeps count, keeps what was promised and keeps tenants apart", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const { sessions, locks, reopened } = await openSessions({ maxPerTenant: MAX_PER_TENANT });
        const model: Model = new Map(TENANTS.map((tenant) => [tenant, new Map()]));
        const held = new Map<string, Disposable>();
        let nowMs = 1_000;
        for (const { action, tenant, threadId } of steps) {
          nowMs += 1;
          const input = thread(threadId, { tenant });
          const ref = sessionRefOf(input);
          const key = `${tenant}/${threadId}`;
          const own = model.get(tenant) ?? new Map<string, number>();
          const turns = own.get(threadId);
          if (action === "lock" && !held.has(key)) held.set(key, locks.lock(ref));
          if (action === "unlock") {
            held.get(key)?.[Symbol.dispose]();
            held.delete(key);
          }
          if (action === "open") {
            if (turns === undefined && own.size === MAX_PER_TENANT) {
              expect(await codeOf(sessions.open(input, nowMs))).toBe("too_many_sessions");
            } else {
              const session = await sessions.open(input, nowMs);
              expect(session.isNew).toBe((turns ?? 0) === 0);
              own.set(threadId, turns ?? 0);
            }
          }
          if (action === "finish" && turns !== undefined) {
            await writeTranscript(await sessions.open(input, nowMs), userLine("hello"));
            await sessions.finish(ref, { totals: TOTALS, endedAtMs: nowMs });
            own.set(threadId, turns + 1);
          }
          if (action === "hold" && turns !== undefined && !held.has(key)) {
            for (const isOnHold of [true, false]) await sessions.hold(ref, isOnHold, nowMs);
          }
          if (action === "delete") await expectDelete(sessions, ref, nowMs, held.has(key), own);
          expect(locks.size).toBe(held.size);
          await expectAsModel(sessions, model);
          expect(await orderOf(sessions)).toEqual(await orderOf(reopened()));
        }
        await expectAsModel(reopened(), model);
      }),
      { numRuns: 60 },
    );
  });
});

async function expectDelete(
  sessions: FileSessions,
  ref: SessionRef,
  nowMs: number,
  isHeld: boolean,
  own: Map<string, number>,
): Promise<void> {
  const threadId = ["a", "b", "c"].find(
    (name) => sessionRefOf(thread(name, { tenant: ref.tenant })).sessionId === ref.sessionId,
  );
  if (threadId === undefined) throw new Error("The session is none of the model's");
  if (isHeld) {
    expect(await codeOf(sessions.delete(ref, nowMs))).toBe("session_busy");
  } else if (own.has(threadId)) {
    expect((await sessions.delete(ref, nowMs)).bytes).toBeGreaterThan(0);
    own.delete(threadId);
  } else {
    expect(["session_gone", "session_not_found"]).toContain(
      await codeOf(sessions.delete(ref, nowMs)),
    );
  }
}

async function orderOf(sessions: FileSessions): Promise<string[]> {
  const pages = await Promise.all(TENANTS.map((tenant) => sessions.list({ tenant })));
  return pages.flatMap((page) => page.sessions.map(({ sessionId }) => sessionId));
}

async function expectAsModel(sessions: FileSessions, model: Model): Promise<void> {
  for (const [tenant, own] of model) {
    const { sessions: shown, nextCursor } = await sessions.list({ tenant });
    expect(nextCursor).toBeNull();
    expect(new Map(shown.map(({ threadId, turns }) => [threadId, turns]))).toEqual(own);
    expect(await sessions.count(tenant)).toBe(own.size);
  }
}
