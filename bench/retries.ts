/**
 * What clients should do who are refused: a burst of ten times the load on a fleet on paper, and each
 * way to come back, with as many attempts for each, and with as much patience for each.
 *
 * @module
 */

import { ScenarioFile } from "../src/sizing/simulate/scenario-schema.ts";
import { setUp } from "../src/sizing/simulate/scenario.ts";
import { simulate } from "../src/sizing/simulate/simulation.ts";
import type { SamplePoint } from "../src/sizing/simulate/tally.ts";
import { TYPICAL_PROFILE } from "../src/sizing/simulate/typical-profile.ts";
import { table } from "./page.ts";
import { atLeast, atMost, type Benchmark, type Claim } from "./result.ts";
import { median } from "./statistics.ts";

const SEEDS = 20;
const BURST = { atMs: 600_000, lengthMs: 60_000 };
/** Recovered is who sheds no more than this part of the attempts for a while. */
const RECOVERED_RATIO = 0.01;
const RECOVERED_FOR_MS = 20_000;
const POINT_MS = 2_000;
const DURATION_MS = 1_800_000;

const POLICIES = [
  { name: "gives up", clients: { policy: "give-up" } },
  { name: "blind, each second", clients: { policy: "blind", pause: "1s" } },
  { name: "blind, each 5 s", clients: { policy: "blind", pause: "5s" } },
  { name: "backoff from 1 s, with jitter", clients: { policy: "backoff", pause: "1s" } },
  { name: "honours Retry-After", clients: { policy: "retry-after" } },
  {
    name: "the same, cut at 2 minutes",
    clients: { policy: "retry-after" },
    replicas: { maxRetryAfter: "2m" },
  },
] as const;

const BUDGETS = [
  { name: "5 attempts", clients: { maxAttempts: 5 } },
  { name: "2 minutes of patience", clients: { maxAttempts: 1000, patience: "2m" } },
] as const;

interface Played {
  readonly budget: string;
  readonly policy: string;
  /** Medians of all seeds. Of turns that were first asked for in the burst and the minutes after it. */
  readonly servedRatio: number;
  readonly attemptsPerTurn: number;
  readonly recoverySeconds: number;
  /** Refusals per turn that was served. */
  readonly wastedAttempts: number;
}

export const retries: Benchmark = {
  name: "retries",
  summary: "what clients should do who are refused: ten times the load, on a fleet on paper",
  async run(report, signal) {
    const played: Played[] = [];
    for (const budget of BUDGETS) {
      for (const policy of POLICIES) {
        signal.throwIfAborted();
        played.push(play(budget, policy));
        report(JSON.stringify(played.at(-1)));
      }
    }
    return { claims: claimsOf(played), data: { played }, sections: sectionsOf(played) };
  },
};

function play(budget: (typeof BUDGETS)[number], policy: (typeof POLICIES)[number]): Played {
  const runs = Array.from({ length: SEEDS }, (_, seed) => {
    const scenario = ScenarioFile.parse({
      seed,
      duration: `${DURATION_MS}ms`,
      // Counted from the beginning of the burst on.
      warmUp: `${BURST.atMs}ms`,
      arrivals: {
        // 16 turns of 8 s at once, where three replicas have room for 39.
        rate: "120/min",
        bursts: [{ at: `${BURST.atMs}ms`, length: `${BURST.lengthMs}ms`, factor: 10 }],
      },
      replicas: {
        count: 3,
        memory: "2GiB",
        cpus: 4,
        ...("replicas" in policy ? policy.replicas : {}),
      },
      clients: { ...budget.clients, ...policy.clients },
    });
    const made = setUp(scenario, TYPICAL_PROFILE, null);
    if (!made.ok) throw new Error(made.problems.map(({ message }) => message).join("; "));
    const terms = { ...made.setup.terms, points: DURATION_MS / POINT_MS };
    const { tally } = simulate(terms);
    const { turns, attempts, givenUp, lost } = tally.measured;
    const served = turns - givenUp - lost;
    return {
      servedRatio: served / turns,
      attemptsPerTurn: attempts / turns,
      recoverySeconds: recoverySeconds(tally.points),
      wastedAttempts: (attempts - served) / served,
    };
  });
  const medianOf = (key: keyof (typeof runs)[number]) => median(runs.map((run) => run[key]));
  return {
    budget: budget.name,
    policy: policy.name,
    servedRatio: medianOf("servedRatio"),
    attemptsPerTurn: medianOf("attemptsPerTurn"),
    recoverySeconds: medianOf("recoverySeconds"),
    wastedAttempts: medianOf("wastedAttempts"),
  };
}

/** From the end of the burst until no more than a hundredth is shed, for a while. */
function recoverySeconds(points: readonly SamplePoint[]): number {
  const endMs = BURST.atMs + BURST.lengthMs;
  const isBad = ({ attempts, shed }: SamplePoint) => shed > RECOVERED_RATIO * attempts;
  let recoveredAtMs = endMs;
  for (const point of points) {
    if (point.atMs <= endMs) continue;
    if (isBad(point)) recoveredAtMs = point.atMs;
    else if (point.atMs - recoveredAtMs >= RECOVERED_FOR_MS) break;
  }
  return (recoveredAtMs - endMs) / 1000;
}

function claimsOf(played: readonly Played[]): Claim[] {
  const of = (budget: string, policy: string) => {
    const found = played.find((each) => each.budget === budget && each.policy === policy);
    if (found === undefined) throw new Error(`There is no ${policy} with ${budget}`);
    return found;
  };
  const [few, patient] = [BUDGETS[0].name, BUDGETS[1].name];
  const [blind, honest, cut] = [POLICIES[1].name, POLICIES[4].name, POLICIES[5].name];
  const factor = (value: number) => `${value.toFixed(2)} times`;
  return [
    atLeast(
      `turns served of those asked for, with ${few}: Retry-After honoured against blind each second`,
      1.2,
      of(few, honest).servedRatio / of(few, blind).servedRatio,
      factor,
    ),
    atLeast(
      `the same with ${patient}`,
      0.95,
      of(patient, honest).servedRatio / of(patient, blind).servedRatio,
      factor,
    ),
    atLeast(
      `the same with ${patient}, and \`capacity.maxRetryAfter\` as long`,
      0.95,
      of(patient, cut).servedRatio / of(patient, blind).servedRatio,
      factor,
    ),
    atMost(
      `refusals for each turn served, with ${patient}: Retry-After honoured against blind each second`,
      0.2,
      of(patient, honest).wastedAttempts / of(patient, blind).wastedAttempts,
      factor,
    ),
    atMost(
      `time until hardly anything is shed, with ${patient}: Retry-After honoured against blind each second`,
      1,
      of(patient, honest).recoverySeconds / of(patient, blind).recoverySeconds,
      factor,
    ),
  ];
}

function sectionsOf(played: readonly Played[]): string[] {
  const rows = played.map((each) => [
    each.budget,
    each.policy,
    `${(100 * each.servedRatio).toFixed(1)} %`,
    each.attemptsPerTurn.toFixed(2),
    each.wastedAttempts.toFixed(2),
    `${each.recoverySeconds.toFixed(0)} s`,
  ]);
  const head = [
    "each has",
    "who is refused",
    "turns served",
    "attempts a turn",
    "refusals a turn served",
  ];
  return [
    "Three replicas of 2 GiB and 4 CPUs, with 16 turns in flight of the 39 that they have room for; " +
      "for a minute ten times as many ask. Medians of " +
      `${SEEDS} runs, of all turns asked for from the beginning of the burst on, in 20 minutes. ` +
      "Recovered is a fleet that sheds no more than 1 % for 20 s. What a refusal costs the server is " +
      "not in it: see `shed` for that. Who is told a longer time than it has patience for leaves at " +
      "once, and those after it are told a time that counts with it: where callers have little patience, " +
      "`capacity.maxRetryAfter` is best set to it.",
    table([...head, "recovered after"], rows),
  ];
}
