/**
 * What a turn that has ended teaches about the memory of turns like it. Pure.
 *
 * @module
 */

import type { FootprintSample } from "../capacity/footprint-model.ts";
import type { TurnOutcome } from "./turn.ts";

/** A turn that has ended, with what its processes were measured to hold. */
export interface MeasuredTurn {
  readonly outcome: TurnOutcome;
  /** Peak private memory of its process tree; null where it cannot be read. */
  readonly peakBytes: number | null;
  /** How many of its tools were ended for memory: the peak has what they held. */
  readonly toolsEndedForMemory: number;
  readonly carriedBytes: number;
  readonly predictedBytes: number;
}

/**
 * Null for a turn that teaches nothing: one cut short held less than it would have. But whatever
 * became of it, what it held beyond its prediction it did hold. Only what a tool held that was ended
 * for it will not be held again; how much of the peak that was is not known, since it may have come
 * and gone between two looks.
 */
export function footprintSampleOf(turn: MeasuredTurn, atMs: number): FootprintSample | null {
  const { outcome, peakBytes, carriedBytes, predictedBytes, toolsEndedForMemory } = turn;
  if (peakBytes === null) return null;
  const endedForMemory = outcome.status === "failed" && outcome.code === "turn_out_of_memory";
  if (toolsEndedForMemory > 0) {
    // It was too large all the same, so a turn is predicted more than this one was.
    const leastBytes = Math.min(peakBytes, predictedBytes);
    return endedForMemory ? { carriedBytes, peakBytes: leastBytes, endedForMemory, atMs } : null;
  }
  const isWhole = outcome.status === "completed" || outcome.status === "limit_reached";
  if (!isWhole && !endedForMemory && peakBytes <= predictedBytes) return null;
  return { carriedBytes, peakBytes, endedForMemory, atMs };
}
