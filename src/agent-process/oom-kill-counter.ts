/**
 * How many processes of the server's control group the kernel has killed for memory. It tells a
 * process that ran out of memory from one that someone else killed.
 *
 * @module
 */

import { findHierarchies, readText } from "../capacity/cgroup.ts";

/**
 * Null where there is no such counter: no control group, or one without `oom_kill`.
 *
 * @param root Directory that stands for `/`; all files are read below it.
 */
export function readOomKillCount(root = "/"): number | null {
  for (const { version, groups } of findHierarchies(root, "memory")) {
    const name = version === "cgroup2" ? "memory.events" : "memory.oom_control";
    // The nearest group that counts; of a hybrid system only one hierarchy has any.
    for (const { directory } of groups) {
      const file = readText(directory, name);
      const count = file.status === "read" ? parseOomKillCount(file.text) : null;
      if (count !== null) return count;
    }
  }
  return null;
}

/** Reads the line `oom_kill 3` of `memory.events` (v2) or `memory.oom_control` (v1). */
export function parseOomKillCount(text: string): number | null {
  const count = /^oom_kill (\d+)$/m.exec(text)?.[1];
  return count === undefined ? null : Number(count);
}
