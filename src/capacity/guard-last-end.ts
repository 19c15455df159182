/**
 * What became of the last one that the memory guard has ended: whether that made room, and whether
 * it is time for the next. Pure; what is done about it is `guard.ts`.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import { type EndingOne, type GuardedTree, heldBy, isThere } from "./guard-trees.ts";

export interface LastEnd extends EndingOne {
  readonly atMs: number;
  readonly bytes: number;
  /** What none of our processes held at the time. */
  readonly othersBytes: number;
  /** What was free after the pause; null during the pause. */
  readonly slackBytes: number | null;
  /** Whether it is known if it helped. */
  readonly isJudged: boolean;
}

export interface Ends {
  /** Null before there was any. */
  readonly lastEnd: LastEnd | null;
  /** When ending somebody was of no use, as far as that is remembered. */
  readonly inVainAtMs: readonly number[];
}

/** What there is now. All times are of one clock. */
export interface Moment {
  readonly clockMs: number;
  /** Null if it is not known. */
  readonly usedBytes: number | null;
  readonly slackBytes: number | null;
  readonly trees: readonly GuardedTree[];
}

/** At most one is ended in this time. */
export const END_PAUSE_MS = 60;
/** A process that is not gone by then hangs in the kernel, and is waited for no longer. */
export const PATIENCE_MS = 1000;
/** Smaller changes are those of other turns. */
const STILL_FALLING_BYTES = 16 * MIB;
const IN_VAIN_MEMORY_MS = 600_000;

/**
 * Whether the last one that was ended made room, as soon as that can be told.
 * @param isShort Memory is short still: else there is nothing to judge.
 */
export function judgeLastEnd({ lastEnd, inVainAtMs }: Ends, now: Moment, isShort: boolean): Ends {
  const { clockMs, slackBytes, trees } = now;
  const remembered = inVainAtMs.filter((atMs) => clockMs - atMs < IN_VAIN_MEMORY_MS);
  if (lastEnd === null || clockMs - lastEnd.atMs < END_PAUSE_MS) {
    return { lastEnd, inVainAtMs: remembered };
  }
  if (lastEnd.isJudged && lastEnd.slackBytes !== null) return { lastEnd, inVainAtMs: remembered };
  const isGone = !isThere(lastEnd, trees);
  const isTold = isGone || clockMs - lastEnd.atMs >= PATIENCE_MS;
  const judged = {
    ...lastEnd,
    slackBytes: lastEnd.slackBytes ?? slackBytes,
    isJudged: lastEnd.isJudged || isTold,
  };
  if (lastEnd.isJudged || !isTold || !isShort) return { lastEnd: judged, inVainAtMs: remembered };
  // If what it held is in use still, and by none of ours, others have taken it.
  const othersTook = othersBytes(now) - lastEnd.othersBytes >= lastEnd.bytes / 2;
  const isInVain = !isGone || othersTook;
  return { lastEnd: judged, inVainAtMs: isInVain ? [...remembered, clockMs] : remembered };
}

/** Whether the next one may be ended: not while the last one may still make room. */
export function isTimeForNext(
  lastEnd: LastEnd | null,
  { clockMs, slackBytes, trees }: Moment,
): boolean {
  if (lastEnd === null || !isThere(lastEnd, trees)) return true;
  if (clockMs - lastEnd.atMs >= PATIENCE_MS) return true;
  if (lastEnd.slackBytes === null || slackBytes === null) return false;
  return lastEnd.slackBytes - slackBytes >= STILL_FALLING_BYTES;
}

/** What is used by none of our processes. */
export function othersBytes({ usedBytes, trees }: Pick<Moment, "usedBytes" | "trees">): number {
  return (usedBytes ?? 0) - heldBy(trees);
}
