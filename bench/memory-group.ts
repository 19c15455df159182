/**
 * A control group of its own, with a memory limit, for a server and everything it starts: the
 * memory of a container, made by the kernel as for a container. v1 and v2.
 *
 * What measures stays outside of it, so that neither the load generator nor the model counts.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "./result.ts";

export interface GroupReading {
  /** On the clock of `performance.now()`. */
  readonly atMs: number;
  /** All that is charged to the group, page cache included: what platforms draw. */
  readonly usageBytes: number;
  /** What the kernel cannot take back. */
  readonly heldBytes: number;
  /** Pages of files that processes have mapped: the text of the programs. */
  readonly mappedFileBytes: number;
  /** Pages of files read again because they had been dropped too early, so far. */
  readonly refaults: number;
  readonly processes: number;
}

/** A process that the kernel ended because the group was full. */
export interface OomKill {
  /** On the clock of `performance.now()`. */
  readonly atMs: number;
  readonly pid: number;
  readonly program: string;
  readonly privateBytes: number;
}

export interface MemoryGroup extends AsyncDisposable {
  readonly limitBytes: number;
  /** For people: `cgroup v1`. */
  readonly kind: string;
  /** Begins a command line that is run inside. */
  readonly enter: readonly string[];
  read(): GroupReading;
  /** Pids inside, those of child groups included. */
  pids(): readonly number[];
  /** Every reading since the group was made. */
  readonly readings: readonly GroupReading[];
  readonly oomKills: readonly OomKill[];
}

const READ_EVERY_MS = 100;
const REMOVE_LIMIT_MS = 10_000;

interface Flavour {
  readonly kind: string;
  readonly root: string;
  readonly limitFile: string;
  readonly usageFile: string;
  heldBytes(directory: string, usageBytes: number, stat: ReadonlyMap<string, number>): number;
  mappedFileBytes(stat: ReadonlyMap<string, number>): number;
  refaults(stat: ReadonlyMap<string, number>): number;
}

const FLAVOURS: readonly Flavour[] = [
  {
    kind: "cgroup v1",
    root: "/sys/fs/cgroup/memory",
    limitFile: "memory.limit_in_bytes",
    usageFile: "memory.usage_in_bytes",
    heldBytes: (directory, _usage, stat) =>
      field(stat, "total_rss") +
      field(stat, "total_shmem") +
      numberIn(directory, "memory.kmem.usage_in_bytes"),
    mappedFileBytes: (stat) => field(stat, "total_mapped_file"),
    refaults: (stat) => field(stat, "total_workingset_refault_file"),
  },
  {
    kind: "cgroup v2",
    root: "/sys/fs/cgroup",
    limitFile: "memory.max",
    usageFile: "memory.current",
    heldBytes: (_directory, usageBytes, stat) =>
      usageBytes -
      field(stat, "active_file") -
      field(stat, "inactive_file") -
      field(stat, "slab_reclaimable"),
    mappedFileBytes: (stat) => field(stat, "file_mapped"),
    refaults: (stat) => field(stat, "workingset_refault_file"),
  },
];

/**
 * Makes the group and begins to read it.
 *
 * @throws {Unavailable} Where no group can be made.
 */
export function makeMemoryGroup(limitBytes: number): MemoryGroup {
  const name = `plimsoll-bench-${randomUUID()}`;
  for (const flavour of FLAVOURS) {
    const directory = join(flavour.root, name);
    try {
      mkdirSync(directory);
      writeFileSync(join(directory, flavour.limitFile), String(limitBytes));
      return new WatchedGroup(flavour, directory, limitBytes);
    } catch {
      removeGroups(directory);
    }
  }
  throw new Unavailable(
    "this benchmark needs a memory control group of its own, and none can be made here: run it as " +
      "root on Linux, or in a container whose /sys/fs/cgroup can be written",
  );
}

class WatchedGroup implements MemoryGroup {
  readonly limitBytes: number;
  readonly kind: string;
  readonly enter: readonly string[];
  readonly readings: GroupReading[] = [];
  readonly #flavour: Flavour;
  readonly #directory: string;
  readonly #kills: KillLog;
  readonly #timer: NodeJS.Timeout;

  constructor(flavour: Flavour, directory: string, limitBytes: number) {
    this.kind = flavour.kind;
    this.limitBytes = limitBytes;
    this.#flavour = flavour;
    this.#directory = directory;
    const join_ = `echo $$ >${join(directory, "cgroup.procs")} && exec "$@"`;
    this.enter = ["/bin/sh", "-c", join_, "sh"];
    this.#kills = new KillLog(directory.slice(flavour.root.length));
    this.#timer = setInterval(() => this.#note(), READ_EVERY_MS);
  }

  get oomKills(): readonly OomKill[] {
    return this.#kills.read(performance.now());
  }

  read(): GroupReading {
    const stat = fieldsOf(readFileSync(join(this.#directory, "memory.stat"), "utf8"));
    const usageBytes = numberIn(this.#directory, this.#flavour.usageFile);
    return {
      atMs: performance.now(),
      usageBytes,
      heldBytes: this.#flavour.heldBytes(this.#directory, usageBytes, stat),
      mappedFileBytes: this.#flavour.mappedFileBytes(stat),
      refaults: this.#flavour.refaults(stat),
      processes: this.pids().length,
    };
  }

  pids(): readonly number[] {
    return pidsBelow(this.#directory);
  }

  #note(): void {
    this.readings.push(this.read());
    this.#kills.read(performance.now());
  }

  /** Nothing of the group is left afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#kills.close();
    const endAtMs = performance.now() + REMOVE_LIMIT_MS;
    do {
      for (const pid of this.pids()) kill(pid);
      await delay(20);
    } while (!removeGroups(this.#directory) && performance.now() < endAtMs);
  }
}

/** `/dev/kmsg` as far as it tells of kills within one group; silent where it cannot be read. */
class KillLog {
  readonly #group: string;
  readonly #file: number | null;
  readonly #buffer = Buffer.alloc(8_192);
  readonly #kills: OomKill[] = [];
  /** Of the kernel's line that names the group; the line with the sizes comes after it. */
  #isOurs = false;

  constructor(group: string) {
    this.#group = group;
    this.#file = openKernelLog();
    for (const _old of this.#lines()) continue;
  }

  read(nowMs: number): readonly OomKill[] {
    for (const line of this.#lines()) {
      const [, group] = /oom-kill:.*oom_memcg=([^,]+)/.exec(line) ?? [];
      if (group !== undefined) this.#isOurs = isWithin(group, this.#group);
      const [, pid, program, kib] =
        /Memory cgroup out of memory: Killed process (\d+) \((.*?)\).*anon-rss:(\d+)kB/.exec(
          line,
        ) ?? [];
      if (pid === undefined || !this.#isOurs) continue;
      const privateBytes = Number(kib) * 1_024;
      this.#kills.push({ atMs: nowMs, pid: Number(pid), program: program ?? "", privateBytes });
    }
    return this.#kills;
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file);
  }

  *#lines(): Generator<string, void> {
    if (this.#file === null) return;
    for (;;) {
      try {
        // One read is one line, kernel.org/doc/Documentation/ABI/testing/dev-kmsg.
        const length = readSync(this.#file, this.#buffer, 0, this.#buffer.length, null);
        yield this.#buffer.toString("utf8", 0, length);
      } catch (error) {
        // EPIPE: lines were overwritten before they were read; the next read goes on behind them.
        if ((error as NodeJS.ErrnoException).code !== "EPIPE") return;
      }
    }
  }
}

function openKernelLog(): number | null {
  try {
    return openSync("/dev/kmsg", constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return null;
  }
}

function isWithin(group: string, outer: string): boolean {
  return group === outer || group.startsWith(`${outer}/`);
}

function pidsBelow(directory: string): number[] {
  const own = readFileSync(join(directory, "cgroup.procs"), "utf8").split("\n");
  const children = childGroups(directory).flatMap((child) => ifThere(() => pidsBelow(child), []));
  return [...own.filter((line) => line !== "").map(Number), ...children];
}

function childGroups(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(directory, name));
}

/** Whether nothing is left. A group that still has a process cannot be removed. */
function removeGroups(directory: string): boolean {
  return ifThere(() => {
    for (const child of childGroups(directory)) if (!removeGroups(child)) return false;
    rmdirSync(directory);
    return true;
  }, true);
}

/** A group of a turn goes while it is looked at. */
function ifThere<Value>(look: () => Value, otherwise: Value): Value {
  try {
    return look();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENODEV") return otherwise;
    if (code === "EBUSY") return false as Value;
    throw error;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It was gone already.
  }
}

function fieldsOf(text: string): ReadonlyMap<string, number> {
  return new Map(
    text.split("\n").flatMap((line) => {
      const [name, value] = line.split(" ");
      return name === undefined || value === undefined ? [] : [[name, Number(value)] as const];
    }),
  );
}

function field(fields: ReadonlyMap<string, number>, name: string): number {
  return fields.get(name) ?? 0;
}

function numberIn(directory: string, name: string): number {
  return Number(readFileSync(join(directory, name), "utf8"));
}
