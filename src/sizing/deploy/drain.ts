/**
 * How long a replica may take to stop: the longest turn, and then what it takes to end what is left.
 * Pure.
 *
 * @module
 */

import { formatDuration } from "../../lib/duration.ts";
import type { Premises } from "./premises.ts";

/** The most that `drain.grace` can be. */
const MOST_DRAIN_MS = 3_600_000;
/** Until the load balancer has heard that the replica goes. */
export const SETTLE_MS = 5_000;
/** For the polite steps of ending processes, and the telemetry; see docs/operations.md. */
export const ENDING_MS = 15_000;

export interface Drain {
  readonly graceMs: number;
  readonly why: string;
  /** Whether the longest turn may end. */
  readonly isEnough: boolean;
}

/** @param mostMs What the platform leaves for running turns. */
export function drainOf({ longestTurn }: Premises, mostMs = MOST_DRAIN_MS): Drain {
  const { durationMs, agent } = longestTurn;
  const graceMs = Math.min(durationMs, mostMs, MOST_DRAIN_MS);
  const isEnough = graceMs >= durationMs;
  const longest = `the longest turn: limits.turnTime of ${agent} is ${formatDuration(durationMs)}`;
  const why = isEnough ? longest : `the most there is time for here; less than ${longest}`;
  return { graceMs, why, isEnough };
}

export function wholeSeconds(durationMs: number): number {
  return Math.ceil(durationMs / 1000);
}
