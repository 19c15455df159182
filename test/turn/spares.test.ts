/**
 * Goal: what is wrong with one agent keeps no other from its spares.
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
});
