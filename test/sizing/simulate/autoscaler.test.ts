import { describe, expect, it } from "vitest";
import { plainFleet } from "../../../bench/simulated-fleet.ts";
import { RateArrivals } from "../../../src/sizing/simulate/arrivals.ts";
import { Autoscaler } from "../../../src/sizing/simulate/autoscaler.ts";
import { simulate } from "../../../src/sizing/simulate/simulation.ts";

const TERMS = {
  min: 2,
  max: 20,
  targetRatio: 0.5,
  turnsPerReplica: 10,
  intervalMs: 15_000,
  lagMs: 30_000,
  scaleDownAfterMs: 300_000,
};

/** What it wants at each interval, where it is always given what it wants. */
function wanted(inflightAt: (nowMs: number) => number, untilMs: number): Map<number, number> {
  const autoscaler = new Autoscaler(TERMS);
  const found = new Map<number, number>();
  let wantedNow = TERMS.min;
  for (let nowMs = TERMS.intervalMs; nowMs <= untilMs; nowMs += TERMS.intervalMs) {
    wantedNow = autoscaler.wanted({ nowMs, inflight: inflightAt(nowMs), wantedNow });
    found.set(nowMs, wantedNow);
  }
  return found;
}

describe("Autoscaler", () => {
  it("sees what was, its lag ago, and goes up at once then", () => {
    const found = wanted((nowMs) => (nowMs < 60_000 ? 10 : 50), 120_000);
    expect(found.get(75_000)).toBe(2);
    // At 60 s there were 50 in flight: 10 replicas are half full with them.
    expect(found.get(90_000)).toBe(10);
  });

  it("goes down only when fewer were enough for its time", () => {
    const found = wanted((nowMs) => (nowMs < 60_000 ? 50 : 10), 600_000);
    expect(found.get(60_000)).toBe(10);
    expect(found.get(360_000)).toBe(10);
    expect(found.get(390_000)).toBe(2);
  });

  it("stays between its bounds, and where it is within the tolerance", () => {
    expect(wanted(() => 1000, 60_000).get(60_000)).toBe(20);
    expect(wanted(() => 0, 60_000).get(60_000)).toBe(2);
    expect(wanted(() => 10.9, 60_000).get(60_000)).toBe(2);
    expect(wanted(() => 11.1, 60_000).get(60_000)).toBe(3);
  });
});

describe("a fleet that scales", () => {
  it("has more replicas after lag and cold start, and fewer again", () => {
    const plain = plainFleet({ turns: 10, replicas: 2, offered: 8, turnTimes: 180 });
    const burst = { atMs: 300_000, lengthMs: 300_000, factor: 6 };
    const { tally } = simulate({
      ...plain,
      warmUpMs: 0,
      points: 360,
      arrivals: (random) =>
        new RateArrivals(
          {
            process: "poisson",
            ratePerMs: 8 / 10_000,
            spells: { factor: 1, burstMs: 1, calmMs: 1 },
            day: { swingRatio: 0, periodMs: 1 },
            bursts: [burst],
            endMs: plain.durationMs,
          },
          random,
        ),
      fleet: { ...plain.fleet, autoscaler: { ...TERMS, max: 12 } },
    });
    const upAt = (atMs: number) =>
      tally.points.find((point) => point.atMs >= atMs)?.replicasUp ?? Number.NaN;
    // Seen 30 s later at the earliest, decided within 15 s, up after 30 s.
    expect(upAt(burst.atMs + 55_000)).toBeLessThanOrEqual(3);
    expect(upAt(burst.atMs + 250_000)).toBeGreaterThanOrEqual(8);
    expect(tally.points.at(-1)?.replicasUp).toBeLessThanOrEqual(3);
    expect(tally.all.lost).toBe(0);
  });
});
