/**
 * Goal: the simulation agrees with Erlang's formulas where they apply.
 * Method: fleets as plain as the formulas, with fixed seeds and lengths; the theory is to be within
 * the confidence interval that the simulation prints, or between bounds that theory gives.
 */
import { describe, expect, it } from "vitest";
import { plainFleet } from "../../../bench/simulated-fleet.ts";
import { shedRatio, shedWithRetries } from "../../../src/sizing/erlang.ts";
import { estimateRatio } from "../../../src/sizing/simulate/confidence.ts";
import { LAW_NAMES } from "../../../src/sizing/simulate/laws.ts";
import type { SimulationTerms } from "../../../src/sizing/simulate/simulation-terms.ts";
import { simulate } from "../../../src/sizing/simulate/simulation.ts";

function estimate(terms: SimulationTerms) {
  const { tally } = simulate(terms);
  return { ...estimateRatio(tally.batchShed, tally.batchAttempts), tally };
}

function expectWithin(ratio: number, { low, high }: { low: number; high: number }): void {
  expect(ratio).toBeGreaterThanOrEqual(low);
  expect(ratio).toBeLessThanOrEqual(high);
}

describe("one replica, clients that give up", () => {
  it.each([
    [1, 0.5],
    [2, 1],
    [5, 4],
    [20, 18],
    [100, 95],
    [200, 190],
  ])("of %i turns at once sheds as Erlang B says at %d Erlang", (turns, offered) => {
    const turnTimes = 240_000 / offered;
    const found = estimate(plainFleet({ turns, offered, turnTimes }));
    const theory = shedRatio(turns, offered);
    expectWithin(theory, found);
    expect(found.high - found.low).toBeLessThan(0.25 * theory);
  });

  it.each(LAW_NAMES)("whatever the distribution of their lengths: %s", (law) => {
    const found = estimate(plainFleet({ turns: 10, offered: 8, law, turnTimes: 15_000, seed: 2 }));
    expectWithin(shedRatio(10, 8), found);
  });
});

describe("clients that try again after long pauses, without memory", () => {
  it.each([0.5, 0.8])("shed as extended Erlang B says, %d of them", (retryRatio) => {
    const plain = plainFleet({ turns: 10, offered: 8, turnTimes: 15_000 });
    const found = estimate({
      ...plain,
      clients: {
        ...plain.clients,
        policy: "blind",
        maxAttempts: 1000,
        retryRatio,
        pauseMs: 600_000,
        spread: "exponential",
      },
    });
    const theory = shedWithRetries(10, 8, retryRatio);
    expectWithin(theory.shedRatio, found);
    const { givenUp, turns } = found.tally.measured;
    expect(givenUp / turns / theory.lostRatio).toBeCloseTo(1, 1);
  });
});

describe("balancing", () => {
  const RATIOS = new Map(
    (["random", "two-choices", "least-requests", "round-robin"] as const).map((policy) => {
      const plain = plainFleet({ turns: 5, replicas: 10, offered: 42, turnTimes: 4_000 });
      return [policy, estimate({ ...plain, balancer: { policy, tries: 1 } })] as const;
    }),
  );
  const ratio = (policy: "random" | "two-choices" | "least-requests" | "round-robin") =>
    RATIOS.get(policy)?.value ?? Number.NaN;

  it("at random is Erlang B of each replica for itself", () => {
    const found = RATIOS.get("random");
    expectWithin(shedRatio(5, 4.2), found ?? { low: 1, high: 0 });
  });

  it("by least requests sheds only when all are full: Erlang B of the whole", () => {
    const found = RATIOS.get("least-requests");
    expectWithin(shedRatio(50, 42), found ?? { low: 1, high: 0 });
  });

  it("is the better the more is known", () => {
    expect(ratio("least-requests")).toBeLessThan(ratio("two-choices"));
    expect(ratio("two-choices")).toBeLessThan(ratio("round-robin"));
    expect(ratio("round-robin")).toBeLessThan(ratio("random"));
  });

  it("at random with a try at every replica is as good as by least requests", () => {
    const plain = plainFleet({ turns: 5, replicas: 10, offered: 42, turnTimes: 4_000 });
    const found = estimate({ ...plain, balancer: { policy: "random", tries: 10 } });
    expectWithin(shedRatio(50, 42), found);
  });
});
