/**
 * How many processes of the server's control group the kernel has killed for memory. It tells a
 * process that ran out of memory from one that someone else killed.
 *
 * @module
 */

import { readSmallFile } from "./proc.ts";

/** Null where there is no such counter: no control group, or one without `oom_kill`. */
export function readOomKillCount(): number | null {
  for (const path of counterPaths(readSmallFile("/proc/self/cgroup") ?? "")) {
    const count = parseOomKillCount(readSmallFile(path) ?? "");
    if (count !== null) return count;
  }
  return null;
}

/**
 * Where the counter may be, given the text of `/proc/self/cgroup`. In a container the path may be
 * the host's while the container's own group is mounted at the root, so both are tried. A v1
 * hierarchy with the memory controller has the figures, even where v2 is mounted beside it.
 */
export function counterPaths(membership: string): readonly string[] {
  const lines = membership.split("\n").map((line) => line.split(":"));
  const v1 = lines.find(([, controllers]) => controllers?.split(",").includes("memory"));
  const v2 = lines.find(([id, controllers]) => id === "0" && controllers === "");
  const [root, group, file] =
    v1 === undefined
      ? ["/sys/fs/cgroup", v2?.[2], "memory.events"]
      : ["/sys/fs/cgroup/memory", v1[2], "memory.oom_control"];
  if (group === undefined) return [];
  return [`${root}${group === "/" ? "" : group}/${file}`, `${root}/${file}`];
}

/** Reads the line `oom_kill 3` of `memory.events` (v2) or `memory.oom_control` (v1). */
export function parseOomKillCount(text: string): number | null {
  const count = /^oom_kill (\d+)$/m.exec(text)?.[1];
  return count === undefined ? null : Number(count);
}
