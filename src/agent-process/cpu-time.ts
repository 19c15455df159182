/**
 * How much time of a core a process has used, and those it has waited for. The kernel adds what a
 * child has used to its parent's account when the parent collects it, with all that the child has
 * collected in turn: so what a server's turns have cost is exact once they have ended, however short
 * they were and whoever looked. What a child leaves behind for init to collect is not in it.
 *
 * @module
 */

import { readSmallFile } from "./proc.ts";

export interface CpuTime {
  /** Of the process itself, all its threads. */
  readonly ownMs: number;
  /** Of its children that have ended, with theirs. */
  readonly endedMs: number;
}

/** `USER_HZ` is 100 on every Linux that Node runs on. */
const TICK_MS = 10;
/** The fields of `/proc/<pid>/stat` behind the name in parentheses begin with the third, proc(5). */
const FIRST_FIELD = 3;
const [USER_FIELD, SYSTEM_FIELD, ENDED_USER_FIELD, ENDED_SYSTEM_FIELD] = [14, 15, 16, 17];

/** Null when the process is gone, or where there is no `/proc`. */
export function readCpuTime(pid: number): CpuTime | null {
  const stat = readSmallFile(`/proc/${pid}/stat`);
  if (stat === null) return null;
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ms = (field: number) => Number(fields[field - FIRST_FIELD]) * TICK_MS;
  const ownMs = ms(USER_FIELD) + ms(SYSTEM_FIELD);
  const endedMs = ms(ENDED_USER_FIELD) + ms(ENDED_SYSTEM_FIELD);
  return Number.isFinite(ownMs + endedMs) ? { ownMs, endedMs } : null;
}
