/**
 * How much of the kernel's memory in a group of cgroup v1 cannot be reclaimed. v1 counts stacks and
 * page tables together with names, inodes and the index of cached files, which go when room is
 * wanted: a server that writes files would seem to grow for ever. So the part that processes can
 * keep is reckoned from how many there are.
 *
 * Measured on Linux 6.18: an agent process of 9 threads and 88 MiB keeps 1.0 MiB, `sleep` 57 to
 * 92 KiB, one more thread 27 KiB; 5,000 new files leave 7 MiB that can be reclaimed.
 *
 * @module
 */

import { KIB, MIB } from "../lib/byte-units.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { readText, someBelow } from "./cgroup.ts";

/** What a process keeps, with room for open files, pipes and sockets. */
const BYTES_PER_PROCESS = 128 * KIB;
const BYTES_PER_THREAD = 32 * KIB;
/** Page tables by what is mapped: a full one is 1/512 of it, and sparse ones are larger. */
const PAGE_TABLE_RATIO = 1 / 128;
/** The tasks are counted again when the kernel's part has changed by this, or after this time. */
const CHANGE_BYTES = 2 * MIB;
const COUNT_MAX_AGE_MS = 1000;

export class KernelShare {
  readonly #directory: string;
  #countedAtMs = -Infinity;
  #countedBytes = 0;
  #reclaimableBytes = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * The part that cannot be reclaimed. Between two counts all growth counts as kept.
   * @param kernelBytes The whole of the kernel's part, by its own counter.
   * @param mappedBytes What the processes of the group have mapped.
   */
  bytes(kernelBytes: number, mappedBytes: number): number {
    const nowMs = monotonicMs();
    const isOld = nowMs - this.#countedAtMs >= COUNT_MAX_AGE_MS;
    if (isOld || Math.abs(kernelBytes - this.#countedBytes) >= CHANGE_BYTES) {
      this.#countedAtMs = nowMs;
      this.#countedBytes = kernelBytes;
      const keptBytes = keptByTasks(this.#directory) + mappedBytes * PAGE_TABLE_RATIO;
      this.#reclaimableBytes = Math.max(0, kernelBytes - keptBytes);
    }
    return Math.max(0, kernelBytes - this.#reclaimableBytes);
  }
}

/** Infinity where nobody tells of tasks: then all of the kernel's part counts. */
function keptByTasks(directory: string): number {
  let processes = 0;
  let threads = 0;
  for (const group of [directory, ...someBelow(directory)]) {
    processes += linesIn(group, "cgroup.procs");
    threads += linesIn(group, "tasks");
  }
  if (processes === 0) return Infinity;
  return processes * BYTES_PER_PROCESS + threads * BYTES_PER_THREAD;
}

function linesIn(directory: string, name: string): number {
  const file = readText(directory, name);
  return file.status === "read" ? file.text.split("\n").length - 1 : 0;
}
