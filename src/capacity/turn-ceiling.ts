/**
 * The most memory one turn may hold before something of it is ended. Pure.
 *
 * It is no prediction: the gate admits by what turns hold as a rule, the ceiling bounds the one
 * that breaks the rule.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";

export interface CeilingInput {
  /** The memory limit of the replica. */
  readonly limitBytes: number;
  /** Kept free below it, see `load-line.ts`. */
  readonly safetyReserveBytes: number;
  /** What the agent file says (`limits.turnMemory`), if it does. */
  readonly turnMemoryBytes: number | undefined;
}

/** What a Claude Code process without tools needs, and half of that again. */
export const MIN_CEILING_BYTES = 192 * MIB;

/**
 * Room above the ceiling in a control group, where page cache counts too: the text that Claude Code
 * runs, 75 MiB, with some slack. A group that is full up to its text is not out of memory for the
 * kernel: it faults in the same pages for ever, and the turn neither gets on nor ends.
 */
export const TEXT_ROOM_BYTES = 128 * MIB;

/** The limit of a control group in which a turn may hold so much. */
export function groupLimitBytes(ceilingBytes: number): number {
  return ceilingBytes + TEXT_ROOM_BYTES;
}

/** By default half of the load line: no single turn takes the room of all others. */
const DEFAULT_SHARE_RATIO = 0.5;

/** The most private memory of a turn: what would be free if all its processes were gone. */
export function turnCeilingBytes(input: CeilingInput): number {
  const { limitBytes, safetyReserveBytes, turnMemoryBytes } = input;
  const loadLineBytes = Math.max(0, limitBytes - safetyReserveBytes);
  const wantedBytes = turnMemoryBytes ?? Math.floor(loadLineBytes * DEFAULT_SHARE_RATIO);
  return Math.max(MIN_CEILING_BYTES, Math.min(wantedBytes, limitBytes));
}
