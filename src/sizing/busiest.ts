/**
 * The busiest part of a trace: what a fleet has to be sized for. Pure.
 *
 * @module
 */

import type { TraceTurns } from "./trace.ts";

export interface Busiest {
  /** From the first turn of the trace. */
  readonly fromMs: number;
  readonly turns: number;
  /** The turns that come in an hour at this rate. */
  readonly turnsPerHour: number;
  /** The mean duration of the turns of the whole trace that have one; null where none has. */
  readonly meanMs: number | null;
}

const HOUR_MS = 3_600_000;

/**
 * Where most turns come within a time of that length, or in all of a trace that is shorter. Takes
 * time with the length of the trace.
 */
export function busiestPart({ atMs, durationMs }: TraceTurns, windowMs: number): Busiest {
  const lengthMs = Math.max(1, Math.min(windowMs, atMs.at(-1) ?? 0));
  let [first, turns, fromMs] = [0, 0, 0];
  for (const [index, time] of atMs.entries()) {
    while (time - (atMs[first] ?? time) > lengthMs) first += 1;
    if (index - first + 1 <= turns) continue;
    turns = index - first + 1;
    fromMs = atMs[first] ?? 0;
  }
  const known = durationMs.filter((ms) => !Number.isNaN(ms));
  const meanMs = known.length === 0 ? null : known.reduce((sum, ms) => sum + ms, 0) / known.length;
  return { fromMs, turns, turnsPerHour: (turns * HOUR_MS) / lengthMs, meanMs };
}
