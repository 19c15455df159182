/**
 * How much time of a core a process has used, and those it has waited for. The kernel adds what a
 * child has used to its parent's account when the parent collects it, with all that the child has
 * collected in turn: so what a server's turns have cost is exact once they have ended, however short
 * they were and whoever looked. What a child leaves behind for init to collect is not in it.
 *
 * @module
 */

import { readProcessStat } from "./proc.ts";

export interface CpuTime {
  /** Used by the process itself, all its threads. */
  readonly ownMs: number;
  /** Used by its children that have ended, with theirs. */
  readonly endedMs: number;
}

/** Null when the process is gone or a zombie, or where there is no `/proc`. */
export function readCpuTime(pid: number): CpuTime | null {
  const stat = readProcessStat(pid);
  return stat === null ? null : { ownMs: stat.cpuMs, endedMs: stat.childCpuMs };
}
