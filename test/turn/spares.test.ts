/**
 * Goal: what is wrong with one agent keeps no other from its spares; and nobody counts on the memory
 *   that one will hold which is starting.
 * Method: spares of processes that are none; those of real ones are in `test/e2e`.
 */

import { describe, expect, it } from "vitest";
import { Evictions } from "../../src/turn/evictions.ts";
import { Spares } from "../../src/turn/spares.ts";
import type { TurnProcess } from "../../src/turn/turn-process.ts";
import { until } from "../helpers/leaks.ts";

function processOf(agentName: string): TurnProcess {
  const connection = { process: undefined, isAlive: true };
  return { agentName, currentBytes: 0, connection, end: async () => {} } as unknown as TurnProcess;
}

describe("Spares", () => {
  it("are started of other agents while those of one cannot be, each in its time", async () => {
    const failedAtMs: number[] = [];
    const spares = new Spares({
      wanted: new Map([
        ["broken", 3],
        ["sound", 2],
      ]),
      start: async (agentName) => ({
        process: processOf(agentName),
        ready: agentName === "broken" ? Promise.reject(new Error("broken")) : Promise.resolve(),
      }),
      mayStart: () => true,
      evictions: new Evictions(),
      onEnded: () => {},
      onFailed: () => failedAtMs.push(performance.now()),
    });
    spares.open();
    await until(
      () => spares.size === 2 && failedAtMs.length === 3,
      "two spares and three failures",
    );
    expect(spares.all.map(({ agentName }) => agentName)).toEqual(["sound", "sound"]);
    const [first = 0, second = 0, third = 0] = failedAtMs;
    expect(second - first).toBeGreaterThanOrEqual(1_000);
    expect(third - second).toBeGreaterThanOrEqual(2_000);
    await spares.close();
    expect(spares.size).toBe(0);
  });

  it("are watched once each, however many turns that were refused had taken them", async () => {
    let watchers = 0;
    let tellGone = (): void => {};
    const ended: string[] = [];
    const gone = new Promise<void>((resolve) => (tellGone = resolve));
    const watched = {
      then: async (...args: Parameters<typeof gone.then>) => {
        watchers += 1;
        return gone.then(...args);
      },
    };
    const process = processOf("sound");
    Object.assign(process.connection, { process: { gone: watched } });
    const spares = new Spares({
      wanted: new Map(),
      start: () => Promise.reject(new Error("none is wanted")),
      mayStart: () => false,
      evictions: new Evictions(),
      onEnded: (reason) => ended.push(reason),
      onFailed: () => {},
    });
    spares.putBack(process);
    for (let refused = 0; refused < 1000; refused += 1) {
      expect(spares.take("sound")).toBe(process);
      spares.putBack(process);
    }
    expect(watchers).toBe(1);
    tellGone();
    await until(() => spares.size === 0, "the spare to be dropped");
    expect(ended).toEqual(["died"]);
    await spares.close();
  });

  it("count from their start for what they will hold, and free as much when they go", async () => {
    const MiB = 2 ** 20;
    const process = Object.assign(processOf("sound"), { currentBytes: null as number | null });
    let tellReady = (): void => {};
    const ready = new Promise<void>((resolve) => (tellReady = resolve));
    const spares = new Spares({
      wanted: new Map([["sound", 1]]),
      start: async () => ({ process, ready }),
      mayStart: () => true,
      evictions: new Evictions(),
      onEnded: () => {},
      onFailed: () => {},
    });
    const sums = () => [spares.heldBytes(), spares.promisedBytes()].map((sum) => sum / MiB);
    expect(sums()).toEqual([0, 0]);
    spares.open();
    await until(() => spares.all.length === 1, "one to start");
    expect(sums()).toEqual([0, 112]);
    process.currentBytes = 40 * MiB;
    expect(sums()).toEqual([40, 72]);
    expect(spares.evict(100 * MiB)).toBe(112 * MiB);
    expect(sums()).toEqual([0, 0]);
    tellReady();
    await spares.close();
  });
});
