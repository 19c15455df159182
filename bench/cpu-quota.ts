/**
 * A part of a CPU for a server and everything it starts, as a container has it: a control group of
 * its own with a quota. v1 and v2.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "./result.ts";

export interface CpuQuota extends AsyncDisposable {
  /** Begins a command line that is run inside. */
  readonly enter: readonly string[];
}

const PERIOD_US = 100_000;
const REMOVE_LIMIT_MS = 10_000;

const FLAVOURS = [
  {
    root: "/sys/fs/cgroup/cpu",
    limit: (directory: string, quotaUs: number) => {
      writeFileSync(join(directory, "cpu.cfs_period_us"), String(PERIOD_US));
      writeFileSync(join(directory, "cpu.cfs_quota_us"), String(quotaUs));
    },
  },
  {
    root: "/sys/fs/cgroup",
    limit: (directory: string, quotaUs: number) =>
      writeFileSync(join(directory, "cpu.max"), `${quotaUs} ${PERIOD_US}`),
  },
];

/**
 * What is inside has to be gone when it is disposed: end the server first.
 *
 * @throws {Unavailable} Where no group can be made.
 */
export function makeCpuQuota(cpus: number): CpuQuota {
  for (const { root, limit } of FLAVOURS) {
    const directory = join(root, `plimsoll-bench-${randomUUID()}`);
    try {
      mkdirSync(directory);
      limit(directory, Math.round(cpus * PERIOD_US));
    } catch {
      remove(directory);
      continue;
    }
    const join_ = `echo $$ >${join(directory, "cgroup.procs")} && exec "$@"`;
    return {
      enter: ["/bin/sh", "-c", join_, "sh"],
      async [Symbol.asyncDispose]() {
        const endAtMs = performance.now() + REMOVE_LIMIT_MS;
        while (!remove(directory) && performance.now() < endAtMs) await delay(20);
      },
    };
  }
  throw new Unavailable(
    "this benchmark needs a CPU control group of its own, and none can be made here: run it as " +
      "root on Linux, or in a container whose /sys/fs/cgroup can be written",
  );
}

/** Whether it is gone. */
function remove(directory: string): boolean {
  try {
    if (readFileSync(join(directory, "cgroup.procs"), "utf8") !== "") return false;
    rmdirSync(directory);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}
