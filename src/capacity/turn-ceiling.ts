/**
 * The most memory one turn may have before the kernel looks for something of it to end. Pure.
 *
 * It is no prediction: the gate admits by what turns hold as a rule, the ceiling bounds the one
 * that breaks the rule. Everything charged to the turn's control group counts, so page cache too;
 * but that is taken back before anything is ended.
 *
 * @module
 */

export interface CeilingInput {
  /** Of the replica. */
  readonly limitBytes: number;
  /** Kept free below it, see `load-line.ts`. */
  readonly safetyReserveBytes: number;
  /** What the agent file says (`limits.turnMemory`), if it does. */
  readonly turnMemoryBytes: number | undefined;
}

/**
 * No ceiling is lower: beside its own 120 MiB a Claude Code process needs room for the text it
 * runs, or it would fault in the same pages for ever and neither get on nor end.
 */
export const MIN_CEILING_BYTES = 192 * 2 ** 20;

/** By default half of the load line: no single turn takes the room of all others. */
const DEFAULT_SHARE_RATIO = 0.5;

export function turnCeilingBytes(input: CeilingInput): number {
  const { limitBytes, safetyReserveBytes, turnMemoryBytes } = input;
  const loadLineBytes = Math.max(0, limitBytes - safetyReserveBytes);
  const wantedBytes = turnMemoryBytes ?? Math.floor(loadLineBytes * DEFAULT_SHARE_RATIO);
  return Math.max(MIN_CEILING_BYTES, Math.min(wantedBytes, limitBytes));
}
