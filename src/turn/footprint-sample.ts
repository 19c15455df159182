/**
 * What a turn that has ended teaches about the memory of turns like it. Pure.
 *
 * @module
 */

import type { FootprintSample } from "../capacity/footprint-model.ts";
import type { TurnOutcome } from "./turn.ts";

export interface EndedTurn {
  readonly outcome: TurnOutcome;
  /** Peak private memory of its process tree; null where it cannot be read. */
  readonly peakBytes: number | null;
  readonly carriedBytes: number;
  readonly predictedBytes: number;
}

/**
 * Null for a turn that teaches nothing: one cut short held less than it would have. But whatever
 * became of it, what it held beyond its prediction it did hold.
 */
export function footprintSampleOf(turn: EndedTurn, atMs: number): FootprintSample | null {
  const { outcome, peakBytes, carriedBytes, predictedBytes } = turn;
  if (peakBytes === null) return null;
  const endedForMemory = outcome.status === "failed" && outcome.code === "turn_out_of_memory";
  const isWhole = outcome.status === "completed" || outcome.status === "limit_reached";
  if (!isWhole && !endedForMemory && peakBytes <= predictedBytes) return null;
  return { carriedBytes, peakBytes, endedForMemory, atMs };
}
