/**
 * A simulation as a report. Pure.
 *
 * @module
 */

import { count, countOf, mebibytes, seconds } from "../../lib/figures.ts";
import type { Plot, Series } from "../plot.ts";
import type { Fact, Report, ReportTable } from "../report.ts";
import { type Quantiles, shedOf, type SimulationResult } from "./result.ts";
import type { SamplePoint } from "./tally.ts";

type ValueOf = (point: SamplePoint) => number;

export function simulationReport(result: SimulationResult): Report {
  const charts = CHARTS.map(({ title, valueOf }) => ({
    title,
    values: result.points.map(valueOf),
  }));
  const end = `${count(Math.round(result.durationMs / 1000))} s`;
  return {
    title: `A simulated fleet for the agent ${result.agent}`,
    answer: answerOf(result),
    sections: [
      { title: "What was simulated", paragraphs: notesOf(result), facts: settingOf(result) },
      { title: "What comes of it", paragraphs: [], facts: outcomeOf(result) },
      { title: "How long, how full", paragraphs: [], table: spreadOf(result) },
      { title: "Over time", paragraphs: [], charts: { charts, end }, plots: plotsOf(result) },
    ],
  };
}

function answerOf({ shedRatio, firstTokenFromFirstMs, givenUpRatio }: SimulationResult): string {
  const { p50, p95 } = firstTokenFromFirstMs;
  const shed = `${percent(shedRatio.value)} of the attempts are shed, ${percent(givenUpRatio)} of the turns given up`;
  if (p50 === null || p95 === null) return `${shed}.`;
  return `${shed}; half of the others have their first token after ${seconds(p50)}, 95 % after ${seconds(p95)}.`;
}

function notesOf({ notes }: SimulationResult): readonly string[] {
  return notes.map((note) => `Note: ${note}.`.replace(/\.\.$/u, "."));
}

const shedPercent: ValueOf = ({ attempts, shed }) =>
  attempts === 0 ? Number.NaN : (100 * shed) / attempts;
const fullestPercent: ValueOf = ({ mostUsedRatio }) => 100 * mostUsedRatio;
const inflight: ValueOf = (point) => point.inflight;
const replicasUp: ValueOf = (point) => point.replicasUp;
const firstTokenSeconds: ValueOf = ({ firstTokenP95Ms }) => firstTokenP95Ms / 1000;

/** For a terminal: one line each. */
const CHARTS: readonly { readonly title: string; readonly valueOf: ValueOf }[] = [
  { title: "Shed, of attempts, %", valueOf: shedPercent },
  { title: "Time to first token, 95th percentile, s", valueOf: firstTokenSeconds },
  { title: "Memory in use, of the load line, fullest replica, %", valueOf: fullestPercent },
  { title: "Turns in flight", valueOf: inflight },
  { title: "Replicas up", valueOf: replicasUp },
];

function plotsOf(result: SimulationResult): readonly Plot[] {
  const [unitMs, xTitle] = timeUnit(result.durationMs);
  const series = (
    label: string,
    colour: NonNullable<Series["colour"]>,
    style: Series["style"],
    valueOf: ValueOf,
  ): Series => ({
    label,
    colour,
    style,
    points: result.points.map((point) => [point.atMs / unitMs, valueOf(point)] as const),
  });
  const room: ValueOf = (point) => point.replicasUp * result.replica.turns;
  return [
    {
      title: "Shed, of attempts",
      yTitle: "%",
      series: [series("shed", "red", "area", shedPercent)],
    },
    {
      title: "Time to first token, 95th percentile",
      yTitle: "s",
      series: [series("from admission", "violet", "curve", firstTokenSeconds)],
    },
    {
      title: "Memory in use, of the load line",
      yTitle: "%",
      series: [
        series("load line", "red", "dashed", () => 100),
        series("fullest replica", "orange", "curve", fullestPercent),
        series("mean of replicas", "blue", "area", ({ usedRatio }) => 100 * usedRatio),
      ],
      top: 100,
    },
    {
      title: "Turns in flight",
      yTitle: "turns",
      series: [
        series("room for turns", "red", "dashed", room),
        series("in flight", "blue", "area", inflight),
      ],
    },
    {
      title: "Replicas",
      yTitle: "replicas",
      series: [
        series("wanted or up", "grey", "steps", ({ replicas }) => replicas),
        series("up", "teal", "steps", replicasUp),
      ],
    },
  ].map((plot) => ({ ...plot, xTitle }) satisfies Plot);
}

function timeUnit(durationMs: number): readonly [unitMs: number, xTitle: string] {
  if (durationMs >= 4 * 86_400_000) return [86_400_000, "time, days"];
  if (durationMs >= 4 * 3_600_000) return [3_600_000, "time, hours"];
  return durationMs >= 600_000 ? [60_000, "time, minutes"] : [1000, "time, s"];
}

function percent(ratio: number): string {
  const value = 100 * ratio;
  if (value === 0) return "0 %";
  if (value < 0.001) return "< 0.001 %";
  return `${value.toFixed(value < 0.1 ? 3 : value < 10 ? 2 : 1)} %`;
}

function settingOf(result: SimulationResult): readonly Fact[] {
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

function outcomeOf(result: SimulationResult): readonly Fact[] {
  const { shedRatio, counted, theory, memory, replicas } = result;
  const interval = result.isSteady
    ? `${percent(shedRatio.low)} to ${percent(shedRatio.high)} (95 % sure)`
    : "changes with time; `runs` show what is chance";
  const reasons = Object.entries(result.shedByReason)
    .filter(([, number]) => number > 0)
    .map(([reason, number]) => `${reason} ${count(number)}`);
  const shed = shedOf(counted);
  const rows: Fact[] = [
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

function spreadOf(result: SimulationResult): ReportTable {
  const { firstTokenMs, firstTokenFromFirstMs, startWaitMs, memory } = result;
  const rows = [
    spreadRow("first token, from admission", firstTokenMs, seconds),
    spreadRow("first token, from first attempt", firstTokenFromFirstMs, seconds),
    spreadRow("wait for a start", startWaitMs, seconds),
    spreadRow("memory in use, of load line", memory.usedRatio, percent),
  ];
  return { head: ["", "median", "95 %", "99 %"], rows };
}

function spreadRow(
  label: string,
  { p50, p95, p99 }: Quantiles,
  show: (value: number) => string,
): readonly string[] {
  return [label, ...[p50, p95, p99].map((value) => (value === null ? "-" : show(value)))];
}

function oneDigit(value: number): string {
  const digits = value < 1000 ? 1 : 0;
  return value.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
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
