/**
 * Goal: a plan keeps to its target with the fewest replicas, and says truly what breaks it.
 * Method: properties over any workload; figures from published tables of Erlang B.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { shedRatio } from "../../src/sizing/erlang.ts";
import { fleetOf, makePlan, offeredBy, type Workload } from "../../src/sizing/plan.ts";
import { GiB, MiB, PROFILE, profileWith } from "./profiles.ts";

const WORKLOAD: Workload = {
  users: 1_000,
  turnsPerUserHour: 6,
  turnMs: 10_000,
  turnsPerSession: 1,
  transcriptBytesPerTurn: 0,
  sessionsPerUser: 0,
  shedTargetRatio: 0.01,
  retryRatio: 0,
  balancing: "random",
  minReplicas: 1,
  model: null,
};
const sizeOf = (gib: number, cpus: number, hourly: number | null = null) => ({
  name: `${gib} GiB, ${cpus} CPUs`,
  memoryBytes: gib * GiB,
  cpus,
  hourly,
});
const SIZES = [sizeOf(1, 16), sizeOf(2, 16), sizeOf(4, 16)];

const anyWorkload = fc.record({
  users: fc.integer({ min: 1, max: 20_000 }),
  turnsPerUserHour: fc.double({ min: 0.1, max: 60, noNaN: true }),
  turnMs: fc.integer({ min: 500, max: 120_000 }),
  turnsPerSession: fc.integer({ min: 1, max: 50 }),
  transcriptBytesPerTurn: fc.integer({ min: 0, max: 100_000 }),
  sessionsPerUser: fc.double({ min: 0, max: 3, noNaN: true }),
  shedTargetRatio: fc.double({ min: 0.0001, max: 0.3, noNaN: true }),
  retryRatio: fc.double({ min: 0, max: 0.9, noNaN: true }),
  balancing: fc.constantFrom("random" as const, "pooled" as const),
  minReplicas: fc.integer({ min: 1, max: 5 }),
  model: fc.constant(null),
});

describe("makePlan", () => {
  it("has as much traffic as turns would be in flight if none were shed", () => {
    expect(offeredBy(WORKLOAD)).toBeCloseTo(16.667, 3);
  });

  it("keeps to the target with the fewest replicas, whatever the workload", () => {
    fc.assert(
      fc.property(anyWorkload, (workload) => {
        const { options, advised } = makePlan(PROFILE, workload, SIZES);
        expect(options).toHaveLength(SIZES.length);
        for (const option of options) {
          if (!option.isPossible) continue;
          const { replicas, size } = option;
          expect(option.shedRatio).toBeLessThanOrEqual(workload.shedTargetRatio);
          expect(replicas).toBeGreaterThanOrEqual(workload.minReplicas);
          if (replicas === workload.minReplicas) continue;
          const fewer = fleetOf(PROFILE, workload, size, replicas - 1);
          expect(fewer.shedRatio).toBeGreaterThan(workload.shedTargetRatio);
        }
        expect(advised === null).toBe(options.every(({ isPossible }) => !isPossible));
      }),
      { numRuns: 100 },
    );
  });

  it("needs no more replicas where turns find room wherever there is some", () => {
    fc.assert(
      fc.property(anyWorkload, (workload) => {
        const random = makePlan(PROFILE, { ...workload, balancing: "random" }, [sizeOf(2, 16)]);
        if (random.advised === null) return;
        expect(random.pooledReplicas).toBeLessThanOrEqual(random.advised.replicas);
      }),
      { numRuns: 100 },
    );
  });

  it("tells how far memory and CPU each carry, the first of which is where the target is passed", () => {
    fc.assert(
      fc.property(anyWorkload, (workload) => {
        const { advised, breaking } = makePlan(PROFILE, workload, [sizeOf(2, 1)]);
        const [first, second] = breaking;
        if (advised === null || first === undefined || second === undefined) return;
        expect(first.usersRatio).toBeLessThanOrEqual(second.usersRatio);
        const under = (ratio: number) =>
          fleetOf(
            PROFILE,
            { ...workload, users: workload.users * ratio },
            advised.size,
            advised.replicas,
          ).shedRatio;
        expect(first.usersRatio).toBeGreaterThanOrEqual(1 - 1e-9);
        if (first.usersRatio >= 999) return;
        expect(under(first.usersRatio * 0.999)).toBeLessThanOrEqual(workload.shedTargetRatio);
        expect(under(first.usersRatio * 1.001)).toBeGreaterThan(workload.shedTargetRatio);
      }),
      { numRuns: 50 },
    );
  });

  it("sheds what Erlang's formula says, of each replica or of all as one", () => {
    const of = (balancing: "random" | "pooled") =>
      fleetOf(PROFILE, { ...WORKLOAD, balancing }, sizeOf(2, 16), 3);
    const { turns } = of("random").replica;
    expect(turns).toBe(13);
    expect(of("random").shedRatio).toBe(shedRatio(13, offeredBy(WORKLOAD) / 3));
    expect(of("pooled").shedRatio).toBe(shedRatio(39, offeredBy(WORKLOAD)));
    expect(of("pooled").shedRatio).toBeLessThan(of("random").shedRatio);
  });

  it("advises the cheapest by price, and the least memory where there are none", () => {
    const dear = [sizeOf(1, 16, 1), sizeOf(2, 16, 100), sizeOf(4, 16, 2)];
    const priced = makePlan(PROFILE, WORKLOAD, dear);
    const costs = priced.options.map((option) => (option.isPossible ? option.hourly : null));
    expect(costs).toEqual(costs.toSorted((a, b) => Number(a) - Number(b)));
    expect(priced.advised?.hourly).toBe(costs[0]);
    const unpriced = makePlan(PROFILE, WORKLOAD, SIZES);
    const memory = unpriced.options.map((option) =>
      option.isPossible ? option.replicas * option.size.memoryBytes : 0,
    );
    expect(memory).toEqual(memory.toSorted((a, b) => a - b));
  });

  it("says which change makes it shed how much", () => {
    const plan = makePlan(PROFILE, WORKLOAD, SIZES.slice(0, 2));
    const { size, replicas } = plan.advised ?? { size: sizeOf(1, 1), replicas: 0 };
    expect(replicas).toBeGreaterThan(1);
    const shed = (changed: Partial<Workload>, count = replicas) =>
      fleetOf(PROFILE, { ...WORKLOAD, ...changed }, size, count).shedRatio;
    const said = Object.fromEntries(plan.variations.map((one) => [one.change, one.shedRatio]));
    expect(said["one replica lost, or being deployed"]).toBe(shed({}, replicas - 1));
    expect(said["one replica more"]).toBe(shed({}, replicas + 1));
    expect(said["twice the users"]).toBe(shed({ users: 2_000 }));
    expect(said["turns that last twice as long"]).toBe(shed({ turnMs: 20_000 }));
    expect(said["four of five refused callers retry at once"]).toBe(shed({ retryRatio: 0.8 }));
  });

  it("shows what conversations that grow do to the turns that fit", () => {
    const growing: Workload = {
      ...WORKLOAD,
      turnsPerSession: 41,
      transcriptBytesPerTurn: 0.2 * MiB,
    };
    const { replica } = fleetOf(PROFILE, growing, sizeOf(4, 16), 1);
    // 20 turns before, on average, of 0.2 MiB, at 12 bytes a byte.
    expect(replica.turnBytes / MiB).toBeCloseTo(128 + 48, 1);
  });

  it("says why a size cannot do it", () => {
    const [tooSmall] = makePlan(PROFILE, WORKLOAD, [
      { ...sizeOf(1, 1), memoryBytes: 300 * MiB },
    ]).options;
    expect(tooSmall).toMatchObject({
      isPossible: false,
      why: "not even one turn fits below its load line: the least is 383 MiB",
    });
    const crowd = makePlan(PROFILE, { ...WORKLOAD, users: 100_000_000 }, [sizeOf(1, 1)]);
    expect(crowd.options[0]).toMatchObject({ why: "more than 10,000 replicas would be needed" });
    expect(crowd).toMatchObject({ advised: null, variations: [], pooledReplicas: null });
  });

  it("takes a turn that is all CPU for what it is", () => {
    const busy = profileWith({ cpuMs: 60_000 });
    const { replica } = fleetOf(busy, WORKLOAD, sizeOf(4, 4), 1);
    expect(replica).toMatchObject({ turns: 2, binds: "cpu" });
  });
});
