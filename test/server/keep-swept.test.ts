/**
 * Goal: a server sweeps by itself, again and again, whatever goes wrong in between, and is held up
 * by no more than the session it deletes when it stops.
 */
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { aborted } from "../../src/lib/aborted.ts";
import { keepSwept, type KeepSweptOptions } from "../../src/server/keep-swept.ts";
import { NOTHING_SWEPT, type Sweep, type SweepOptions } from "../../src/session/session-sweeper.ts";

function setUp(sweep: (options: SweepOptions) => Promise<Sweep>) {
  const lines: string[] = [];
  const write = (_facts: unknown, text: string) => void lines.push(text);
  const log = { info: write, warn: write, error: write, debug: write };
  const telemetry = { log } as unknown as KeepSweptOptions["telemetry"];
  const sweeper = { sweep: (_nowMs: number, options: SweepOptions = {}) => sweep(options) };
  const keep = () => keepSwept({ sweeper, telemetry, intervalMs: 30, firstMs: 10 });
  return { keep, lines };
}

describe("keepSwept", () => {
  it("sweeps after the start and at every interval", async () => {
    let sweeps = 0;
    const { keep, lines } = setUp(async () => {
      sweeps += 1;
      return NOTHING_SWEPT;
    });
    await using _swept = keep();
    await vi.waitFor(() => expect(sweeps).toBeGreaterThanOrEqual(3), { timeout: 10_000 });
    expect(lines).toEqual([]);
  });

  it("goes on after a sweep that failed", async () => {
    let sweeps = 0;
    const { keep, lines } = setUp(async () => {
      sweeps += 1;
      throw new Error("the disk is away");
    });
    await using _swept = keep();
    await vi.waitFor(() => expect(sweeps).toBeGreaterThanOrEqual(2), { timeout: 10_000 });
    expect(lines).toContain("Cannot look for sessions that have to go");
  });

  it("has its sweep end early when the server stops, and starts none after", async () => {
    let sweeps = 0;
    let sawAbort = false;
    const { keep } = setUp(async ({ signal }) => {
      sweeps += 1;
      if (signal !== undefined) await aborted(signal);
      sawAbort = true;
      return NOTHING_SWEPT;
    });
    const swept = keep();
    await vi.waitFor(() => expect(sweeps).toBe(1), { timeout: 10_000 });
    await swept[Symbol.asyncDispose]();
    expect(sawAbort).toBe(true);
    await delay(60);
    expect(sweeps).toBe(1);
  });
});
