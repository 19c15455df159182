/**
 * How many CPUs this replica may use: the tightest CPU quota of its control groups, or the CPUs of
 * the machine. Starts of agent processes are bound by it, and plans name it beside the memory.
 *
 * @module
 */

import { type CgroupVersion, findHierarchies, type ReadFile, readText } from "./cgroup.ts";
import { LastTexts } from "./last-texts.ts";

export interface CpuLimit {
  /** CPUs, possibly a fraction; above 0. */
  readonly cpus: number;
  /** For people: `cgroup v2 cpu.max of /kubepods/pod1`. */
  readonly source: string;
  readonly kind: CgroupVersion | "machine";
}

export interface CpuLimitOptions {
  /** Directory that stands for `/`; all files are read below it. */
  readonly root?: string;
  /** CPUs of the machine, as `os.availableParallelism` has them; asked again at each reading. */
  readonly cpuCount: number | (() => number);
}

/** For who reads the limit again and again: a file that cannot be read says what it said before. */
export function cpuLimitReader(options: CpuLimitOptions): () => CpuLimit {
  const texts = new LastTexts();
  return () => {
    texts.beginRound();
    return readCpuLimit(options, texts.read);
  };
}

/** Reads the limit; a quota that cannot be read or understood is none. */
export function readCpuLimit(options: CpuLimitOptions, readFile: ReadFile = readText): CpuLimit {
  const { cpuCount } = options;
  let tightest: CpuLimit = {
    cpus: typeof cpuCount === "number" ? cpuCount : cpuCount(),
    source: "CPUs of the machine",
    kind: "machine",
  };
  for (const { version, groups } of findHierarchies(options.root ?? "/", "cpu", readFile)) {
    for (const group of groups) {
      const quotaOf = version === "cgroup2" ? quotaV2 : quotaV1;
      const cpus = quotaOf(group.directory, readFile);
      if (cpus === null || cpus >= tightest.cpus) continue;
      const what = version === "cgroup2" ? "cgroup v2 cpu.max" : "cgroup v1 cpu.cfs_quota_us";
      tightest = { cpus, source: `${what} of ${group.path}`, kind: version };
    }
  }
  return tightest;
}

/** `cpu.max` holds `<quota> <period>` in microseconds, the quota possibly `max`. */
function quotaV2(directory: string, readFile: ReadFile): number | null {
  const file = readFile(directory, "cpu.max");
  if (file.status !== "read") return null;
  const [quota, period] = file.text.trim().split(/\s+/);
  return quotient(quota, period);
}

/** A quota of -1 means none. */
function quotaV1(directory: string, readFile: ReadFile): number | null {
  const quota = readFile(directory, "cpu.cfs_quota_us");
  const period = readFile(directory, "cpu.cfs_period_us");
  if (quota.status !== "read" || period.status !== "read") return null;
  return quotient(quota.text, period.text);
}

function quotient(quota: string | undefined, period: string | undefined): number | null {
  const cpus = Number(quota) / Number(period);
  return Number.isFinite(cpus) && cpus > 0 ? cpus : null;
}
