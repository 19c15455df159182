/**
 * Whether Erlang's formula is that of the books, whether the simulation of a fleet agrees with it
 * where both apply, and how fast the simulation is.
 *
 * @module
 */

import { shedRatio, shedWithRetries, trafficAt } from "../src/sizing/erlang.ts";
import { type Estimate, estimateRatio } from "../src/sizing/simulate/confidence.ts";
import type { LawName } from "../src/sizing/simulate/laws.ts";
import { ScenarioFile } from "../src/sizing/simulate/scenario-schema.ts";
import { setUp } from "../src/sizing/simulate/scenario.ts";
import type { SimulationTerms } from "../src/sizing/simulate/simulation-terms.ts";
import { simulate } from "../src/sizing/simulate/simulation.ts";
import { TYPICAL_PROFILE } from "../src/sizing/simulate/typical-profile.ts";
import { EXACT_CASES, exactShedRatio, PRINTED_TRAFFIC } from "./erlang-tables.ts";
import { table } from "./page.ts";
import { atMost, type Benchmark, type Claim } from "./result.ts";
import { plainFleet } from "./simulated-fleet.ts";

/** Turns at once, and what is offered, from light to more than can be carried. */
const SERVERS: readonly (readonly [turns: number, offered: number])[] = [
  [1, 0.3],
  [1, 1.5],
  [2, 1],
  [3, 3],
  [5, 3],
  [8, 7],
  [13, 11],
  [20, 16],
  [30, 30],
  [50, 48],
  [75, 70],
  [100, 95],
  [100, 120],
  [150, 148],
  [200, 190],
  [200, 220],
];
const LAWS: readonly LawName[] = ["exponential", "constant", "lognormal", "hyperexponential"];
const RETRY_RATIOS = [0.3, 0.6, 0.9];
const TURNS = 200_000;
const RETRIED_TURNS = 300_000;
/**
 * Of intervals that are right 95 times in a hundred, some do not hold the truth; that more than this
 * part of them do not has a chance below 1 in 1,000.
 */
const MISSED_MOST_RATIO = 0.13;
/** Standard half-widths beyond which a simulated value is wrong, and not unlucky. */
const MOST_HALF_WIDTHS = 2;

interface Compared {
  readonly what: string;
  readonly theory: number;
  readonly found: Estimate;
}

export const erlangCheck: Benchmark = {
  name: "erlang",
  summary: "Erlang B against tables, the simulation against Erlang B, and how fast it is",
  async run(report, signal) {
    const errors = tableErrors();
    const compared: Compared[] = [];
    for (const terms of comparisons()) {
      signal.throwIfAborted();
      compared.push(compare(terms));
      report(lineOf(compared.at(-1)));
    }
    signal.throwIfAborted();
    const speed = timed();
    report(`${speed.turns} turns on 1,000 replicas: ${speed.seconds.toFixed(1)} s`);
    return {
      claims: claimsOf(errors, compared, speed),
      data: { errors, compared, speed },
      sections: sectionsOf(compared, speed),
    };
  },
};

function tableErrors() {
  const exact = EXACT_CASES.map(([turns, p, q]) =>
    Math.abs(shedRatio(turns, p / q) - exactShedRatio(turns, p, q)),
  );
  const printed = PRINTED_TRAFFIC.map(([turns, ratio, traffic]) =>
    Math.abs(trafficAt(turns, ratio) - traffic),
  );
  return { exact: Math.max(...exact), printed: Math.max(...printed) };
}

interface Comparison {
  readonly what: string;
  readonly theory: number;
  readonly terms: SimulationTerms;
}

function comparisons(): Comparison[] {
  const plain = SERVERS.flatMap(([turns, offered], index) =>
    LAWS.map((law, at) => ({
      what: `${turns} turns, ${offered} Erlang, ${law}`,
      theory: shedRatio(turns, offered),
      terms: plainFleet({
        turns,
        offered,
        law,
        turnTimes: TURNS / offered,
        seed: 100 + index * LAWS.length + at,
      }),
    })),
  );
  const retried = RETRY_RATIOS.flatMap((retryRatio, index) =>
    [5, 20, 100].map((turns, at) => {
      const offered = 0.9 * turns;
      const terms = plainFleet({
        turns,
        offered,
        turnTimes: RETRIED_TURNS / offered,
        seed: 500 + index * 10 + at,
      });
      const clients = {
        ...terms.clients,
        policy: "blind" as const,
        maxAttempts: 1000,
        retryRatio,
        pauseMs: 600_000,
        spread: "exponential" as const,
      };
      return {
        what: `${turns} turns, ${offered} Erlang, ${100 * retryRatio} % try again`,
        theory: shedWithRetries(turns, offered, retryRatio).shedRatio,
        terms: { ...terms, warmUpMs: Math.min(7_200_000, terms.durationMs / 10), clients },
      };
    }),
  );
  return [...plain, ...retried];
}

function compare({ what, theory, terms }: Comparison): Compared {
  const { tally } = simulate(terms);
  return { what, theory, found: estimateRatio(tally.batchShed, tally.batchAttempts) };
}

function isHeld({ theory, found }: Compared): boolean {
  return theory >= found.low && theory <= found.high;
}

/** How far off in half-widths of the interval. */
function distanceOf({ theory, found }: Compared): number {
  return Math.abs(found.value - theory) / Math.max(1e-9, (found.high - found.low) / 2);
}

/** Everything at once: retries, an autoscaler, failures, a deploy and processes that are kept. */
function timed() {
  const scenario = ScenarioFile.parse({
    duration: "14m",
    arrivals: { rate: "1390/s" },
    replicas: { count: 1000, linger: "30s" },
    sessions: { turns: 3, pause: "20s" },
    autoscaler: { min: 900, max: 1100 },
    failures: { every: "10h" },
    deploys: [{ at: "3m", surge: 50, unavailable: 20 }],
  });
  const made = setUp(scenario, TYPICAL_PROFILE, null);
  if (!made.ok) throw new Error(made.problems.map(({ message }) => message).join("; "));
  const began = process.cpuUsage();
  const { tally, events } = simulate(made.setup.terms);
  const { user, system } = process.cpuUsage(began);
  const { turns, attempts } = tally.all;
  return { turns, attempts, events, seconds: (user + system) / 1e6 };
}

function claimsOf(
  errors: ReturnType<typeof tableErrors>,
  compared: readonly Compared[],
  speed: ReturnType<typeof timed>,
): Claim[] {
  const exponent = (value: number) => value.toExponential(1);
  const missed = compared.filter((each) => !isHeld(each)).length;
  const counts = (value: number) => value.toFixed(0);
  return [
    atMost(
      `Erlang B against the formula in whole numbers, ${EXACT_CASES.length} values: largest error`,
      1e-6,
      errors.exact,
      exponent,
    ),
    atMost(
      `traffic for a shed ratio against printed tables, ${PRINTED_TRAFFIC.length} values: largest error, in Erlang`,
      5.1e-4,
      errors.printed,
      exponent,
    ),
    atMost(
      `of ${compared.length} simulations, of 1 to 200 turns at once, how many do not have the theory within their 95 % interval`,
      Math.floor(MISSED_MOST_RATIO * compared.length),
      missed,
      counts,
    ),
    atMost(
      "furthest that a simulation is from the theory, in half-widths of its interval",
      MOST_HALF_WIDTHS,
      Math.max(...compared.map(distanceOf)),
      (value) => value.toFixed(2),
    ),
    {
      claim: "turns simulated on 1,000 replicas, with all that can happen to a fleet",
      target: "≥ 1,000,000",
      measured: speed.turns.toLocaleString("en"),
      holds: speed.turns >= 1_000_000,
    },
    atMost("CPU time for them", 20, speed.seconds, (value) => `${value.toFixed(1)} s`),
  ];
}

function sectionsOf(compared: readonly Compared[], speed: ReturnType<typeof timed>): string[] {
  const percent = (value: number) => `${(100 * value).toFixed(3)} %`;
  const rows = compared.map((each) => [
    each.what,
    percent(each.theory),
    percent(each.found.value),
    `${percent(each.found.low)} to ${percent(each.found.high)}`,
    isHeld(each) ? "yes" : "no",
  ]);
  return [
    `Each simulation has about ${TURNS.toLocaleString("en")} turns; those whose clients try again ` +
      `have ${RETRIED_TURNS.toLocaleString("en")}, and pauses of 10 minutes on average without ` +
      "memory, which is what extended Erlang B assumes. The interval is of 30 batches.",
    table(["simulated", "theory", "simulation", "95 % interval", "within"], rows),
    `The million: ${speed.attempts.toLocaleString("en")} attempts and ` +
      `${speed.events.toLocaleString("en")} events in ${speed.seconds.toFixed(1)} s, ` +
      `${((1e6 * speed.seconds) / speed.events).toFixed(1)} µs for each event.`,
  ];
}

function lineOf(each: Compared | undefined): string {
  if (each === undefined) return "";
  const percent = (value: number) => `${(100 * value).toFixed(3)} %`;
  const { low, high } = each.found;
  const mark = isHeld(each) ? " " : "!";
  return `${mark} ${each.what}: ${percent(each.theory)} in ${percent(low)} to ${percent(high)}`;
}
