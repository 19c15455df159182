/**
 * The end of the history that is shown, and what it says in words. Pure.
 *
 * @module
 */

import { type Column, COLUMNS, type History, median, timesOf } from "../feed/history.ts";
import { bytesText, countText, durationText } from "../ui/format.ts";

export interface HistoryWindow extends Readonly<Record<Column, readonly (number | null)[]>> {
  readonly fromMs: number;
  readonly toMs: number;
  /** Middle of each step, in ms. */
  readonly timesMs: readonly number[];
}

/** @param toMs By the server's clock. */
export function windowOf(history: History, minutes: number, toMs: number): HistoryWindow {
  const fromMs = toMs - minutes * 60_000;
  const times = timesOf(history);
  const found = times.findIndex((time) => time >= fromMs);
  const first = found === -1 ? times.length : found;
  const columns = COLUMNS.map((name) => [name, history[name].slice(first)] as const);
  const cut = Object.fromEntries(columns) as Record<Column, (number | null)[]>;
  return { ...cut, fromMs, toMs, timesMs: times.slice(first) };
}

/** One sentence for each chart. */
export interface Summary {
  readonly memory: string;
  readonly turns: string;
  readonly shed: string;
  readonly firstToken: string;
}

export function summaryOf(window: HistoryWindow): Summary {
  const committedBytes = mostOf(window.committedBytes);
  const loadLineBytes = lastOf(window.loadLineBytes);
  const inflight = mostOf(window.inflight);
  const fit = lastOf(window.turnsThatFit);
  const shed = sumOf(window.shed);
  const firstTokenMs = median(known(window.firstTokenMs));
  return {
    memory:
      committedBytes === null || loadLineBytes === null
        ? NOTHING
        : `At most ${bytesText(committedBytes)} were committed, ${share(committedBytes, loadLineBytes)} of the load line.`,
    turns:
      inflight === null || fit === null
        ? NOTHING
        : `At most ${countText(inflight, "turn")} at once; ${countText(fit, "turn")} would fit now.`,
    shed:
      shed === 0
        ? "No turn was shed."
        : `${countText(shed, "turn")} ${shed === 1 ? "was" : "were"} shed.`,
    firstToken:
      firstTokenMs === null
        ? "No first token came."
        : `The first token came after ${durationText(firstTokenMs)} (median), at most ${durationText(mostOf(window.firstTokenMs) ?? 0)}.`,
  };
}

const NOTHING = "Nothing is known of this time yet.";

function share(part: number, whole: number): string {
  return `${Math.round((100 * part) / Math.max(1, whole))} %`;
}

function known(values: readonly (number | null)[]): number[] {
  return values.filter((value) => value !== null);
}

function mostOf(values: readonly (number | null)[]): number | null {
  return known(values).reduce<number | null>((most, value) => Math.max(most ?? value, value), null);
}

function lastOf(values: readonly (number | null)[]): number | null {
  return known(values).at(-1) ?? null;
}

function sumOf(values: readonly (number | null)[]): number {
  return known(values).reduce((sum, value) => sum + value, 0);
}
