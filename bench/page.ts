/**
 * The page of a result, made from the same object as its JSON. Pure.
 *
 * @module
 */

import { quantile, type Summary } from "./statistics.ts";
import type { BenchmarkResult } from "./result.ts";

export function pageOf(result: BenchmarkResult, sections: readonly string[]): string {
  const { name, commit, date, machine, claims } = result;
  const rows = claims.map(({ claim, target, measured, holds }) => [
    claim,
    target,
    measured,
    holds ? "yes" : "**no**",
  ]);
  const { before, after } = machine.load;
  return [
    `# Benchmark \`${name}\``,
    `Made by \`npm run bench -- ${name}\` at commit ${shortOf(commit)} on ${date.slice(0, 16)}Z.`,
    table(["Claim", "Target", "Measured", "Holds"], rows),
    ...sections,
    "## Machine",
    [
      `- ${machine.processor}, ${machine.cores} cores, ${(machine.memoryBytes / 2 ** 30).toFixed(1)} GiB, ${machine.system}`,
      `- Node ${machine.node}, Claude Agent SDK ${machine.sdk}, Plimsoll ${machine.plimsoll}`,
      `- Load average (1 minute) before ${before.toFixed(2)}, after ${after.toFixed(2)}, the benchmark itself included`,
      ...stolenLine(machine.stolenRatio),
    ].join("\n"),
    "",
  ].join("\n\n");
}

function stolenLine(ratio: number | null): string[] {
  if (ratio === null) return [];
  return [
    `- The host gave ${(100 * ratio).toFixed(1)} % of the CPU time that was asked for to others`,
  ];
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => "---"), ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

const SUMMARY_HEAD = ["", "n", "min", "25 %", "median", "75 %", "95 %", "99 %", "max"];

/** One line for each summary. */
export function summaryTable(unit: string, rows: readonly (readonly [string, Summary])[]): string {
  return table(
    [unit, ...SUMMARY_HEAD.slice(1)],
    rows.map(([label, { count, min, p25, median, p75, p95, p99, max }]) => [
      label,
      String(count),
      ...[min, p25, median, p75, p95, p99, max].map(digits),
    ]),
  );
}

function digits(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

const WIDTH = 60;

/** Lists as boxes over one axis: `─` from 5 % to 95 %, `█` the middle half, `│` the median. */
export function boxPlot(
  unit: string,
  rows: readonly (readonly [label: string, values: readonly number[]])[],
): string {
  const sorted = rows.map(([label, values]) => [label, [...values].sort(byValue)] as const);
  const low = Math.min(...sorted.map(([, values]) => quantile(values, 0.05)));
  const high = Math.max(...sorted.map(([, values]) => quantile(values, 0.95)));
  const at = (value: number) =>
    Math.round(((value - low) / Math.max(high - low, Number.EPSILON)) * (WIDTH - 1));
  const labelWidth = Math.max(...rows.map(([label]) => label.length));
  const lines = sorted.map(([label, values]) => {
    const [a, b, c, d, e] = [0.05, 0.25, 0.5, 0.75, 0.95].map((q) => at(quantile(values, q)));
    const cell = (x: number) => {
      if (x === c) return "│";
      if (x >= (b ?? 0) && x <= (d ?? 0)) return "█";
      return x >= (a ?? 0) && x <= (e ?? 0) ? "─" : " ";
    };
    return `${label.padEnd(labelWidth)}  ${Array.from({ length: WIDTH }, (_, x) => cell(x)).join("")}`;
  });
  const [from, to] = [digits(low), `${digits(high)} ${unit}`];
  const axis = `${" ".repeat(labelWidth)}  ${from}${to.padStart(WIDTH - from.length)}`;
  return ["```text", ...lines.map((line) => line.trimEnd()), axis, "```"].join("\n");
}

function byValue(a: number, b: number): number {
  return a - b;
}

/** Of the commit, and whether the tree was that commit. */
function shortOf(commit: string): string {
  const [hash = "", ...changes] = commit.split("+");
  return [hash.slice(0, 12), ...changes].join("+");
}
