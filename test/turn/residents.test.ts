/**
 * Goal: no tenant can take with hints what belongs to others, and no hint what turns count on.
 * Method: residents of processes that are none; those of real ones are in `test/e2e`.
 */

import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import type { SessionRef } from "../../src/session/session-id.ts";
import { Evictions } from "../../src/turn/evictions.ts";
import { MAX_IN_VAIN, Residents } from "../../src/turn/residents.ts";
import type { TurnProcess } from "../../src/turn/turn-process.ts";

const MiB = 2 ** 20;
const NONE = {
  currentBytes: 0,
  connection: { process: undefined, isAlive: true },
  end: async () => {},
};

function residentsOf(maxResidents: number): Residents {
  return new Residents({
    dataDirectory: join(tmpdir(), "plimsoll-no-such-directory"),
    maxResidents,
    startTimeoutMs: 1_000,
    evictions: new Evictions(),
    onEnded: () => {},
  });
}

function parkWarming(residents: Residents, ref: SessionRef): void {
  residents.park({
    ref,
    process: { ...NONE } as unknown as TurnProcess,
    permit: null,
    leavesAtMs: monotonicMs() + 60_000,
    warming: { ready: Promise.resolve(), predictedBytes: 1 },
  });
}

describe("Residents, started ahead", () => {
  it("count for what they will hold, and free as much when they go", async () => {
    const residents = residentsOf(100);
    const process = { ...NONE, currentBytes: null as number | null };
    residents.park({
      ref: { tenant: "ada", sessionId: "next" },
      process: process as unknown as TurnProcess,
      permit: null,
      leavesAtMs: monotonicMs() + 60_000,
      warming: { ready: Promise.resolve(), predictedBytes: 130 * MiB },
    });
    const sums = () =>
      [residents.evictableBytes(), residents.promisedBytes()].map((sum) => sum / MiB);
    expect(sums()).toEqual([0, 130]);
    process.currentBytes = 90 * MiB;
    expect(sums()).toEqual([90, 40]);
    process.currentBytes = 140 * MiB;
    expect(sums()).toEqual([140, 0]);
    process.currentBytes = 90 * MiB;
    parkWarming(residents, { tenant: "ada", sessionId: "another" });
    residents.evict(120 * MiB);
    expect(residents.size).toBe(1);
    await residents.close();
  });
});

describe("Residents, started ahead for one tenant", () => {
  it("are not started when several were in vain, whatever their sessions", async () => {
    const residents = residentsOf(100);
    const next = { tenant: "ada", sessionId: "next" };
    for (let turn = 0; turn < MAX_IN_VAIN; turn += 1) {
      expect(residents.heatOf(next).wasInVain).toBe(false);
      const ref = { tenant: "ada", sessionId: `session-${turn}` };
      parkWarming(residents, ref);
      await residents.endOf(ref, "deleted");
    }
    expect(residents.heatOf(next).wasInVain).toBe(true);
    expect(residents.heatOf({ ...next, tenant: "bob" }).wasInVain).toBe(false);
    await residents.close();
  });

  it("take the place of its own, and of nobody else's", async () => {
    const residents = residentsOf(1);
    const [first, second] = ["one", "two"].map((sessionId) => ({ tenant: "ada", sessionId }));
    if (first === undefined || second === undefined) throw new Error("two sessions");
    parkWarming(residents, first);
    expect(residents.heatOf({ tenant: "bob", sessionId: "one" }).hasPlace).toBe(false);
    expect(residents.heatOf(second).hasPlace).toBe(true);
    parkWarming(residents, second);
    expect(residents.all.map(({ ref }) => ref)).toEqual([second]);
    await residents.close();
    expect(residents.size).toBe(0);
  });
});
