/**
 * How much memory is in use that the kernel cannot take back: what counts against the limit. Page
 * cache is left out, since a replica in full health fills its limit with it; a gate that watched
 * `usage / limit` would close for reading a large file.
 *
 * The reading is of the group that sets the limit, so that it and the limit speak of the same
 * memory. It is for `/capacity` and `/metrics`; no admission is decided on it.
 *
 * @module
 */

import { readText } from "./cgroup.ts";
import type { MemoryLimit } from "./memory-limit.ts";

export interface MemoryUse {
  /** Bytes that cannot be reclaimed now. */
  readonly bytes: number;
  /** For people: what was added up. */
  readonly source: string;
}

export interface MemoryUseOptions {
  /** Directory that stands for `/`; all files are read below it. */
  readonly root?: string;
  readonly limit: Pick<MemoryLimit, "kind" | "group">;
}

const KIBIBYTE_BYTES = 1024;

/** Reads the use. Synchronous and bounded: two or three small files, about 0.1 ms. */
export function readMemoryUse(options: MemoryUseOptions): MemoryUse {
  const root = options.root ?? "/";
  const { kind, group } = options.limit;
  return (
    (group?.version === "cgroup2" ? useOfGroup2(group.directory) : null) ??
    (group?.version === "cgroup1" ? useOfGroup1(group.directory) : null) ??
    (kind === "physical" ? useOfMachine(root) : null) ??
    useOfProcess(root)
  );
}

/** v2: `memory.current` less what reclaim can drop. Shared memory is no file page there. */
function useOfGroup2(directory: string): MemoryUse | null {
  const current = readText(directory, "memory.current");
  const stat = readText(directory, "memory.stat");
  if (current.status !== "read" || stat.status !== "read") return null;
  const fields = parseFields(stat.text);
  const reclaimable = sum(fields, ["active_file", "inactive_file", "slab_reclaimable"]);
  const bytes = Number(current.text) - (reclaimable ?? Number.NaN);
  if (!Number.isFinite(bytes)) return null;
  // The two files are read one after the other, so the difference can dip below zero.
  return { bytes: Math.max(0, bytes), source: "cgroup v2, without page cache and slab" };
}

/** v1 counts what we want by itself, the kernel's part in its own file (absent before 4.5). */
function useOfGroup1(directory: string): MemoryUse | null {
  const stat = readText(directory, "memory.stat");
  const kernel = readText(directory, "memory.kmem.usage_in_bytes");
  if (stat.status !== "read") return null;
  const fields = parseFields(stat.text);
  const bytes = sum(fields, ["total_rss", "total_shmem"]);
  if (bytes === null) return null;
  const kernelBytes = kernel.status === "read" ? Number(kernel.text) : 0;
  return { bytes: bytes + (kernelBytes || 0), source: "cgroup v1: rss, shmem and kernel" };
}

function useOfMachine(root: string): MemoryUse | null {
  const file = readText(root, "proc/meminfo");
  if (file.status !== "read") return null;
  const fields = parseFields(file.text);
  const total = sum(fields, ["MemTotal"]);
  const available = sum(fields, ["MemAvailable"]);
  if (total === null || available === null) return null;
  return { bytes: (total - available) * KIBIBYTE_BYTES, source: "machine: total less available" };
}

/** The last resort knows nothing of the agent processes, and says so. */
function useOfProcess(root: string): MemoryUse {
  const file = readText(root, "proc/self/status");
  const kibibytes =
    file.status === "read" ? sum(parseFields(file.text), ["RssAnon", "RssShmem"]) : null;
  if (kibibytes === null) {
    return { bytes: process.memoryUsage.rss(), source: "rss of this process alone" };
  }
  return { bytes: kibibytes * KIBIBYTE_BYTES, source: "this process alone, without file pages" };
}

/** Lines `name value` (cgroup) and `Name:   value kB` (proc). */
function parseFields(text: string): ReadonlyMap<string, number> {
  const fields = new Map<string, number>();
  for (const [, name = "", value] of text.matchAll(/^(\w+):?\s+(\d+)/gm)) {
    fields.set(name, Number(value));
  }
  return fields;
}

/** Null if one is missing: a sum without it would be a wrong figure, not a smaller one. */
function sum(fields: ReadonlyMap<string, number>, names: readonly string[]): number | null {
  let total = 0;
  for (const name of names) {
    const value = fields.get(name);
    if (value === undefined) return null;
    total += value;
  }
  return total;
}
