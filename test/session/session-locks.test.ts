import { describe, expect, it } from "vitest";

import { SessionLocks } from "../../src/session/session-locks.ts";

const mine = { tenant: "acme", sessionId: "s" };

describe("SessionLocks", () => {
  it("refuses a session that is taken, until it is given back", () => {
    const locks = new SessionLocks();
    const lock = locks.lock(mine);
    expect(() => locks.lock(mine)).toThrow(expect.objectContaining({ code: "session_busy" }));
    expect([locks.size, locks.isLocked(mine)]).toEqual([1, true]);
    lock[Symbol.dispose]();
    expect([locks.size, locks.isLocked(mine)]).toEqual([0, false]);
    locks.lock(mine);
  });

  it("does not open the lock of the next holder when disposed twice", () => {
    const locks = new SessionLocks();
    const first = locks.lock(mine);
    first[Symbol.dispose]();
    using _second = locks.lock(mine);
    first[Symbol.dispose]();
    expect(locks.isLocked(mine)).toBe(true);
  });

  it("does not let one tenant hold, or feel, the session of another", () => {
    const locks = new SessionLocks();
    using _mine = locks.lock(mine);
    using _same = locks.lock({ tenant: "other", sessionId: "s" });
    expect(locks.size).toBe(2);
  });
});
