/**
 * Goal: what is wrong with one agent keeps no other from its spares; and nobody counts on the memory
 *   that one will hold which is starting.
 * Method: spares of processes that are none; those of real ones are in `test/e2e`.
 */

import { describe, expect, it, vi } from "vitest";
import { Evictions } from "../../src/turn/evictions.ts";
import { Spares, type StartingSpare } from "../../src/turn/spares.ts";
import type { TurnProcess } from "../../src/turn/turn-process.ts";
import { until } from "../helpers/leaks.ts";

const SLOT = { [Symbol.dispose]: () => {} };

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
      tryEnter: () => SLOT,
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
    const watch = gone.then.bind(gone);
    vi.spyOn(gone, "then").mockImplementation(async (...args) => {
      watchers += 1;
      return watch(...args);
    });
    const process = processOf("sound");
    Object.assign(process.connection, { process: { processExited: gone } });
    const spares = new Spares({
      wanted: new Map(),
      start: () => Promise.reject(new Error("none is wanted")),
      tryEnter: () => null,
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
      tryEnter: () => SLOT,
      evictions: new Evictions(),
      onEnded: () => {},
      onFailed: () => {},
    });
    const sums = () => [spares.evictableBytes(), spares.promisedBytes()].map((sum) => sum / MiB);
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

  it("are booked in the step in which they may start, and given up before there is a process", async () => {
    const MiB = 2 ** 20;
    const ended: string[] = [];
    let ends = 0;
    const end = async () => void (ends += 1);
    const process = Object.assign(processOf("sound"), { end });
    const made: ((spare: StartingSpare) => void)[] = [];
    const entered: number[] = [];
    const spares: Spares = new Spares({
      wanted: new Map([["sound", 1]]),
      start: async () => new Promise((resolve) => made.push(resolve)),
      tryEnter: (bytes) => {
        entered.push(bytes);
        // Whoever comes right after it sees what it will hold.
        queueMicrotask(() => seen.push(spares.promisedBytes()));
        return SLOT;
      },
      evictions: new Evictions(),
      onEnded: (reason) => ended.push(reason),
      onFailed: () => {},
    });
    const seen: number[] = [];
    spares.open();
    await until(() => made.length === 1, "one to start");
    expect(seen).toEqual([112 * MiB]);
    expect(spares.promisedBytes()).toBe(112 * MiB);
    expect(entered).toEqual([112 * MiB]);
    // A turn needs the room: there is nothing to end yet, but soon.
    expect(spares.evict(1)).toBe(112 * MiB);
    expect(spares.promisedBytes()).toBe(0);
    expect(ended).toEqual(["evicted"]);
    made[0]?.({ process, ready: Promise.resolve() });
    await until(() => ends === 1, "it to be ended");
    expect(spares.size).toBe(0);
    expect(ended).toEqual(["evicted"]);
    void spares.close();
  });
});
