/**
 * Fleets for the simulation that are as plain as the formulas they are compared with: a gate that
 * counts turns, starts that take no time. What a test or a benchmark is about it then adds.
 *
 * @module
 */

import { RateArrivals } from "../src/sizing/simulate/arrivals.ts";
import { lawOf, type LawName } from "../src/sizing/simulate/laws.ts";
import type { SimulationTerms } from "../src/sizing/simulate/simulation-terms.ts";

const MIB = 2 ** 20;

export interface PlainFleet {
  readonly seed?: number;
  /** Turns that each replica takes at once. */
  readonly turns: number;
  readonly replicas?: number;
  /** Turns in flight if none were shed, of the whole fleet. */
  readonly offered: number;
  readonly meanTurnMs?: number;
  readonly law?: LawName;
  /** How many mean turns it goes on for. */
  readonly turnTimes: number;
}

export function plainFleet(options: PlainFleet): SimulationTerms {
  const { seed = 1, turns, replicas = 1, offered, law = "exponential", turnTimes } = options;
  const { meanTurnMs = 10_000 } = options;
  const durationMs = turnTimes * meanTurnMs;
  return {
    seed,
    durationMs,
    warmUpMs: durationMs / 50,
    arrivals: (random) =>
      new RateArrivals(
        {
          process: "poisson",
          ratePerMs: offered / meanTurnMs,
          spells: { factor: 1, burstMs: 1, calmMs: 1 },
          day: { swingRatio: 0, periodMs: 1 },
          bursts: [],
          endMs: durationMs,
        },
        random,
      ),
    session: { turns: 1, pauseMs: 0 },
    turn: {
      durationMs: lawOf({ law, mean: meanTurnMs, p95: 2.5 * meanTurnMs, variationRatio: 3 }),
      firstTokenMs: () => 500,
      startCpuMs: 0,
      streamCores: 0,
      peakBytes: () => 100 * MIB,
      bytesPerCarriedByte: 0,
      startPeakBytes: 0,
      transcriptBytes: 0,
      transcriptBytesPerTurn: 0,
      lingerMs: 0,
    },
    replica: {
      limitBytes: 2 ** 45,
      safetyReserveBytes: 0,
      cpus: 2,
      serverBytes: 100 * MIB,
      inflightTurnBytes: 0,
      model: {
        samples: 100,
        baseBytes: 100 * MIB,
        bytesPerCarriedByte: 0,
        carriedToBytes: 2 ** 40,
        deviationBytes: 5 * MIB,
        errorBytes: MIB,
        excessBytes: 20 * MIB,
        leastBytes: 0,
        largestBytes: 120 * MIB,
      },
      maxTurns: turns,
      maxStartWaitMs: 10_000,
      maxRetryAfterMs: 600_000,
    },
    fleet: {
      count: replicas,
      coldStartMs: 30_000,
      drainGraceMs: 25_000,
      autoscaler: null,
      failures: null,
      deploys: [],
    },
    balancer: { policy: "least-requests", tries: 1 },
    clients: {
      policy: "give-up",
      maxAttempts: 1,
      patienceMs: Infinity,
      retryRatio: 1,
      pauseMs: 1000,
      longestPauseMs: 60_000,
      spread: "none",
    },
    limits: { turns: 10_000_000, events: 100_000_000 },
    points: 100,
  };
}
