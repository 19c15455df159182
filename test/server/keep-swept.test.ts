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
  readonly longestDiskLookMs?: number;
}

function setUp(
  sweep: (options: SweepOptions) => Promise<Sweep>,
  { makeRoom = async () => null, intervalMs = 30, longestDiskLookMs = 10 }: Options = {},
) {
  const lines: string[] = [];
  const write = (_facts: unknown, text: string) => void lines.push(text);
  const log = { info: write, warn: write, error: write, debug: write };
  const telemetry = { log } as unknown as KeepSweptOptions["telemetry"];
  const sweeper = {
    sweep: (_nowMs: number, options: SweepOptions = {}) => sweep(options),
    makeRoom,
  };
  const times = { intervalMs, firstMs: 10, diskLookMs: 10, longestDiskLookMs };
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

  it("makes room also while a sweep goes on, and never twice at once", async () => {
    let looks = 0;
    let atOnce = 0;
    let mostAtOnce = 0;
    const makeRoom = async (): Promise<Sweep> => {
      looks += 1;
      atOnce += 1;
      mostAtOnce = Math.max(mostAtOnce, atOnce);
      await delay(25);
      atOnce -= 1;
      return SWEPT;
    };
    let hasEnded = false;
    const sweep = async ({ signal }: SweepOptions): Promise<Sweep> => {
      if (signal !== undefined) await aborted(signal);
      hasEnded = true;
      return NOTHING_SWEPT;
    };
    const { keep } = setUp(sweep, { ...A_DAY, makeRoom });
    await using _swept = keep();
    await vi.waitFor(() => expect(looks).toBeGreaterThan(3), { timeout: 10_000 });
    expect(hasEnded).toBe(false);
    expect(mostAtOnce).toBe(1);
  });

  it.each<[what: string, found: Sweep, isRarer: boolean]>([
    ["the less often, where there is nothing to delete for it", NOTHING_SWEPT, true],
    ["as often, where what has to go was used meanwhile", { ...NOTHING_SWEPT, skipped: 1 }, false],
    ["as often, where some went", SWEPT, false],
  ])("looks at the disk %s, and never stops", async (_what, found, isRarer) => {
    const atMs: number[] = [];
    const makeRoom = async (): Promise<Sweep> => {
      atMs.push(performance.now());
      return found;
    };
    const { keep } = setUp(async () => NOTHING_SWEPT, {
      ...A_DAY,
      makeRoom,
      longestDiskLookMs: 80,
    });
    await using _swept = keep();
    await vi.waitFor(() => expect(atMs.length).toBeGreaterThan(6), { timeout: 10_000 });
    const pausesMs = atMs.slice(1).map((at, nth) => at - (atMs[nth] ?? 0));
    // 20, 40, 80, 80 …, and a timer is never early by more than its millisecond.
    const leastMs = isRarer ? [19, 39, 79, 79, 79] : [9, 9, 9, 9, 9];
    for (const [nth, ms] of leastMs.entries()) expect(pausesMs[nth]).toBeGreaterThanOrEqual(ms);
    if (!isRarer) expect(Math.min(...pausesMs)).toBeLessThan(79);
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
