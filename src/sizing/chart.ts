/**
 * Values over time as a small chart of block characters, for a terminal. Pure.
 *
 * @module
 */

export interface Chart {
  /** With the unit. */
  readonly title: string;
  /** At equal distances; NaN where there is none. */
  readonly values: readonly number[];
}

const COLUMNS = 64;
const ROWS = 3;
const MARK_COLUMNS = 9;
const BLOCKS = " ▁▂▃▄▅▆▇█";

/** @param paint What the bars are painted with. */
export function chartLines({ title, values }: Chart, paint: (text: string) => string): string[] {
  const columns = columnsOf(values);
  const most = columns.reduce((high, value) => (value > high ? value : high), 0);
  const rows = Array.from({ length: ROWS }, (_, row) => {
    const base = ROWS - 1 - row;
    const bars = columns.map((value) => blockOf(most === 0 ? 0 : (value / most) * ROWS - base));
    const mark = row === ROWS - 1 ? "0" : row === 0 && most > 0 ? digits(most) : "";
    return `  ${mark.padStart(MARK_COLUMNS)} ▕${paint(bars.join("").trimEnd())}`;
  });
  return [`  ${title}`, ...rows];
}

/** What is below the charts: from 0 to the end. @param end With its unit. */
export function chartAxis(end: string): string {
  return `${" ".repeat(MARK_COLUMNS + 4)}0${end.padStart(COLUMNS - 1)}`;
}

/** The values of the columns: of several that share one the highest. */
function columnsOf(values: readonly number[]): number[] {
  return Array.from({ length: COLUMNS }, (_, column) => {
    const from = Math.floor((column * values.length) / COLUMNS);
    const to = Math.max(from + 1, Math.floor(((column + 1) * values.length) / COLUMNS));
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

function digits(value: number): string {
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 10 ? 1 : 2);
}
