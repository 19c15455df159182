/**
 * A simulation for the terminal: tables and small plots of block characters, within 80 columns. Pure.
 *
 * @module
 */

import type { SimulationResult } from "../sizing/simulate/result.ts";
import type { Paint } from "./paint.ts";
import { figuresOf, type Row, SERIES, type Series, SPREAD_HEAD } from "./simulate-figures.ts";

const TEXT_COLUMNS = 80;
const PLOT_COLUMNS = 64;
const PLOT_ROWS = 3;
const BLOCKS = " ▁▂▃▄▅▆▇█";

export function simulationText(result: SimulationResult, paint: Paint): string {
  const { setting, outcome, spread } = figuresOf(result);
  const { shed, firstToken, memory, inflight, replicas } = SERIES;
  return [
    `${paint("bold", "Simulation of a fleet")}: agent ${result.agent}`,
    "",
    ...table(setting, [9]),
    "",
    ...table(outcome, [17, 9]),
    "",
    ...table([SPREAD_HEAD, ...spread], [31, 9, 9, 9], true),
    "",
    ...[shed, firstToken, memory, inflight, replicas].flatMap((series) =>
      plot(series, result, paint),
    ),
    timeAxis(result),
    ...result.notes.flatMap((note) => ["", ...wrapped(`Note: ${note}`)]),
    "",
  ].join("\n");
}

/** @param widths Of the columns but the last. @param alignRight Whether cells are figures. */
function table(rows: readonly Row[], widths: readonly number[], alignRight = false): string[] {
  return rows.flatMap(([label, ...cells]) => {
    const [labelWidth = 0, ...others] = widths;
    const padded = cells.map((cell, index) => {
      const width = others[index] ?? 0;
      return alignRight || index < cells.length - 1 ? cell.padStart(width) : cell;
    });
    const line = `  ${label.padEnd(labelWidth)}  ${padded.join("  ")}`.trimEnd();
    return line.length <= TEXT_COLUMNS ? [line] : folded(line, widths);
  });
}

/** The last cell goes on below itself. */
function folded(line: string, widths: readonly number[]): string[] {
  const indent = 2 + widths.reduce((sum, width) => sum + width + 2, 0);
  const [first = "", ...rest] = wrapped(line.slice(indent), TEXT_COLUMNS - indent);
  return [line.slice(0, indent) + first, ...rest.map((text) => " ".repeat(indent) + text)];
}

function wrapped(text: string, columns = TEXT_COLUMNS): string[] {
  const lines: string[] = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1) ?? "";
    if (last === "") lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length <= columns) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Bars over time; of several points that share a column the highest. */
function plot(series: Series, result: SimulationResult, paint: Paint): string[] {
  const values = columnsOf(result.points.map(series.valueOf));
  const most = values.reduce((high, value) => (value > high ? value : high), 0);
  const label = series.unit === "" ? series.title : `${series.title}, ${series.unit}`;
  const rows = Array.from({ length: PLOT_ROWS }, (_, row) => {
    const base = PLOT_ROWS - 1 - row;
    const bars = values.map((value) => blockOf(most === 0 ? 0 : (value / most) * PLOT_ROWS - base));
    const mark = row === PLOT_ROWS - 1 ? "0" : row === 0 && most > 0 ? digits(most) : "";
    return `  ${mark.padStart(9)} ▕${paint("cyan", bars.join("").trimEnd())}`;
  });
  return [`  ${label}`, ...rows, ""];
}

function columnsOf(values: readonly number[]): number[] {
  return Array.from({ length: PLOT_COLUMNS }, (_, column) => {
    const from = Math.floor((column * values.length) / PLOT_COLUMNS);
    const to = Math.max(from + 1, Math.floor(((column + 1) * values.length) / PLOT_COLUMNS));
    const known = values.slice(from, to).filter((value) => !Number.isNaN(value));
    return known.length === 0 ? Number.NaN : Math.max(...known);
  });
}

/** @param height Of one row; what is above or below belongs to other rows. */
function blockOf(height: number): string {
  if (Number.isNaN(height)) return " ";
  const eighths = Math.min(8, Math.max(0, Math.round(height * 8)));
  return BLOCKS[eighths] ?? " ";
}

function timeAxis({ durationMs }: SimulationResult): string {
  const end = `${Math.round(durationMs / 1000).toLocaleString("en")} s`;
  return `${" ".repeat(13)}0${end.padStart(PLOT_COLUMNS - 1)}`;
}

function digits(value: number): string {
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 10 ? 1 : 2);
}
