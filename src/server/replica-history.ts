/**
 * The last hour of a replica in steps, kept whether somebody looks or not: whoever opens the console
 * at night wants to see what came before. 46 KiB, whatever happens.
 *
 * @module
 */

import type { GateSnapshot } from "../capacity/gate-snapshot.ts";
import type { FeedHistory } from "../protocol/feed.ts";

const HISTORY_STEP_MS = 5_000;
/** One hour. */
const MAX_STEPS = 720;
/** First tokens of one step that the median is taken of. */
const MAX_FIRST_TOKENS = 1_000;

/** The most that was seen in a step. */
const PEAKS = ["committedBytes", "usedBytes", "inflight"] as const;
/** Kept as they are at the end of a step, but for the peaks. */
const LEVELS = [
  "limitBytes",
  "loadLineBytes",
  "committedBytes",
  "usedBytes",
  "inflight",
  "turnsThatFit",
] as const;
const COLUMNS = [...LEVELS, "shed", "firstTokenMs"] as const;
type Column = (typeof COLUMNS)[number];

export type HistoryFigures = Pick<GateSnapshot, (typeof LEVELS)[number] | "shed">;

export class ReplicaHistory {
  /** Rings: step `n` since the start is at `n % MAX_STEPS`; NaN for what is not known. */
  readonly #columns = Object.fromEntries(
    COLUMNS.map((name) => [name, new Float64Array(MAX_STEPS).fill(Number.NaN)]),
  ) as Readonly<Record<Column, Float64Array>>;
  readonly #beganAtMs: number;
  /** Steps that are over. */
  #steps = 0;
  #shedBefore = 0;
  #firstTokensMs: number[] = [];
  #most: Partial<Record<(typeof PEAKS)[number], number>> = {};

  /** @param nowMs Of a clock that nobody sets, as in all calls. */
  constructor(nowMs: number) {
    this.#beganAtMs = nowMs;
  }

  /** A turn of the step that runs had its first token so long after its admission. */
  firstToken(firstTokenMs: number): void {
    if (this.#firstTokensMs.length < MAX_FIRST_TOKENS) this.#firstTokensMs.push(firstTokenMs);
  }

  /** What there is in the step that runs: a burst may be over before it is. */
  saw(figures: HistoryFigures): void {
    for (const name of PEAKS) {
      this.#most[name] = Math.max(this.#most[name] ?? 0, figures[name]);
    }
  }

  /** Ends a step; those for which nobody came in time stay unknown. */
  endStep(figures: HistoryFigures, nowMs: number): void {
    const over = Math.round((nowMs - this.#beganAtMs) / HISTORY_STEP_MS);
    if (over <= this.#steps) return;
    // As many as there are, whatever has passed: a machine may have slept for a day.
    for (let step = Math.max(this.#steps, over - MAX_STEPS); step < over - 1; step += 1) {
      for (const name of COLUMNS) this.#put(name, step, Number.NaN);
    }
    this.#steps = over;
    this.saw(figures);
    for (const name of LEVELS) {
      this.#put(name, over - 1, Math.round({ ...figures, ...this.#most }[name]));
    }
    this.#most = {};
    const shed = sumOf(figures.shed);
    this.#put("shed", over - 1, shed - this.#shedBefore);
    this.#put("firstTokenMs", over - 1, Math.round(medianOf(this.#firstTokensMs)));
    this.#shedBefore = shed;
    this.#firstTokensMs = [];
  }

  /** Until the step that runs is over; more than 0. */
  leftMs(nowMs: number): number {
    return HISTORY_STEP_MS - ((nowMs - this.#beganAtMs) % HISTORY_STEP_MS);
  }

  /** @param wallMs The same moment as `nowMs`, in milliseconds since 1970. */
  event(nowMs: number, wallMs: number): FeedHistory {
    const sinceLastMs = nowMs - (this.#beganAtMs + this.#steps * HISTORY_STEP_MS);
    const columns = Object.fromEntries(COLUMNS.map((name) => [name, this.#inOrder(name)]));
    return {
      type: "history",
      stepMs: HISTORY_STEP_MS,
      fromMs: Math.round(wallMs - sinceLastMs - MAX_STEPS * HISTORY_STEP_MS),
      ...(columns as Record<Column, (number | null)[]>),
    };
  }

  #put(name: Column, step: number, value: number): void {
    this.#columns[name][step % MAX_STEPS] = value;
  }

  /** The oldest first. */
  #inOrder(name: Column): (number | null)[] {
    const ring = this.#columns[name];
    return Array.from(ring, (_, index) => {
      const value = ring[(this.#steps + index) % MAX_STEPS] ?? Number.NaN;
      return Number.isNaN(value) ? null : value;
    });
  }
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** NaN for nothing. */
function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
