/**
 * What a control group holds that the kernel cannot take back, also at moments when the kernel's
 * own sum lags behind.
 *
 * `memory.stat` is added up when it is read, but only if the kernel believes that enough has
 * changed. A group below that has just been found changed does not tell its ancestors again
 * (`memcg_rstat_updated` in mm/memcontrol.c), and by a race an ancestor can miss the change until
 * everything is added up, every two seconds. Measured on Linux 6.18: of 395 readings of a parent
 * 116 were off, by up to 88 MiB; of the group that the process itself is in, none. So the sum is
 * held against the counter of charges, which is exact, and where they differ, the groups below are
 * asked one by one. A full group is always asked so: there, cache turns into other memory without
 * a change of the counter.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import { groupNamesIn, readText, someBelow } from "./cgroup.ts";
import { KernelShare } from "./kernel-share.ts";
import type { BindingGroup } from "./memory-limit.ts";
import { statField, sumOf } from "./stat-field.ts";

/** A larger difference is a sum that lags: the kernel charges 64 pages ahead for each processor. */
const LAG_BYTES = 8 * MIB;
const FULL_BYTES = 64 * MIB;

/** One group with all below it. */
interface Account {
  /** What cannot be taken back. */
  readonly usedBytes: number;
  /** What is charged by the counter, cache included. */
  readonly chargedBytes: number;
  /** What is charged by `memory.stat`; null where that does not tell all parts. */
  readonly summedBytes: number | null;
}

export class GroupMeter {
  readonly #group: BindingGroup;
  readonly #kernel: KernelShare;

  constructor(group: BindingGroup) {
    this.#group = group;
    this.#kernel = new KernelShare(group.directory);
  }

  /**
   * What the group holds that cannot be taken back; null where the files are missing or say nothing.
   * @param limitBytes Where the group counts as full.
   */
  usedBytes(limitBytes: number): number | null {
    return this.#group.version === "cgroup2"
      ? this.#usedBytesV2(limitBytes)
      : this.#usedBytesV1(limitBytes);
  }

  /** The charge less what reclaim can drop. Shared memory is no file page in v2. */
  #usedBytesV2(limitBytes: number): number | null {
    const account = accountOfV2(this.#group.directory);
    if (account === null || !mayLag(account, limitBytes)) return account?.usedBytes ?? null;
    let below = 0;
    for (const directory of someBelow(this.#group.directory)) {
      // In v2 processes are in groups that have none below them.
      if (groupNamesIn(directory).length === 0) below += accountOfV2(directory)?.usedBytes ?? 0;
    }
    return Math.max(account.usedBytes, below);
  }

  /** What v1 counts by itself, with the kernel's part, which has its own file (absent before 4.5). */
  #usedBytesV1(limitBytes: number): number | null {
    const stat = readText(this.#group.directory, "memory.stat");
    if (stat.status !== "read") return null;
    const processBytes = processBytesOfV1(stat.text, "total_");
    if (processBytes === null) return null;
    const keptBytes = numberIn(this.#group.directory, "memory.kmem.usage_in_bytes");
    const mappedBytes = processBytes + (statField(stat.text, "total_mapped_file") ?? 0);
    const kernelBytes = this.#kernel.bytes(keptBytes, mappedBytes);
    const account = {
      usedBytes: processBytes + kernelBytes,
      chargedBytes: numberIn(this.#group.directory, "memory.usage_in_bytes"),
      summedBytes: sumOf(stat.text, ["total_rss", "total_cache"], keptBytes),
    };
    if (!mayLag(account, limitBytes)) return account.usedBytes;
    let each = processBytesOfV1(stat.text, "") ?? 0;
    for (const directory of someBelow(this.#group.directory)) {
      const below = readText(directory, "memory.stat");
      if (below.status === "read") each += processBytesOfV1(below.text, "") ?? 0;
    }
    return Math.max(processBytes, each) + kernelBytes;
  }
}

function mayLag({ chargedBytes, summedBytes }: Account, limitBytes: number): boolean {
  if (chargedBytes > limitBytes - FULL_BYTES) return true;
  return summedBytes !== null && Math.abs(chargedBytes - summedBytes) > LAG_BYTES;
}

function accountOfV2(directory: string): Account | null {
  const current = readText(directory, "memory.current");
  const stat = readText(directory, "memory.stat");
  if (current.status !== "read" || stat.status !== "read") return null;
  const chargedBytes = Number(current.text);
  const reclaimable = sumOf(stat.text, ["active_file", "inactive_file", "slab_reclaimable"]);
  const swapBytes = numberIn(directory, "memory.swap.current");
  const bytes = chargedBytes - (reclaimable ?? Number.NaN) + swapBytes;
  if (!Number.isFinite(bytes)) return null;
  return {
    // The files are read one after the other, so the difference can dip below zero.
    usedBytes: Math.max(0, bytes),
    chargedBytes,
    // `kernel` since Linux 5.18, before there was anything to lag.
    summedBytes: sumOf(stat.text, ["anon", "file", "kernel"], statField(stat.text, "sock") ?? 0),
  };
}

/** @param prefix `total_` for the group with all below it, nothing for what is in it alone. */
function processBytesOfV1(text: string, prefix: string): number | null {
  const swapBytes = statField(text, `${prefix}swap`) ?? 0; // Absent where it is not counted.
  return sumOf(text, [`${prefix}rss`, `${prefix}shmem`], swapBytes);
}

/** 0 where there is no such file, as without swap. */
function numberIn(directory: string, name: string): number {
  const file = readText(directory, name);
  return file.status === "read" ? Number(file.text) || 0 : 0;
}
