/**
 * What does not fit together in a scenario whose values all fit for themselves. Pure.
 *
 * @module
 */

import { inMebibytes } from "../../lib/bytes.ts";
import type { ReplicaTurns } from "../replica-turns.ts";
import type { ScenarioFile } from "./scenario-schema.ts";

/** What is wrong with a scenario, at the key that is to be changed. */
export interface ScenarioProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly remedy: string;
}

/** With fewer turns nothing can be told. */
const FEWEST_TURNS = 20;

/** What a scenario comes to. */
export interface Expected {
  readonly turns: number;
  readonly durationMs: number;
  readonly carried: Pick<ReplicaTurns, "memoryTurns">;
  /** The least memory of a replica that has room for a turn. */
  readonly leastBytes: number;
}

/** What is wrong with a scenario; empty if nothing is. */
export function scenarioProblemsOf(scenario: ScenarioFile, expected: Expected): ScenarioProblem[] {
  const { turns, durationMs } = expected;
  return [
    ...arrivalProblems(scenario, turns),
    ...timeProblems(scenario, durationMs),
    ...fleetProblems(scenario),
    ...roomProblems(expected),
  ];
}

function arrivalProblems(
  { arrivals, limits, sessions }: ScenarioFile,
  turns: number,
): ScenarioProblem[] {
  const { process, rate, trace, bursts } = arrivals;
  if (process === "trace") {
    const ofRate = [
      ...(rate === undefined ? [] : (["rate"] as const)),
      ...(bursts.length === 0 ? [] : (["bursts"] as const)),
    ];
    const extra = ofRate.map((key) =>
      problem(["arrivals", key], "has no meaning with a trace", `Remove \`arrivals.${key}\``),
    );
    if (sessions.turns > 1) {
      const message = "has no meaning with a trace, whose every line is a turn";
      extra.push(problem(["sessions", "turns"], message, "Remove `sessions.turns`"));
    }
    if (trace !== undefined) return extra;
    const remedy = "Name the table as `arrivals.trace`";
    return [...extra, problem(["arrivals"], "needs a trace", remedy)];
  }
  if (trace !== undefined) {
    return [problem(["arrivals", "trace"], "is not used", "Write `process: trace` beside it")];
  }
  if (rate === undefined) {
    const remedy = "Write for example `arrivals: { rate: 2/s }`, or give `--rate 2/s`";
    return [problem(["arrivals"], "needs a rate", remedy)];
  }
  const expected = Math.round(turns).toLocaleString("en");
  if (turns > limits.turns) {
    const message = `brings about ${expected} turns, more than \`limits.turns\` (${limits.turns.toLocaleString("en")})`;
    return [problem(["arrivals", "rate"], message, "Shorten `duration`, or raise `limits.turns`")];
  }
  if (turns < FEWEST_TURNS) {
    const message = `brings about ${expected} turns: needs ${FEWEST_TURNS} to tell anything`;
    return [problem(["arrivals", "rate"], message, "Make `duration` longer, or check the unit")];
  }
  return [];
}

function timeProblems(
  { warmUp = 0, turns, clients, deploys, arrivals }: ScenarioFile,
  durationMs: number,
): ScenarioProblem[] {
  const found: ScenarioProblem[] = [];
  if (warmUp > durationMs / 2) {
    const message = "is more than half of the duration";
    found.push(problem(["warmUp"], message, "Make it shorter, or `duration` longer"));
  }
  if (turns.p95 !== undefined && turns.mean !== undefined && turns.p95 < turns.mean) {
    const message = "is shorter than `turns.mean`";
    found.push(problem(["turns", "p95"], message, "Check the units of both"));
  }
  if (clients.longestPause < clients.pause) {
    const message = "is shorter than `clients.pause`";
    found.push(problem(["clients", "longestPause"], message, "Check the units of both"));
  }
  for (const [index, { at }] of deploys.entries()) {
    if (at < durationMs) continue;
    found.push(problem(["deploys", index, "at"], "is after the end", "Make `duration` longer"));
  }
  for (const [index, { at }] of arrivals.bursts.entries()) {
    if (at < durationMs) continue;
    const path = ["arrivals", "bursts", index, "at"];
    found.push(problem(path, "is after the end", "Make `duration` longer"));
  }
  return found;
}

function fleetProblems({ replicas, autoscaler, deploys }: ScenarioFile): ScenarioProblem[] {
  const found: ScenarioProblem[] = [];
  for (const [index, { surge, unavailable }] of deploys.entries()) {
    if (surge + unavailable > 0) continue;
    const message = "needs `surge` or `unavailable` above 0, or no replica can be replaced";
    found.push(problem(["deploys", index], message, "Write for example `surge: 1`"));
  }
  if (autoscaler === undefined) return found;
  const { min, max } = autoscaler;
  if (min > max) {
    found.push(problem(["autoscaler", "min"], "is more than `autoscaler.max`", "Swap them"));
  } else if (replicas.count < min || replicas.count > max) {
    const message = `is not between \`autoscaler.min\` and \`max\`: ${min} to ${max}`;
    found.push(problem(["replicas", "count"], message, "Begin with a number between them"));
  }
  return found;
}

function roomProblems({ carried, leastBytes }: Expected): ScenarioProblem[] {
  if (carried.memoryTurns > 0) return [];
  const message = `has no room for a turn of this agent: the least is ${inMebibytes(leastBytes)} MiB`;
  return [problem(["replicas", "memory"], message, "Give it at least as much")];
}

function problem(
  path: readonly (string | number)[],
  message: string,
  remedy: string,
): ScenarioProblem {
  return { path, message, remedy };
}
