/**
 * A trace of turns that really came: a table with a head line, one line for each turn, in the order
 * of time.
 *
 *     atMs,durationMs,transcriptBytes,session
 *     0,8123,0,a
 *     950,,20480,b
 *
 * `at` in ISO 8601 may stand for `atMs`; the other columns may be missing, and their cells empty.
 * What is damaged is an error with its line; what is not there is a note. Pure.
 *
 * @module
 */

import { type Diagnostic, frameAt } from "../lib/diagnostics.ts";
import { didYouMean } from "../lib/did-you-mean.ts";

export interface TraceTurns {
  /** From the first one on, ascending. */
  readonly atMs: Float64Array;
  /** NaN where the trace does not say. */
  readonly durationMs: Float64Array;
  readonly transcriptBytes: Float64Array;
  /** A number for each session that is named, -1 for a turn of none; null without the column. */
  readonly session: Int32Array | null;
}

export type TraceResult =
  | {
      readonly ok: true;
      readonly turns: TraceTurns;
      /** What is told of gaps, and what is taken for them. */
      readonly notes: readonly string[];
      /** How many durations the trace does not say, in words; null where it says all. */
      readonly missing: string | null;
    }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

const COLUMNS = ["at", "atMs", "durationMs", "transcriptBytes", "session"] as const;
type Column = (typeof COLUMNS)[number];

/** Problems told of one trace: who made it will have made the same mistake on every line. */
const MAX_PROBLEMS = 20;
/** Gaps told by their lines. */
const MAX_GAPS = 3;
const MAX_DURATION_MS = 86_400_000;
const MAX_TRANSCRIPT_BYTES = 2 ** 40;
const EXAMPLE = "Write for example `atMs,durationMs` and below it `0,8123`";

/** @param maxTurns More are an error. */
export function parseTrace(text: string, file: string, maxTurns: number): TraceResult {
  return new TraceReader(text, file, maxTurns).read();
}

class TraceReader {
  readonly #text: string;
  readonly #file: string;
  readonly #maxTurns: number;
  readonly #diagnostics: Diagnostic[] = [];
  readonly #atMs: number[] = [];
  readonly #durationMs: number[] = [];
  readonly #transcriptBytes: number[] = [];
  readonly #session: number[] = [];
  /** By name. */
  readonly #sessions = new Map<string, number>();
  /** The line of each turn, from 1. */
  readonly #lines: number[] = [];
  #columns: readonly Column[] = [];
  #line = 0;

  constructor(text: string, file: string, maxTurns: number) {
    this.#text = text.replace(/^\uFEFF/u, "");
    this.#file = file;
    this.#maxTurns = maxTurns;
  }

  read(): TraceResult {
    const text = this.#text;
    for (let from = 0; from < text.length && this.#diagnostics.length < MAX_PROBLEMS;) {
      const end = text.indexOf("\n", from);
      const to = end === -1 ? text.length : end;
      this.#line += 1;
      const isHead = this.#columns.length === 0;
      this.#readLine(text.slice(from, to).replace(/\r$/u, ""));
      // With a head that is not understood, no line is.
      if (isHead && this.#diagnostics.length > 0) break;
      from = to + 1;
    }
    if (this.#diagnostics.length === 0) this.#checkWhole();
    if (this.#diagnostics.length > 0) return { ok: false, diagnostics: this.#diagnostics };
    const first = this.#atMs[0] ?? 0;
    const turns = {
      atMs: Float64Array.from(this.#atMs, (atMs) => atMs - first),
      durationMs: Float64Array.from(this.#durationMs),
      transcriptBytes: Float64Array.from(this.#transcriptBytes),
      session: this.#columns.includes("session") ? Int32Array.from(this.#session) : null,
    };
    return { ok: true, turns, notes: this.#gapNotes(), missing: this.#missing() };
  }

  #readLine(line: string): void {
    if (line.trim() === "") return;
    const cells = line.split(",");
    if (this.#columns.length === 0) return this.#readHead(cells);
    if (cells.length !== this.#columns.length) {
      const wanted = `${this.#columns.length} (${this.#columns.join(", ")})`;
      return this.#complain(1, `has ${cells.length} cells: needs ${wanted}`, "Mend the line");
    }
    if (this.#atMs.length >= this.#maxTurns) {
      const message = `is one turn more than ${this.#maxTurns.toLocaleString("en")}`;
      return this.#complain(1, message, "Raise `limits.turns`, or shorten the trace");
    }
    const problems = this.#diagnostics.length;
    let [column, atMs, durationMs, transcriptBytes] = [1, Number.NaN, Number.NaN, Number.NaN];
    let session = -1;
    for (const [index, cell] of cells.entries()) {
      const name = this.#columns[index];
      if (name === "durationMs") durationMs = this.#number(cell, column, name, MAX_DURATION_MS);
      else if (name === "transcriptBytes") {
        transcriptBytes = this.#number(cell, column, name, MAX_TRANSCRIPT_BYTES);
      } else if (name === "session") session = this.#sessionOf(cell.trim());
      else atMs = this.#time(cell, column, name ?? "at");
      column += cell.length + 1;
    }
    if (this.#diagnostics.length > problems) return;
    if (atMs < (this.#atMs.at(-1) ?? -Infinity)) {
      const message = `is earlier than line ${this.#lines.at(-1)} before it`;
      return this.#complain(1, message, "Sort the trace by time");
    }
    this.#atMs.push(atMs);
    this.#durationMs.push(durationMs);
    this.#transcriptBytes.push(transcriptBytes);
    this.#session.push(session);
    this.#lines.push(this.#line);
  }

  #readHead(cells: readonly string[]): void {
    let column = 1;
    const columns: Column[] = [];
    for (const cell of cells) {
      const known = COLUMNS.find((name) => name === cell.trim());
      if (known === undefined || columns.includes(known)) {
        const message = `\`${cell.trim()}\` is ${known === undefined ? "no column of a trace" : "there twice"}`;
        const remedy = known === undefined ? didYouMean(cell.trim(), COLUMNS) : "Keep one of them";
        this.#complain(column, message, /^[\d.-]+$/u.test(cell.trim()) ? EXAMPLE : remedy);
      } else columns.push(known);
      column += cell.length + 1;
    }
    if (columns.includes("at") === columns.includes("atMs") && this.#diagnostics.length === 0) {
      this.#complain(1, "needs one of the columns `atMs` and `at`", EXAMPLE);
    }
    this.#columns = columns;
  }

  #sessionOf(name: string): number {
    if (name === "") return -1;
    const known = this.#sessions.get(name) ?? this.#sessions.size;
    this.#sessions.set(name, known);
    return known;
  }

  /** NaN where the cell is empty or has been complained of. */
  #number(cell: string, column: number, name: string, most: number): number {
    const text = cell.trim();
    if (text === "") return Number.NaN;
    const value = /^\d+(\.\d+)?(e\+?\d+)?$/iu.test(text) ? Number(text) : Number.NaN;
    if (value <= most) return value;
    const unit = /^[\d.]+\s*[a-z]+$/iu.test(text);
    const needed = `${name} needs a number from 0 to ${most}`;
    const remedy = unit ? `Write the number alone: its unit is in \`${name}\`` : "Mend the line";
    this.#complain(column, `${needed}: got \`${text.slice(0, 40)}\``, remedy);
    return Number.NaN;
  }

  #time(cell: string, column: number, name: string): number {
    if (name === "atMs") {
      if (cell.trim() !== "") return this.#number(cell, column, name, Number.MAX_SAFE_INTEGER);
    } else {
      const atMs = /^\d{4}-\d\d-\d\dT/u.test(cell.trim()) ? Date.parse(cell.trim()) : Number.NaN;
      if (!Number.isNaN(atMs)) return atMs;
    }
    const example = name === "at" ? "a time such as `2026-11-29T12:00:00.250Z`" : "a number";
    this.#complain(column, `${name} needs ${example}`, "Mend the line");
    return Number.NaN;
  }

  /** What is only seen of all lines together: units that were mixed up, and a trace of nothing. */
  #checkWhole(): void {
    this.#line = 1;
    const [count, first] = [this.#atMs.length, this.#atMs[0] ?? 0];
    if (count < 2) {
      this.#complain(1, `holds ${count} turns: needs 2 or more`, EXAMPLE);
      return;
    }
    // Milliseconds since 1970 are above 1e11 from 1973 on; seconds are below it for 3,000 years.
    if (this.#columns.includes("atMs") && first > 1e9 && first < 1e11) {
      const message = `atMs looks like seconds since 1970: line ${this.#lines[0]} has ${first}`;
      this.#complain(1, message, "Multiply by 1,000");
    }
    const known = this.#durationMs.filter((ms) => !Number.isNaN(ms));
    const longest = known.reduce((most, ms) => Math.max(most, ms), 0);
    if (known.length >= 2 && longest < SHORTEST_PLAUSIBLE_MS) {
      const message = `durationMs looks like seconds: the longest of ${known.length} turns takes ${longest} ms`;
      this.#complain(1, message, "Multiply by 1,000");
    }
  }

  /** Times in which nobody came for so long that chance does not explain it. */
  #gapNotes(): string[] {
    const between = this.#atMs.slice(1).map((atMs, index) => atMs - (this.#atMs[index] ?? 0));
    const typicalMs = Float64Array.from(between).toSorted()[between.length >> 1] ?? 0;
    // Of n exponential times the longest is about ln n means, and e⁷ times as seldom 7 more.
    const longMs = (typicalMs / Math.LN2) * (Math.log(between.length) + 7);
    const gaps = between.flatMap((ms, index) =>
      ms > Math.max(longMs, LEAST_GAP_MS) ? [{ ms, line: this.#lines[index] }] : [],
    );
    const told = gaps
      .toSorted((a, b) => b.ms - a.ms)
      .slice(0, MAX_GAPS)
      .map(({ ms, line }) => {
        const seconds = Math.round(ms / 1000).toLocaleString("en");
        return `${this.#file}:${line}: nobody came for ${seconds} s after this line; taken for a time without turns`;
      });
    const others = gaps.length - told.length;
    return others === 0 ? told : [...told, `${this.#file}: ${others} more such gaps`];
  }

  #missing(): string | null {
    const missing = this.#durationMs.filter((ms) => Number.isNaN(ms)).length;
    if (missing === 0) return null;
    const lines = missing === this.#durationMs.length ? "no line has" : `${missing} lines lack`;
    return `${this.#file}: ${lines} a duration`;
  }

  #complain(column: number, message: string, remedy: string): void {
    const line = this.#line;
    const frame = frameAt(this.#text, line, column);
    this.#diagnostics.push({ file: this.#file, line, column, path: "", message, remedy, frame });
  }
}

/** No turn is shorter than the start of a process; the longest of several certainly not. */
const SHORTEST_PLAUSIBLE_MS = 100;
/** Shorter ones are not worth a word. */
const LEAST_GAP_MS = 10_000;
