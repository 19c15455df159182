/**
 * How much memory is in use that the kernel cannot take back: what counts against the limit. Page
 * cache is left out, since a replica in full health fills its limit with it; a gate that watched
 * `usage / limit` would close for reading a large file.
 *
 * The reading is of the group that sets the limit, so that it and the limit speak of the same
 * memory. Swap is no room: what a group has in swap counts as if it were in memory, because
 * touching it brings it back. Only of a whole machine it is left out, where it is mostly what
 * others have not touched for days.
 *
 * @module
 */

import { type FileText, readText } from "./cgroup.ts";
import type { MemoryLimit } from "./memory-limit.ts";
import { statField } from "./stat-field.ts";

export interface MemoryUse {
  /** Bytes that cannot be reclaimed now. */
  readonly bytes: number;
  /** Whose use it is: of the server and all it has started, or of the server alone. */
  readonly covers: "group" | "machine" | "process";
  /** For people: what was added up. */
  readonly source: string;
}

export interface MemoryUseOptions {
  /** Directory that stands for `/`; all files are read below it. */
  readonly root?: string;
  readonly limit: Pick<MemoryLimit, "kind" | "group">;
}

const KIBIBYTE_BYTES = 1024;

/** Reads the use. Synchronous and bounded: two to four small files, 50 µs in v1. */
export function readMemoryUse(options: MemoryUseOptions): MemoryUse {
  const root = options.root ?? "/";
  const { kind, group } = options.limit;
  return (
    (group?.version === "cgroup2" ? useOfGroup2(group.directory) : null) ??
    (group?.version === "cgroup1" ? useOfGroup1(group.directory, root) : null) ??
    (kind === "physical" ? useOfMachine(root) : null) ??
    useOfProcess(root)
  );
}

/** v2: `memory.current` less what reclaim can drop. Shared memory is no file page there. */
function useOfGroup2(directory: string): MemoryUse | null {
  const current = readText(directory, "memory.current");
  const stat = readText(directory, "memory.stat");
  if (current.status !== "read" || stat.status !== "read") return null;
  const reclaimable = sum(stat.text, ["active_file", "inactive_file", "slab_reclaimable"]);
  const swap = readText(directory, "memory.swap.current");
  const bytes = Number(current.text) - (reclaimable ?? Number.NaN) + numberIn(swap);
  if (!Number.isFinite(bytes)) return null;
  // The two files are read one after the other, so the difference can dip below zero.
  const source = "cgroup v2, without page cache and slab, with swap";
  return { bytes: Math.max(0, bytes), covers: "group", source };
}

/** v1 counts what we want by itself, the kernel's part in its own file (absent before 4.5). */
function useOfGroup1(directory: string, root: string): MemoryUse | null {
  const stat = readText(directory, "memory.stat");
  const kernel = readText(directory, "memory.kmem.usage_in_bytes");
  if (stat.status !== "read") return null;
  const bytes = sum(stat.text, ["total_rss", "total_shmem"]);
  if (bytes === null) return null;
  const swapBytes = statField(stat.text, "total_swap") ?? 0; // Absent where the kernel does not count it.
  const mappedBytes = bytes + (statField(stat.text, "total_mapped_file") ?? 0);
  const kernelBytes = Math.min(numberIn(kernel), mostOfProcesses(mappedBytes, root));
  const source = "cgroup v1: rss, shmem, swap and kernel";
  return { bytes: bytes + swapBytes + kernelBytes, covers: "group", source };
}

/**
 * The most of the kernel's memory that processes can keep from being reclaimed: their stacks and
 * page tables. The rest is names, inodes and the index of cached files, which goes when room is
 * wanted; but v1 does not tell the two apart, and a server that writes files would seem to grow
 * for ever. Measured on Linux 6.18: an agent process of 9 threads and 88 MiB keeps 1.0 MiB, and
 * `sleep` 57 KiB; 5,000 new files leave 7 MiB that can be reclaimed.
 *
 * How many tasks the group has is not told in one file, so those of the machine stand for them.
 */
function mostOfProcesses(mappedBytes: number, root: string): number {
  const file = readText(root, "proc/loadavg");
  const tasks = file.status === "read" ? Number(/\/(\d+) /.exec(file.text)?.[1]) : Number.NaN;
  if (!(tasks > 0)) return Infinity;
  return tasks * KERNEL_BYTES_PER_TASK + mappedBytes * PAGE_TABLE_RATIO;
}

const KERNEL_BYTES_PER_TASK = 64 * KIBIBYTE_BYTES;
/** Of what is mapped; a full table is 1/512 of it, and sparse ones are larger. */
const PAGE_TABLE_RATIO = 1 / 128;

function useOfMachine(root: string): MemoryUse | null {
  const file = readText(root, "proc/meminfo");
  if (file.status !== "read") return null;
  const total = statField(file.text, "MemTotal");
  const available = statField(file.text, "MemAvailable");
  if (total === null || available === null) return null;
  const bytes = (total - available) * KIBIBYTE_BYTES;
  return { bytes, covers: "machine", source: "machine: total less available" };
}

/** The last resort knows nothing of the agent processes, and says so. */
function useOfProcess(root: string): MemoryUse {
  const file = readText(root, "proc/self/status");
  const kibibytes = file.status === "read" ? sum(file.text, ["RssAnon", "RssShmem"]) : null;
  if (kibibytes === null) {
    const bytes = process.memoryUsage.rss();
    return { bytes, covers: "process", source: "rss of this process alone" };
  }
  const source = "this process alone, without file pages";
  return { bytes: kibibytes * KIBIBYTE_BYTES, covers: "process", source };
}

/** 0 where there is no such file, as without swap. */
function numberIn(file: FileText): number {
  return file.status === "read" ? Number(file.text) || 0 : 0;
}

/** Null if one is missing: a sum without it would be a wrong figure, not a smaller one. */
function sum(text: string, names: readonly string[]): number | null {
  let total = 0;
  for (const name of names) {
    const value = statField(text, name);
    if (value === null) return null;
    total += value;
  }
  return total;
}
