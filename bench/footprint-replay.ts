/**
 * Plays turns that were once recorded to a footprint book: each is predicted from what had ended
 * when it started, as in the server. Pure.
 *
 * @module
 */

import { FootprintBook } from "../src/capacity/footprint.ts";

/** A turn that was run and measured. */
export interface TracedTurn {
  /** What it did, for people. */
  readonly kind: string;
  readonly carriedBytes: number;
  readonly peakBytes: number;
  readonly endedForMemory: boolean;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
}

export interface ReplayOptions {
  readonly priorBytes: number;
  /** Of a process started before the first turn, if there was one. */
  readonly startPeakBytes?: number;
}

export interface Prediction<Turn extends TracedTurn> {
  readonly turn: Turn;
  /** How many turns had been learned. */
  readonly learned: number;
  readonly predictedBytes: number;
  /** What would be set aside beside it, were it the only turn. */
  readonly marginBytes: number;
}

export interface Replay<Turn extends TracedTurn> {
  /** In the order in which the turns started. */
  readonly predictions: readonly Prediction<Turn>[];
  /** For each prediction, by how much it was off, as part of the peak; above 0 if too high. */
  readonly errors: readonly number[];
}

const AGENT = "replayed";

export function replay<Turn extends TracedTurn>(
  trace: readonly Turn[],
  options: ReplayOptions,
): Replay<Turn> {
  const { priorBytes, startPeakBytes } = options;
  const book = new FootprintBook({ priorBytes, versionOf: () => "" });
  if (startPeakBytes !== undefined) book.calibrate(startPeakBytes);
  const ends = trace.toSorted((a, b) => a.endedAtMs - b.endedAtMs);
  let learned = 0;
  const predictions = trace
    .toSorted((a, b) => a.startedAtMs - b.startedAtMs)
    .map((turn): Prediction<Turn> => {
      for (; (ends[learned]?.endedAtMs ?? Infinity) <= turn.startedAtMs; learned += 1) {
        const { endedAtMs: atMs, ...ended } = ends[learned] as Turn;
        book.learn(AGENT, { ...ended, atMs });
      }
      return {
        turn,
        learned,
        predictedBytes: book.predict(AGENT, turn.carriedBytes),
        marginBytes: book.poolBytes([AGENT]),
      };
    });
  const errors = predictions.map(({ turn, predictedBytes }) => predictedBytes / turn.peakBytes - 1);
  return { predictions, errors };
}
