/**
 * The figures of a simulation in words, once for all that show them. Pure.
 *
 * @module
 */

import type { Quantiles, SimulationResult } from "../sizing/simulate/result.ts";
import { shedOf } from "../sizing/simulate/result.ts";
import type { SamplePoint } from "../sizing/simulate/tally.ts";
import { count, countOf, mebibytes, seconds } from "./figures.ts";

export type Row = readonly [label: string, ...cells: string[]];

export interface Figures {
  /** What was simulated. */
  readonly setting: readonly Row[];
  /** Value, and what belongs to it. */
  readonly outcome: readonly Row[];
  /** Median, 95th and 99th percentile. */
  readonly spread: readonly Row[];
}

export const SPREAD_HEAD: Row = ["", "median", "95 %", "99 %"];

export function figuresOf(result: SimulationResult): Figures {
  return { setting: settingOf(result), outcome: outcomeOf(result), spread: spreadOf(result) };
}

/** What is plotted over time: one value for each point, NaN where there is none. */
export interface Series {
  readonly title: string;
  readonly unit: string;
  readonly valueOf: (point: SamplePoint) => number;
}

export const SERIES = {
  shed: {
    title: "Shed, of attempts",
    unit: "%",
    valueOf: ({ attempts, shed }: SamplePoint) =>
      attempts === 0 ? Number.NaN : (100 * shed) / attempts,
  },
  firstToken: {
    title: "Time to first token, 95th percentile",
    unit: "s",
    valueOf: ({ firstTokenP95Ms }: SamplePoint) => firstTokenP95Ms / 1000,
  },
  memory: {
    title: "Memory in use, of the load line, fullest replica",
    unit: "%",
    valueOf: ({ mostUsedRatio }: SamplePoint) => 100 * mostUsedRatio,
  },
  inflight: {
    title: "Turns in flight",
    unit: "",
    valueOf: ({ inflight }: SamplePoint) => inflight,
  },
  replicas: {
    title: "Replicas up",
    unit: "",
    valueOf: ({ replicasUp }: SamplePoint) => replicasUp,
  },
} as const satisfies Record<string, Series>;

function percent(ratio: number): string {
  const value = 100 * ratio;
  if (value === 0) return "0 %";
  if (value < 0.001) return "< 0.001 %";
  return `${value.toFixed(value < 0.1 ? 3 : value < 10 ? 2 : 1)} %`;
}

function settingOf(result: SimulationResult): Row[] {
  const { replica, meanTurnMs, offeredErlang, replicas, durationMs, warmUpMs } = result;
  const cpus = `${replica.cpus} CPU${replica.cpus === 1 ? "" : "s"}`;
  const fleet =
    replicas.fewestUp === replicas.mostUp
      ? countOf(replicas.mostUp, "replica")
      : `${count(replicas.fewestUp)} to ${countOf(replicas.mostUp, "replica")}`;
  const room = `room for ${countOf(replica.turns, "turn")} each (${replica.binds})`;
  const load = `${oneDigit(offeredErlang)} in flight if none were shed`;
  return [
    ["fleet", `${fleet}, ${mebibytes(replica.memoryBytes)} and ${cpus} each`],
    ["", room],
    ["turns", `${result.arrivals}, ${seconds(meanTurnMs)} on average, ${load}`],
    ["balancing", `${result.balancing}; clients: ${result.clients}`],
    ["time", `${time(durationMs)}, the first ${time(warmUpMs)} not counted; seed ${result.seed}`],
  ];
}

function outcomeOf(result: SimulationResult): Row[] {
  const { shedRatio, counted, theory, memory, replicas } = result;
  const interval = result.isSteady
    ? `${percent(shedRatio.low)} to ${percent(shedRatio.high)} (95 % sure)`
    : "changes with time; `runs` show what is chance";
  const reasons = Object.entries(result.shedByReason)
    .filter(([, number]) => number > 0)
    .map(([reason, number]) => `${reason} ${count(number)}`);
  const shed = shedOf(counted);
  const rows: Row[] = [
    ["turns asked for", count(counted.turns), `${result.attemptsPerTurn.toFixed(2)} attempts each`],
    ["shed, of attempts", percent(shedRatio.value), interval],
  ];
  if (shed > 0) rows.push(["  for", count(shed), reasons.join(", ")]);
  if (result.runs !== null) {
    const { count: runs, shedRatio: mean, leastShedRatio, mostShedRatio } = result.runs;
    const spread = `single runs ${percent(leastShedRatio)} to ${percent(mostShedRatio)}`;
    const sure = `${percent(mean.low)} to ${percent(mean.high)} (95 % sure)`;
    rows.push([`  in ${runs} runs`, percent(mean.value), `${sure}; ${spread}`]);
  }
  if (theory !== null) {
    const apart = `${percent(theory.apart)} each replica for itself`;
    const alone = result.clients === "give-up" ? "" : ", if none tried again";
    rows.push(["  by Erlang B", percent(theory.pooled), `all as one pool; ${apart}${alone}`]);
  }
  rows.push(
    ["turns given up", percent(result.givenUpRatio), count(counted.givenUp)],
    ["turns lost", percent(result.lostRatio), `${count(counted.lost)}, with their replicas`],
    [
      "memory at most",
      percent(memory.mostUsedRatio),
      `of the load line; above it ${times(memory.timesOverLine)}, above the limit ${times(memory.timesOverLimit)}`,
    ],
    [
      "committed at most",
      percent(memory.mostCommittedRatio),
      "of the load line, after an admission",
    ],
    ["turns in flight", oneDigit(result.meanInflight), "on average"],
    [
      "replicas up",
      oneDigit(replicas.meanUp),
      `on average; ${oneDigit(replicas.hours)} hours paid`,
    ],
  );
  if (replicas.failures > 0) rows.push(["failures", count(replicas.failures), "of replicas"]);
  if (replicas.deployEndedAtMs !== null) {
    rows.push(["deploy", time(replicas.deployEndedAtMs), "was over then"]);
  }
  return rows;
}

function spreadOf(result: SimulationResult): Row[] {
  const { firstTokenMs, firstTokenFromFirstMs, startWaitMs, memory } = result;
  return [
    spreadRow("first token, from admission", firstTokenMs, seconds),
    spreadRow("first token, from first attempt", firstTokenFromFirstMs, seconds),
    spreadRow("wait for a start", startWaitMs, seconds),
    spreadRow("memory in use, of load line", memory.usedRatio, percent),
  ];
}

function spreadRow(
  label: string,
  { p50, p95, p99 }: Quantiles,
  show: (value: number) => string,
): Row {
  return [label, ...[p50, p95, p99].map((value) => (value === null ? "-" : show(value)))];
}

function oneDigit(value: number): string {
  return value.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
}

/** `72 s`, `63.5 min`, `24 h`: with no more digits than are read. */
function time(durationMs: number): string {
  const [unitMs, unit] = TIME_UNITS.find(([ms]) => durationMs >= 2 * ms) ?? TIME_UNITS[2];
  return `${Number((durationMs / unitMs).toFixed(1))} ${unit}`;
}

const TIME_UNITS = [
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
] as const;

function times(number: number): string {
  return number === 0 ? "never" : countOf(number, "time");
}
