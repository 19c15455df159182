/**
 * The control group of one agent process and all it starts: a memory limit of its own, a bound
 * on its processes, and a list of its members that no process can leave by itself, whatever it
 * does with its parent, its session or its environment. The kernel's side is described in
 * cgroup-v2.rst and cgroup-v1/memory.rst of its admin guide.
 *
 * @module
 */

import { closeSync, constants, mkdirSync, openSync, rmdirSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type CgroupVersion, groupsBelow, readText } from "../capacity/cgroup.ts";
import { statField } from "../capacity/stat-field.ts";
import { MIB } from "../lib/byte-units.ts";
import { errnoOf } from "../lib/errno.ts";
import { parseOomKillCount } from "./oom-kill-counter.ts";
import { type ProcessIdentity, readProcessStat, sendSignal } from "./proc.ts";

/**
 * Processes and threads in one group: a fork storm ends here. Claude Code has 8 threads, a stdio
 * MCP server on Node 11; a parallel build by a Bash tool has some dozens.
 */
export const MAX_TASKS = 256;

/** Where the groups of one server are made. */
export interface GroupParent {
  readonly version: CgroupVersion;
  readonly directory: string;
  /** Their place in the hierarchy of the pids controller; null where tasks cannot be bounded. */
  readonly pidsDirectory: string | null;
}

/** The changes that groups are made by, apart so that a test can stand for the kernel. */
export interface GroupFiles {
  /** Each throws what the kernel says. */
  readonly make: (directory: string) => void;
  readonly remove: (directory: string) => void;
  readonly write: (directory: string, name: string, text: string) => void;
  /** Writes on a thread of Node's pool, for what the kernel is slow at: moving a process. */
  readonly writeAside: (directory: string, name: string, text: string) => Promise<void>;
}

export const KERNEL_FILES: GroupFiles = {
  make: (directory) => mkdirSync(directory),
  remove: (directory) => rmdirSync(directory),
  write: (directory, name, text) => {
    // Never creates a file: where the kernel has none, that is an answer.
    const file = openSync(join(directory, name), constants.O_WRONLY);
    try {
      writeSync(file, text);
    } finally {
      closeSync(file);
    }
  },
  writeAside: async (directory, name, text) => {
    await using file = await open(join(directory, name), constants.O_WRONLY);
    await file.write(text);
  },
};

export class ControlGroup {
  readonly version: CgroupVersion;
  /** Where its memory files are. Not for callers to see. */
  readonly directory: string;
  /** Where its pids files are: in v2 `directory`; null where tasks cannot be bounded. */
  readonly #pidsDirectory: string | null;
  readonly #files: GroupFiles;

  /** A group that is there already; {@link ControlGroup.make} makes one. */
  constructor(parent: GroupParent, name: string, files = KERNEL_FILES) {
    this.version = parent.version;
    this.directory = join(parent.directory, name);
    this.#pidsDirectory = parent.pidsDirectory === null ? null : join(parent.pidsDirectory, name);
    this.#files = files;
  }

  /**
   * Makes a group with nobody in it.
   * @param name Unique among the groups of the server.
   * @throws What the system refused; nothing is left then.
   */
  static make(
    parent: GroupParent,
    name: string,
    limitBytes: number,
    files = KERNEL_FILES,
  ): ControlGroup {
    const group = new ControlGroup(parent, name, files);
    files.make(group.directory);
    try {
      group.setLimit(limitBytes);
    } catch (thrown) {
      group.#tryToRemove();
      throw thrown;
    }
    // Whatever the server's own group says: at this limit one process is ended, not all, and the
    // rest goes on instead of waiting for someone to make room.
    group.#tryToWrite("memory.oom.group", "0");
    group.#tryToWrite("memory.oom_control", "0");
    group.#boundTasks();
    return group;
  }

  /** Files by which a process that writes `0` to each of them moves here. */
  get doors(): readonly string[] {
    const directories = new Set([this.directory, this.#pidsDirectory ?? this.directory]);
    return [...directories].map((directory) => join(directory, "cgroup.procs"));
  }

  /** Whether a process is here itself, and not in a group below. */
  has(pid: number): boolean {
    return pidsIn(this.directory).includes(pid);
  }

  /**
   * Moves a process here; what it starts from now on is born here. What it has started before is
   * not, and memory it had stays charged where it was.
   *
   * @returns False for one that cannot be moved, or has ended.
   */
  async add(pid: number): Promise<boolean> {
    const enter = (directory: string) =>
      this.#files.writeAside(directory, "cgroup.procs", String(pid)).then(
        () => true,
        () => false,
      );
    if (!(await enter(this.directory))) return false;
    const pidsDirectory = this.#pidsDirectory ?? this.directory;
    if (pidsDirectory !== this.directory) await enter(pidsDirectory);
    return true;
  }

  /**
   * Sets the most memory that may be charged to the group, swap and page cache included.
   * @throws What the system refused, e.g. `EBUSY`: v1 lowers no limit below what is held.
   */
  setLimit(limitBytes: number): void {
    const limit = String(limitBytes);
    if (this.version === "cgroup2") {
      this.#files.write(this.directory, "memory.max", limit);
      this.#tryToWrite("memory.swap.max", "0");
      return;
    }
    // Never may the limit be above the one with swap: one of the two writes is in order.
    this.#tryToWrite("memory.memsw.limit_in_bytes", limit);
    this.#files.write(this.directory, "memory.limit_in_bytes", limit);
    this.#tryToWrite("memory.memsw.limit_in_bytes", limit);
  }

  /**
   * The most that was ever charged to the group, page cache and the kernel's part included: no
   * less than the private memory of its processes, and never above its limit. Null where the kernel
   * does not keep it (v2 before 5.19), or the group is removed.
   */
  get peakBytes(): number | null {
    const name = this.version === "cgroup2" ? "memory.peak" : "memory.max_usage_in_bytes";
    const file = readText(this.directory, name);
    return file.status === "read" ? Number.parseInt(file.text, 10) : null;
  }

  /** How many of its processes the kernel has killed for memory; null once it is removed. */
  get oomKills(): number | null {
    const name = this.version === "cgroup2" ? "memory.events" : "memory.oom_control";
    const file = readText(this.directory, name);
    return file.status === "read" ? parseOomKillCount(file.text) : null;
  }

  /**
   * Whether it ran into its own limit, so that what the kernel killed may have been for that. v1
   * does not count it, and in its peak cache looks like other memory. (`memory.failcnt` stays 0
   * where the limit with swap is the same: measured on Linux 6.18.)
   */
  get reachedLimit(): boolean {
    if (this.version === "cgroup2") {
      const file = readText(this.directory, "memory.events");
      return file.status === "read" && (statField(file.text, "oom") ?? 0) > 0;
    }
    const limit = readText(this.directory, "memory.limit_in_bytes");
    const limitBytes = limit.status === "read" ? Number(limit.text) : Infinity;
    return (this.peakBytes ?? 0) > limitBytes - LAST_CHARGE_BYTES;
  }

  /** Everyone alive in it, and in groups that they made below. */
  members(): readonly ProcessIdentity[] {
    return this.#pids().flatMap((pid) => readProcessStat(pid) ?? []);
  }

  /** Sends SIGKILL to all at once (v2), or to each in turn: then a fork may slip through. */
  killAll(): void {
    if (this.version === "cgroup2" && this.#tryToWrite("cgroup.kill", "1")) return;
    for (const pid of this.#pids()) sendSignal(pid, "SIGKILL");
  }

  /**
   * Removes the group, as soon as its last process is gone.
   * @param isWaitedFor Keeps the server alive meanwhile: at its start nothing else does, and Node
   *   ends a program that waits for what cannot come any more.
   * @returns Whether it is gone; it is tried until `signal` aborts.
   */
  async remove(signal: AbortSignal, isWaitedFor = false): Promise<boolean> {
    for (let pauseMs = 5; !this.#tryToRemove(); pauseMs = Math.min(2 * pauseMs, PAUSE_MAX_MS)) {
      if (signal.aborted) return false;
      await delay(pauseMs, undefined, { ref: isWaitedFor, signal }).catch(() => {});
    }
    return true;
  }

  #pids(): readonly number[] {
    return [...groupsBelow(this.directory), this.directory].flatMap(pidsIn);
  }

  /** Bounds its processes; without the controller the group is still worth having. */
  #boundTasks(): void {
    const directory = this.#pidsDirectory;
    if (directory === null) return;
    try {
      if (directory !== this.directory) this.#files.make(directory);
      this.#files.write(directory, "pids.max", String(MAX_TASKS));
    } catch {
      // Nobody will be moved to what is not there.
    }
  }

  #tryToRemove(): boolean {
    const directories = new Set([this.directory, this.#pidsDirectory ?? this.directory]);
    return [...directories].map((directory) => tryToRemove(directory, this.#files)).every(Boolean);
  }

  #tryToWrite(name: string, text: string): boolean {
    try {
      this.#files.write(this.directory, name, text);
      return true;
    } catch {
      return false;
    }
  }
}

/** More than the 8 pages asked for at once where the kernel would rather kill than refuse. */
const LAST_CHARGE_BYTES = MIB;
const PAUSE_MAX_MS = 500;

/** Pids as this process sees them; those it cannot see (another pid namespace) are 0. */
export function pidsIn(directory: string): readonly number[] {
  const file = readText(directory, "cgroup.procs");
  return file.status === "read" ? file.text.split("\n").filter(Boolean).map(Number) : [];
}

/** Removes a group with all below it; false as long as there is a process in one of them. */
export function tryToRemove(directory: string, files: GroupFiles): boolean {
  for (const group of [...groupsBelow(directory), directory]) {
    try {
      files.remove(group);
    } catch (thrown) {
      if (errnoOf(thrown) !== "ENOENT") return false;
    }
  }
  return true;
}
