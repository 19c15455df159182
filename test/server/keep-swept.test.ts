/**
 * Goal: a server sweeps by itself, again and again, whatever goes wrong in between, and is held up
 * by no more than the session it deletes when it stops.
 */
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { aborted } from "../../src/lib/aborted.ts";
import { keepSwept, type KeepSweptOptions, unaskedLoadRatio } from "../../src/server/keep-swept.ts";
import { NOTHING_SWEPT, type Sweep, type SweepOptions } from "../../src/session/session-sweeper.ts";

interface Options {
  readonly makeRoom?: () => Promise<Sweep | null>;
  readonly intervalMs?: number;
}

function setUp(
  sweep: (options: SweepOptions) => Promise<Sweep>,
  { makeRoom = async () => null, intervalMs = 30 }: Options = {},
) {
  const lines: string[] = [];
  const write = (_facts: unknown, text: string) => void lines.push(text);
  const log = { info: write, warn: write, error: write, debug: write };
  const telemetry = { log } as unknown as KeepSweptOptions["telemetry"];
  const sweeper = {
    sweep: (_nowMs: number, options: SweepOptions = {}) => sweep(options),
    makeRoom,
  };
  const times = { intervalMs, firstMs: 10, diskLookMs: 10 };
  const keep = () => keepSwept({ sweeper, telemetry, cpus: () => 2, hasStore: false, ...times });
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

  const A_DAY = { intervalMs: 86_400_000 };
  const SWEPT = { ...NOTHING_SWEPT, swept: [{}] } as unknown as Sweep;

  it("makes room between two sweeps whenever the disk is too full, also after one that failed", async () => {
    const found = [null, SWEPT, null, SWEPT, new Error("the disk is away"), SWEPT];
    let looks = 0;
    let sweeps = 0;
    const makeRoom = async (): Promise<Sweep | null> => {
      const next = found[looks] ?? null;
      looks += 1;
      if (next instanceof Error) throw next;
      return next;
    };
    const sweep = async (): Promise<Sweep> => {
      sweeps += 1;
      return NOTHING_SWEPT;
    };
    const { keep, lines } = setUp(sweep, { ...A_DAY, makeRoom });
    await using _swept = keep();
    await vi.waitFor(() => expect(looks).toBeGreaterThan(found.length), { timeout: 10_000 });
    expect(sweeps).toBe(1);
    expect(lines).toEqual(["Cannot look for sessions that have to go"]);
  });

  it("makes no room again and again where there is nothing to delete for it", async () => {
    const madeAfter: number[] = [];
    let sweeps = 0;
    const makeRoom = async (): Promise<Sweep> => {
      madeAfter.push(sweeps);
      return NOTHING_SWEPT;
    };
    const sweep = async (): Promise<Sweep> => {
      sweeps += 1;
      return NOTHING_SWEPT;
    };
    const { keep } = setUp(sweep, { intervalMs: 100, makeRoom });
    await using _swept = keep();
    await vi.waitFor(() => expect(sweeps).toBeGreaterThan(4), { timeout: 10_000 });
    expect(madeAfter.length).toBeGreaterThan(0);
    expect(new Set(madeAfter).size).toBe(madeAfter.length);
  });
});

describe("unaskedLoadRatio", () => {
  it("is a share of the CPUs that there are, and never most of the core that all depend on", () => {
    expect(unaskedLoadRatio(0.5, false)).toBeLessThan(unaskedLoadRatio(2, false));
    for (const cpus of [0.5, 1, 2, 4]) {
      expect(unaskedLoadRatio(cpus, false)).toBeLessThan(0.05 * cpus);
      // The store takes its part beside it.
      expect(unaskedLoadRatio(cpus, true)).toBeLessThan(unaskedLoadRatio(cpus, false));
    }
    expect(unaskedLoadRatio(64, false)).toBeLessThanOrEqual(0.25);
  });
});
