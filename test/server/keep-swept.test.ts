/**
 * Goal: a server sweeps by itself, again and again, whatever goes wrong in between, and is held up
 * by no more than the session it deletes when it stops.
 */
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { aborted } from "../../src/lib/aborted.ts";
import { keepSwept, type KeepSweptOptions } from "../../src/server/keep-swept.ts";
import { NOTHING_SWEPT, type Sweep, type SweepOptions } from "../../src/session/session-sweeper.ts";

const NOTHING: Sweep = { ...NOTHING_SWEPT, seen: 3, seenBytes: 30 };

function setUp(sweep: (options: SweepOptions) => Promise<Sweep>) {
  const lines: string[] = [];
  const expired: string[] = [];
  const write = (_facts: unknown, text: string) => void lines.push(text);
  const log = { info: write, warn: write, error: write, debug: write };
  const metrics = { sessionExpired: (reason: string) => void expired.push(reason) };
  const telemetry = { log, metrics } as unknown as KeepSweptOptions["telemetry"];
  const sweeper = { sweep: (_nowMs: number, options: SweepOptions = {}) => sweep(options) };
  const keep = () => keepSwept({ sweeper, telemetry, intervalMs: 30, firstMs: 10 });
  return { keep, lines, expired };
}

describe("keepSwept", () => {
  it("sweeps after the start and at every interval, and tells what went", async () => {
    const session = { tenant: "a", sessionId: "s", lastUseAtMs: 1, bytes: 5 };
    const swept = [
      { ...session, reason: "idle" as const },
      { ...session, reason: "disk" as const },
    ];
    let sweeps = 0;
    const { keep, lines, expired } = setUp(async () => {
      sweeps += 1;
      return sweeps === 1
        ? { ...NOTHING, swept, unreadable: 2, failed: 1, missingBytes: 7 }
        : NOTHING;
    });
    await using _swept = keep();
    await vi.waitFor(() => expect(sweeps).toBeGreaterThanOrEqual(3));
    expect(expired).toEqual(["idle", "disk"]);
    expect(lines.filter((line) => line === "Sessions had to go")).toHaveLength(1);
    expect(lines).toContain("Sessions whose record cannot be read are kept");
    expect(lines).toContain("Sessions had to go and could not be deleted");
    expect(lines.some((line) => line.includes("keepFree"))).toBe(true);
  });

  it("goes on after a sweep that failed", async () => {
    let sweeps = 0;
    const { keep, lines } = setUp(async () => {
      sweeps += 1;
      throw new Error("the disk is away");
    });
    await using _swept = keep();
    await vi.waitFor(() => expect(sweeps).toBeGreaterThanOrEqual(2));
    expect(lines).toContain("Cannot look for sessions that have to go");
  });

  it("has its sweep end early when the server stops, and starts none after", async () => {
    let sweeps = 0;
    let sawAbort = false;
    const { keep } = setUp(async ({ signal }) => {
      sweeps += 1;
      if (signal !== undefined) await aborted(signal);
      sawAbort = true;
      return NOTHING;
    });
    const swept = keep();
    await vi.waitFor(() => expect(sweeps).toBe(1));
    await swept[Symbol.asyncDispose]();
    expect(sawAbort).toBe(true);
    await delay(60);
    expect(sweeps).toBe(1);
  });
});
