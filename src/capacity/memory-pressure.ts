/**
 * What the kernel tells of memory that is short, beside bytes: file pages read again soon after
 * they were dropped, faults that had to wait for the disk, time in which nothing got on. Bytes show
 * the way to the OOM kill; these show the other death, in which the text that all agent processes
 * share is dropped and read again for ever, and nothing is killed.
 *
 * As in `memory-reading.ts` it is the group that sets the limit that is asked, and the machine
 * where no group does. What is not told is null: sandboxes (gVisor) and cgroup v1 have less, macOS
 * has nothing.
 *
 * @module
 */

import { join } from "node:path";
import { KIB } from "../lib/byte-units.ts";
import { readText } from "./cgroup.ts";
import type { MemoryLimit } from "./memory-limit.ts";
import { statField } from "./stat-field.ts";

/** A figure, and where it is from or what is missing; for people. */
export interface Reading<Value = number> {
  readonly value: Value | null;
  readonly source: string;
}

/** Running totals, of which only the growth says something; but for the last. */
export interface MemoryPressure {
  /** File pages read again soon after they were dropped; of 4 KiB mostly. */
  readonly refaultedPages: Reading;
  /**
   * Faults on mapped pages that waited for the disk. It tells text that is read again from a large
   * file that is: `cat` of 1 GB in a group of 300 MiB made 256,000 refaults a second and no such
   * fault, mapped text in too little room 85,000 to 170,000 with 70 to 190.
   */
  readonly majorFaults: Reading;
  /**
   * Milliseconds in which all processes of the group waited for memory (PSI "full"). v1 tells it of
   * the machine only, which says nothing of a group.
   */
  readonly stallMs: Reading;
  /** File pages that are mapped: text and data of what runs. Not a total. */
  readonly mappedFileBytes: Reading;
}

/** How often memory was short, as the kernel counts it. */
export interface MemoryEvents {
  /** Times that processes were slowed down at `memory.high`; null in v1. */
  readonly high: number | null;
  /** Times that the limit was reached. */
  readonly max: number | null;
  /** Times that reclaim failed there; null in v1. */
  readonly oom: number | null;
  readonly oomKill: number | null;
}

/** What changes slowly, or is looked at only by people. */
export interface MemoryAccount {
  readonly swapBytes: Reading;
  /** The most ever charged, page cache included. */
  readonly peakBytes: Reading;
  /** File pages that are mapped: text and data of what runs. */
  readonly mappedFileBytes: Reading;
  readonly events: Reading<MemoryEvents>;
}

export interface PressureOptions {
  /** Directory that stands for `/`; all files are read below it. */
  readonly root?: string;
  readonly limit: Pick<MemoryLimit, "kind" | "group">;
}

/** Reads what the guard looks at in every round: one file in v1 (25 µs), two in v2. */
export function readMemoryPressure({ root = "/", limit }: PressureOptions): MemoryPressure {
  const { group, kind } = limit;
  if (group === null) {
    const vmstat = openStat(join(root, "proc"), "vmstat", "machine");
    return {
      refaultedPages: vmstat.first(["workingset_refault_file", "workingset_refault"]),
      majorFaults: vmstat.first(["pgmajfault"]),
      stallMs:
        kind === "physical"
          ? stallOf(join(root, "proc/pressure"), "memory", "machine")
          : absent("the limit is a setting, and nobody waits at it"),
      mappedFileBytes: absent("the machine does not tell it of ours alone"),
    };
  }
  if (group.version === "cgroup1") {
    const stat = openStat(group.directory, "memory.stat", "cgroup v1");
    return {
      refaultedPages: stat.first(["total_workingset_refault_file", "total_workingset_refault"]),
      majorFaults: stat.first(["total_pgmajfault"]),
      stallMs: absent("cgroup v1 does not tell it of a group"),
      mappedFileBytes: stat.first(["total_mapped_file"]),
    };
  }
  const stat = openStat(group.directory, "memory.stat", "cgroup v2");
  return {
    // Without the suffix before Linux 5.9.
    refaultedPages: stat.first(["workingset_refault_file", "workingset_refault"]),
    majorFaults: stat.first(["pgmajfault"]),
    stallMs: stallOf(group.directory, "memory.pressure", "cgroup v2"),
    mappedFileBytes: stat.first(["file_mapped"]),
  };
}

/** Reads what is asked for now and then: up to four files, 60 µs in v1. */
export function readMemoryAccount({ root = "/", limit }: PressureOptions): MemoryAccount {
  const { group } = limit;
  if (group === null) return accountOfMachine(join(root, "proc"));
  return group.version === "cgroup2"
    ? accountOfGroupV2(group.directory)
    : accountOfGroupV1(group.directory);
}

function accountOfGroupV2(directory: string): MemoryAccount {
  const stat = openStat(directory, "memory.stat", "cgroup v2");
  const events = openStat(directory, "memory.events", "cgroup v2");
  return {
    swapBytes: numberOf(directory, "memory.swap.current", "cgroup v2"),
    peakBytes: numberOf(directory, "memory.peak", "cgroup v2"), // Since Linux 5.19.
    mappedFileBytes: stat.first(["file_mapped"]),
    events: {
      value: events.isRead
        ? {
            high: events.first(["high"]).value,
            max: events.first(["max"]).value,
            oom: events.first(["oom"]).value,
            oomKill: events.first(["oom_kill"]).value,
          }
        : null,
      source: `cgroup v2: memory.events${events.isRead ? "" : " is missing"}`,
    },
  };
}

function accountOfGroupV1(directory: string): MemoryAccount {
  const stat = openStat(directory, "memory.stat", "cgroup v1");
  const kills = openStat(directory, "memory.oom_control", "cgroup v1").first(["oom_kill"]);
  const failures = numberOf(directory, "memory.failcnt", "cgroup v1");
  const isTold = kills.value !== null || failures.value !== null;
  return {
    swapBytes: stat.first(["total_swap"]),
    peakBytes: numberOf(directory, "memory.max_usage_in_bytes", "cgroup v1"),
    mappedFileBytes: stat.first(["total_mapped_file"]),
    events: {
      value: isTold ? { high: null, max: failures.value, oom: null, oomKill: kills.value } : null,
      source: "cgroup v1: memory.failcnt and oom_kill",
    },
  };
}

function accountOfMachine(proc: string): MemoryAccount {
  const meminfo = openStat(proc, "meminfo", "machine");
  const swapTotal = meminfo.first(["SwapTotal"]).value;
  const swapFree = meminfo.first(["SwapFree"]).value;
  const mapped = meminfo.first(["Mapped"]);
  const kills = openStat(proc, "vmstat", "machine").first(["oom_kill"]);
  const isTold = swapTotal !== null && swapFree !== null;
  return {
    swapBytes: {
      value: isTold ? (swapTotal - swapFree) * KIB : null,
      source: "machine: SwapTotal less SwapFree of meminfo",
    },
    peakBytes: absent("nobody keeps the peak of a machine"),
    mappedFileBytes: {
      value: mapped.value === null ? null : mapped.value * KIB,
      source: mapped.source,
    },
    events: {
      value: kills.value === null ? null : { ...NO_EVENTS, oomKill: kills.value },
      source: kills.source,
    },
  };
}

const NO_EVENTS = { high: null, max: null, oom: null } as const;

/** A file of lines `name value`; each of its figures says where it is from. */
function openStat(directory: string, name: string, whose: string) {
  const file = readText(directory, name);
  const text = file.status === "read" ? file.text : null;
  return {
    isRead: text !== null,
    /** The first of these names that the file has. */
    first(names: readonly string[]): Reading {
      if (text === null) return absent(`${whose}: ${name} is ${file.status}`);
      for (const field of names) {
        const value = statField(text, field);
        if (value !== null) return { value, source: `${whose}: ${field} of ${name}` };
      }
      return absent(`${whose}: ${name} has no ${names.join(" or ")}`);
    },
  };
}

/** The `total` of the line `full`, which is in microseconds. */
function stallOf(directory: string, name: string, whose: string): Reading {
  const file = readText(directory, name);
  if (file.status !== "read") return absent(`${whose}: ${name} is ${file.status}`);
  const total = /^full .*\btotal=(\d+)/m.exec(file.text)?.[1];
  if (total === undefined) return absent(`${whose}: ${name} has no total of "full"`);
  return { value: Number(total) / 1000, source: `${whose}: "full" of ${name}` };
}

function numberOf(directory: string, name: string, whose: string): Reading {
  const file = readText(directory, name);
  if (file.status !== "read") return absent(`${whose}: ${name} is ${file.status}`);
  const text = file.text.trim();
  if (!/^\d+$/.test(text)) return absent(`${whose}: ${name} is not understood`);
  return { value: Number(text), source: `${whose}: ${name}` };
}

function absent(source: string): { readonly value: null; readonly source: string } {
  return { value: null, source };
}
