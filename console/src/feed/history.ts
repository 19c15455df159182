/**
 * The last hour in columns, as the server tells it at first, and gone on with here from what comes
 * live. Pure; the columns of a history are never changed.
 *
 * @module
 */

import type { FeedHistory, FeedTurn } from "../../../src/protocol/feed.ts";
import type { CapacityEvent } from "./capacity.ts";

const HOUR_MS = 3_600_000;

/** Columns that hold the most of a step, but for `shed` and `firstTokenMs`. */
export const COLUMNS = [
  "limitBytes",
  "loadLineBytes",
  "committedBytes",
  "usedBytes",
  "inflight",
  "turnsThatFit",
  "shed",
  "firstTokenMs",
] as const;
export type Column = (typeof COLUMNS)[number];

type Value = number | null;

export interface History extends Readonly<Record<Column, readonly Value[]>> {
  readonly stepMs: number;
  /** Of the first step. */
  readonly fromMs: number;
  /** Refusals since the start of the server, when last heard; null before. */
  readonly shedInAll: number | null;
  /** First tokens of the newest step. */
  readonly firstTokens: readonly number[];
}

export const NO_HISTORY: History = {
  stepMs: 5000,
  fromMs: 0,
  shedInAll: null,
  firstTokens: [],
  limitBytes: [],
  loadLineBytes: [],
  committedBytes: [],
  usedBytes: [],
  inflight: [],
  turnsThatFit: [],
  shed: [],
  firstTokenMs: [],
};

export function historyFrom(told: FeedHistory): History {
  const { stepMs, fromMs } = told;
  const columns = Object.fromEntries(COLUMNS.map((name) => [name, told[name]]));
  return { ...NO_HISTORY, ...(columns as Record<Column, Value[]>), stepMs, fromMs };
}

/** What is live goes into the step of its time; steps in which nothing was heard are null. */
export function withCapacity(history: History, { atMs, capacity }: CapacityEvent): History {
  const open = withStep(history, atMs);
  const shedInAll = Object.values(capacity.shed).reduce((sum, count) => sum + count, 0);
  const shedSince = Math.max(0, shedInAll - (open.shedInAll ?? shedInAll));
  const { limitBytes, loadLineBytes, committedBytes, usedBytes } = capacity;
  const { inflight, turnsThatFit } = capacity;
  return {
    ...open,
    shedInAll,
    limitBytes: withLast(open.limitBytes, () => limitBytes),
    loadLineBytes: withLast(open.loadLineBytes, () => loadLineBytes),
    committedBytes: withLast(open.committedBytes, (last) => Math.max(last ?? 0, committedBytes)),
    usedBytes: withLast(open.usedBytes, (last) => Math.max(last ?? 0, usedBytes)),
    inflight: withLast(open.inflight, (last) => Math.max(last ?? 0, inflight)),
    turnsThatFit: withLast(open.turnsThatFit, () => turnsThatFit),
    shed: withLast(open.shed, (last) => (last ?? 0) + shedSince),
  };
}

/** @param turn One whose first token has just become known. */
export function withFirstToken(history: History, turn: FeedTurn): History {
  if (turn.firstTokenMs === null) return history;
  const open = withStep(history, turn.startedAtMs + turn.firstTokenMs);
  const firstTokens = [...open.firstTokens, turn.firstTokenMs].slice(-500);
  return {
    ...open,
    firstTokens,
    firstTokenMs: withLast(open.firstTokenMs, () => median(firstTokens)),
  };
}

/** Middle times of the steps, for an axis. */
export function timesOf({ fromMs, stepMs, inflight }: History): number[] {
  return inflight.map((_, index) => fromMs + (index + 0.5) * stepMs);
}

export function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return null;
  const [low = 0, high = low] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return (low + high) / 2;
}

/** With a last step that the time falls into, and no more than an hour. */
function withStep(history: History, atMs: number): History {
  const { stepMs } = history;
  const length = history.inflight.length;
  const fromMs = length === 0 ? Math.floor(atMs / stepMs) * stepMs : history.fromMs;
  const wanted = Math.floor((atMs - fromMs) / stepMs) + 1;
  // What comes late belongs to the newest step.
  if (wanted <= length) return history;
  const most = Math.ceil(HOUR_MS / stepMs);
  const missing = Math.min(wanted - length, most);
  const dropped = Math.max(0, length + missing - most);
  const columns = COLUMNS.map((name) => {
    const added = Array<Value>(missing).fill(null);
    return [name, [...history[name].slice(dropped), ...added]] as const;
  });
  return {
    ...history,
    ...(Object.fromEntries(columns) as Record<Column, Value[]>),
    fromMs: fromMs + Math.max(0, wanted - Math.min(wanted, most)) * stepMs,
    firstTokens: [],
  };
}

function withLast(values: readonly Value[], next: (last: Value) => Value): readonly Value[] {
  return [...values.slice(0, -1), next(values.at(-1) ?? null)];
}
