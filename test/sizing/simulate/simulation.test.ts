/**
 * Goal: what is simulated keeps the books that a fleet keeps, whatever the scenario.
 * Method: properties over any scenario; and scenarios whose end can be told.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { plainFleet } from "../../../bench/simulated-fleet.ts";
import { BALANCING_POLICIES } from "../../../src/sizing/simulate/balancer.ts";
import { CLIENT_POLICIES } from "../../../src/sizing/simulate/retry-policy.ts";
import { ScenarioFile } from "../../../src/sizing/simulate/scenario-schema.ts";
import { setUp } from "../../../src/sizing/simulate/scenario.ts";
import { type SimulationTerms, TooMuch } from "../../../src/sizing/simulate/simulation-terms.ts";
import { simulate } from "../../../src/sizing/simulate/simulation.ts";
import type { Counts } from "../../../src/sizing/simulate/tally.ts";
import { parseTrace } from "../../../src/sizing/trace.ts";
import { TYPICAL_PROFILE } from "../../../src/sizing/simulate/typical-profile.ts";

function termsOf(scenario: object): SimulationTerms {
  const made = setUp(ScenarioFile.parse(scenario), TYPICAL_PROFILE, null);
  if (!made.ok) throw new Error(JSON.stringify(made.problems));
  return made.setup.terms;
}

const anyScenario = fc.record({
  seed: fc.nat(1_000_000),
  duration: fc.constantFrom("2m", "20m"),
  arrivals: fc.record({
    process: fc.constantFrom("poisson", "bursty", "diurnal"),
    rate: fc.constantFrom("20/min", "2/s", "6/s"),
  }),
  sessions: fc.record({
    turns: fc.constantFrom(1, 1.5, 6),
    pause: fc.constantFrom("0s", "10s"),
  }),
  turns: fc.record({
    transcript: fc.constantFrom("0B", "2MiB"),
    mean: fc.constantFrom("1s", "9s"),
  }),
  replicas: fc.record({
    count: fc.integer({ min: 1, max: 6 }),
    memory: fc.constantFrom("512MiB", "1GiB", "4GiB"),
    cpus: fc.constantFrom(0.5, 1, 4),
    linger: fc.constantFrom("0s", "20s"),
    coldStart: fc.constantFrom("0s", "20s"),
    drainGrace: fc.constantFrom("0s", "5s", "1m"),
    startWait: fc.constantFrom("0s", "2s", "10s"),
  }),
  balancer: fc.record({
    policy: fc.constantFrom(...BALANCING_POLICIES),
    tries: fc.integer({ min: 1, max: 3 }),
  }),
  clients: fc.record({
    policy: fc.constantFrom(...CLIENT_POLICIES),
    maxAttempts: fc.integer({ min: 1, max: 6 }),
    retryShare: fc.constantFrom(0, 0.5, 1),
  }),
  autoscaler: fc.constantFrom(undefined, {
    min: 1,
    max: 8,
    scaleDownAfter: "30s",
    interval: "5s",
    lag: "5s",
  }),
  failures: fc.constantFrom(undefined, { every: "1m", restart: "5s" }),
  deploys: fc.constantFrom(
    [],
    [{ at: "30s" }],
    [
      { at: "10s", surge: 0, unavailable: 2 },
      { at: "20s", surge: 3 },
    ],
  ),
});

function shedOf({ shed }: Counts): number {
  return Object.values(shed).reduce((sum, each) => sum + each, 0);
}

describe("any scenario", () => {
  const ANY = { numRuns: 60 };

  it("ends every attempt once: served, shed or lost; and every turn once", () => {
    fc.assert(
      fc.property(anyScenario, (scenario) => {
        const { all, points } = simulate(termsOf(scenario)).tally;
        expect(all.served + shedOf(all) + all.lost).toBe(all.attempts);
        expect(all.served + all.lost + all.givenUp).toBe(all.turns);
        expect(points.every(({ inflight }) => inflight >= 0)).toBe(true);
      }),
      ANY,
    );
  });

  it("commits no replica above its load line", () => {
    fc.assert(
      fc.property(anyScenario, (scenario) => {
        expect(simulate(termsOf(scenario)).tally.mostCommittedRatio).toBeLessThanOrEqual(1);
      }),
      ANY,
    );
  });

  it("is the same again with the same seed, and another with another", () => {
    fc.assert(
      fc.property(anyScenario, (scenario) => {
        const terms = termsOf(scenario);
        const [one, same] = [simulate(terms), simulate(terms)];
        expect(same).toEqual(one);
        // At the lowest of a day it can be that nobody comes, whatever the seed.
        fc.pre(one.tally.all.turns > 0);
        const other = simulate({ ...terms, seed: terms.seed + 1 });
        expect(other.tally.points).not.toEqual(one.tally.points);
      }),
      { numRuns: 15 },
    );
  });
});

describe("starts", () => {
  it("come one after the other where there is one CPU, in the order of admission", () => {
    // All at once, for a replica that starts one at a time in a second.
    const plain = plainFleet({ turns: 5, offered: 5, turnTimes: 10 });
    const { tally } = simulate({
      ...plain,
      warmUpMs: 0,
      arrivals: () => atOnce(5),
      turn: { ...plain.turn, durationMs: () => 3000, startCpuMs: 1000, firstTokenMs: () => 1500 },
      replica: { ...plain.replica, cpus: 1 },
    });
    expect(tally.all.served).toBe(5);
    // From 1.5 s for the first to 5.5 s for the last.
    expect(tally.firstToken.mean).toBeCloseTo(3500, 6);
    expect(tally.startWait.mean).toBeCloseTo(2000, 6);
    expect(tally.startWait.most).toBeCloseTo(4000, 6);
  });

  it("shed who would wait for too long", () => {
    const plain = plainFleet({ turns: 100, offered: 5, turnTimes: 10 });
    const { tally } = simulate({
      ...plain,
      warmUpMs: 0,
      arrivals: () => atOnce(20),
      turn: { ...plain.turn, startCpuMs: 1000 },
      replica: { ...plain.replica, cpus: 1, maxStartWaitMs: 2000 },
    });
    // A start is taken to last 0.5 s until one was seen: one starts, and four wait up to 2 s.
    expect(tally.all.shed.start).toBe(15);
    expect(tally.all.served).toBe(5);
  });
});

describe("answers", () => {
  const timesOf = (turns: number, cpus: number) => {
    const plain = plainFleet({ turns: 100, offered: 5, turnTimes: 10 });
    const { endedAtMs, tally } = simulate({
      ...plain,
      warmUpMs: 0,
      durationMs: 1_000,
      arrivals: () => atOnce(turns),
      turn: { ...plain.turn, durationMs: () => 10_000, streamCores: 0.25 },
      replica: { ...plain.replica, cpus },
    });
    expect(tally.all.served).toBe(turns);
    return endedAtMs;
  };

  it("take as long as they take where the CPU is enough for all", () => {
    expect(timesOf(4, 1)).toBe(10_000);
  });

  it("take as much longer as more CPU is wanted than there is", () => {
    // Eight want two cores of one.
    expect(timesOf(8, 1)).toBeCloseTo(20_000, -2);
    expect(timesOf(16, 1)).toBeCloseTo(40_000, -2);
  });
});

describe("a trace that names sessions", () => {
  const traceOf = (lines: readonly string[]) => {
    const text = ["atMs,durationMs,session", ...lines].join("\n");
    const trace = parseTrace(text, "t.csv", 1_000);
    if (!trace.ok) throw new Error(JSON.stringify(trace.diagnostics));
    return trace.turns;
  };
  const play = (lines: readonly string[], changes: object = {}) => {
    const scenario = {
      arrivals: { process: "trace", trace: "t.csv" },
      warmUp: "0s",
      ...changes,
    };
    const made = setUp(ScenarioFile.parse(scenario), TYPICAL_PROFILE, traceOf(lines));
    if (!made.ok) throw new Error(JSON.stringify(made.problems));
    return simulate(made.setup.terms);
  };

  it("asks for the next turn of a session when the one before is over", () => {
    const { tally, endedAtMs } = play(["0,10000,a", "1000,10000,a", "2000,5000,b"]);
    expect(tally.all).toMatchObject({ turns: 3, served: 3 });
    expect(endedAtMs).toBeGreaterThanOrEqual(20_000);
    expect(play(["0,10000,", "1000,10000,", "2000,5000,"]).endedAtMs).toBeLessThan(12_000);
  });

  it("sends a session to its replica, where its process may have been kept", () => {
    // Twenty sessions that come back each minute: a start less, of what a first token takes.
    const lines = Array.from({ length: 5 }, (_, minute) =>
      Array.from({ length: 20 }, (__, at) => `${minute * 60_000 + at * 2_000},8000,s${at}`),
    ).flat();
    const waits = (policy: string) =>
      play(lines, { balancer: { policy }, replicas: { count: 4, memory: "4GiB", linger: "2m" } })
        .tally.firstToken.mean;
    expect(waits("session-affine")).toBeLessThan(0.85 * waits("random"));
  });

  it("keeps the books though turns are refused, and replicas fail", () => {
    const lines = Array.from({ length: 400 }, (_, at) => `${at * 200},9000,s${at % 37}`);
    const { tally } = play(lines, {
      replicas: { count: 2, memory: "1GiB" },
      clients: { policy: "give-up" },
      failures: { every: "1m", restart: "5s" },
    });
    const { turns, served, lost, givenUp } = tally.all;
    expect(turns).toBe(400);
    expect(served + lost + givenUp).toBe(400);
    expect(lost).toBeGreaterThan(0);
    expect(givenUp).toBeGreaterThan(0);
  });
});

describe("failures", () => {
  it("lose exactly the turns that are in flight", () => {
    const plain = plainFleet({ turns: 50, replicas: 3, offered: 20, turnTimes: 10 });
    const { tally, failures } = simulate({
      ...plain,
      warmUpMs: 0,
      arrivals: () => atOnce(30),
      // None of these ends before its replica does, once.
      turn: { ...plain.turn, durationMs: () => 1e8 },
      fleet: { ...plain.fleet, failures: { everyMs: 1e6, restartMs: 1e9 } },
    });
    expect(failures).toBe(3);
    expect([tally.all.lost, tally.all.served]).toEqual([30, 0]);
    expect(tally.points.at(-1)?.inflight).toBe(30);
  });

  it("take what is on the replica, and leave the others theirs", () => {
    const plain = plainFleet({ turns: 50, replicas: 2, offered: 20, turnTimes: 1_000, seed: 3 });
    const terms = {
      ...plain,
      fleet: { ...plain.fleet, failures: { everyMs: 500_000, restartMs: 60_000 } },
    };
    const { tally, failures } = simulate(terms);
    const { all } = tally;
    expect(failures).toBeGreaterThan(10);
    // Of 20 turns in flight half are on each replica, or all while the other is away.
    expect(all.lost / failures).toBeGreaterThan(8);
    expect(all.lost / failures).toBeLessThan(14);
    expect(all.served + all.lost + all.shed.unreachable).toBe(all.turns);
    expect(Math.min(...tally.points.map(({ replicasUp }) => replicasUp))).toBeLessThan(2);
  });

  it("of the only replica make it unreachable until it is back", () => {
    const plain = plainFleet({ turns: 50, offered: 10, turnTimes: 2_000, seed: 4 });
    const { tally, failures } = simulate({
      ...plain,
      fleet: { ...plain.fleet, failures: { everyMs: 1_000_000, restartMs: 100_000 } },
    });
    expect(failures).toBeGreaterThan(5);
    const { unreachable } = tally.all.shed;
    // 100 s at 1 turn a second, each time.
    expect(unreachable / failures).toBeGreaterThan(70);
    expect(unreachable / failures).toBeLessThan(130);
  });
});

describe("rolling deploys", () => {
  const plain = plainFleet({
    turns: 10,
    replicas: 5,
    offered: 25,
    turnTimes: 100,
    law: "constant",
  });
  const deployed = (deploy: { surge: number; unavailable: number }, drainGraceMs = 60_000) =>
    simulate({
      ...plain,
      warmUpMs: 0,
      fleet: { ...plain.fleet, drainGraceMs, deploys: [{ atMs: 200_000, ...deploy }] },
    });

  it("lose no turn that ends within the grace, and replace all", () => {
    const { tally, deployEndedAtMs } = deployed({ surge: 1, unavailable: 0 });
    expect(tally.all.lost).toBe(0);
    // One after the other, each 30 s until it is up.
    expect(deployEndedAtMs).toBe(200_000 + 5 * 30_000);
    const ups = tally.points.map(({ replicasUp }) => replicasUp);
    expect([Math.min(...ups), ups.at(-1)]).toEqual([5, 5]);
  });

  it("go faster the more may be missing, which is seen", () => {
    const { tally, deployEndedAtMs } = deployed({ surge: 0, unavailable: 3 });
    expect(deployEndedAtMs).toBeLessThanOrEqual(200_000 + 2 * 30_000);
    expect(Math.min(...tally.points.map(({ replicasUp }) => replicasUp))).toBe(2);
    expect(tally.all.lost).toBe(0);
  });

  it("lose what is in flight without grace", () => {
    const { tally } = deployed({ surge: 1, unavailable: 0 }, 0);
    // 25 in flight; what moves on to a replica that goes later is lost there.
    expect(tally.all.lost).toBeGreaterThanOrEqual(15);
    expect(tally.all.lost).toBeLessThanOrEqual(60);
  });
});

describe("residents", () => {
  it("spare the next turn of a session its start, where it is sent to its replica", () => {
    const scenario = (linger: string, memory: string, count = 1, policy = "session-affine") =>
      termsOf({
        arrivals: { rate: "30/min" },
        sessions: { turns: 8, pause: "10s" },
        replicas: { count, memory, cpus: 4, linger },
        balancer: { policy },
      });
    const mean = (linger: string, memory = "8GiB") =>
      simulate(scenario(linger, memory)).tally.firstToken.mean;
    expect(mean("5m")).toBeLessThan(mean("0s") - 250);
    const of = (policy: string) =>
      simulate(scenario("5m", "8GiB", 4, policy)).tally.firstToken.mean;
    // Elsewhere there is no process for the session.
    expect(of("session-affine")).toBeLessThan(of("random") - 150);
  });

  it("cause no shed that there would not be without them", () => {
    const shedRatio = (linger: string) => {
      const counts = [1, 2, 3, 4].map((seed) => {
        const terms = termsOf({
          seed,
          duration: "4h",
          arrivals: { rate: "30/min" },
          sessions: { turns: 8, pause: "10s" },
          replicas: { count: 1, memory: "1GiB", cpus: 4, linger },
        });
        return simulate(terms).tally.all;
      });
      const sum = (of: (each: Counts) => number) => counts.reduce((all, each) => all + of(each), 0);
      return sum(shedOf) / sum(({ attempts }) => attempts);
    };
    expect(shedRatio("5m")).toBeGreaterThan(0.2);
    expect(shedRatio("5m")).toBeLessThan(1.05 * shedRatio("0s"));
  });
});

describe("limits", () => {
  it("end what would not", () => {
    const terms = plainFleet({ turns: 5, offered: 5, turnTimes: 1_000 });
    const limited = (limits: object) => () =>
      simulate({ ...terms, limits: { ...terms.limits, ...limits } });
    expect(limited({ events: 1000 })).toThrow(TooMuch);
    expect(limited({ turns: 100 })).toThrow("more than 100 turns by");
  });
});

function atOnce(count: number) {
  let left = count;
  return {
    durationMs: Number.NaN,
    transcriptBytes: Number.NaN,
    session: -1,
    sessionTurns: 0,
    next: () => (left-- > 0 ? 0 : Infinity),
  };
}
