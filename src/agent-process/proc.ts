/**
 * What the kernel says about processes: `/proc` as plain data, and signals that cannot hit a
 * stranger. Nothing here throws. Where there is no `/proc` (macOS) every answer is "nothing".
 *
 * @module
 */

import { closeSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { statField } from "../capacity/stat-field.ts";
import { KIB } from "../lib/byte-units.ts";

/** One process for ever: the kernel gives a pid again, but never with the same start. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in clock ticks since boot. */
  readonly startTicks: number;
}

export interface ProcessStat extends ProcessIdentity {
  readonly parentPid: number;
  /** The process group it is in, which takes a signal all at once. */
  readonly groupId: number;
  /** The session it is in: a Bash tool and all it starts has one of its own. */
  readonly sessionId: number;
  /** Time of a core that it has used, by all its threads. */
  readonly cpuMs: number;
  /** Time of a core that its children have used which have ended, with theirs in turn. */
  readonly childCpuMs: number;
  /** False between fork and exec, and for a process that only forked: it shows another's pages. */
  readonly hasOwnProgram: boolean;
  /** A hash of the name of its program, which is another after most execs. */
  readonly nameHash: number;
  /**
   * Waits for what cannot be interrupted (state D): whoever asks for what is guarded by a lock of its
   * memory may wait with it, for ever on a dead network disk.
   */
  readonly waitsInKernel: boolean;
}

/** All processes but the server itself, so that nothing can name it as a target. */
export interface ProcessTable {
  readonly byPid: ReadonlyMap<number, ProcessStat>;
  readonly childrenOf: ReadonlyMap<number, readonly ProcessStat[]>;
}

/** Whether the pid still belongs to the same process. */
export function isAlive(identity: ProcessIdentity, table: ProcessTable): boolean {
  return table.byPid.get(identity.pid)?.startTicks === identity.startTicks;
}

export function readProcessTable(): ProcessTable {
  return processTable(
    listPids()
      .filter((pid) => pid !== process.pid)
      .map(readProcessStat)
      .filter((stat) => stat !== null),
  );
}

export function processTable(stats: readonly ProcessStat[]): ProcessTable {
  const byPid = new Map<number, ProcessStat>();
  const childrenOf = new Map<number, ProcessStat[]>();
  for (const stat of stats) {
    byPid.set(stat.pid, stat);
    const siblings = childrenOf.get(stat.parentPid);
    if (siblings === undefined) childrenOf.set(stat.parentPid, [stat]);
    else siblings.push(stat);
  }
  return { byPid, childrenOf };
}

/** What the kernel tells of a process; null when it is gone, see {@link parseProcessStat}. */
export function readProcessStat(pid: number): ProcessStat | null {
  const length = readPage(`/proc/${pid}/stat`);
  return length === null ? null : parseProcessStat(page.subarray(0, length));
}

/**
 * Reads a line of `/proc/<pid>/stat`, see proc(5). Null for a zombie, which holds no memory and
 * takes no signal, but one with threads left is only the first thread of a process that lives; and
 * null for a thread of the kernel, which is nobody's. Bytes and no strings: a look at all processes
 * would else make a megabyte of garbage, several times a second.
 */
export function parseProcessStat(line: Uint8Array): ProcessStat | null {
  // The name is in parentheses and may hold spaces and parentheses itself.
  const nameEnd = line.lastIndexOf(CLOSING_PARENTHESIS);
  if (nameEnd < 0 || !readNumbers(line, nameEnd + STATE_OFFSET + 1)) return null;
  const state = line[nameEnd + STATE_OFFSET];
  const number = (field: number) => numbers[field - FIRST_NUMBER] ?? Number.NaN;
  const flags = number(9);
  const isGone = state === STATE_DEAD || (state === STATE_ZOMBIE && number(20) <= 1);
  if (isGone || (flags & KERNEL_THREAD) !== 0) return null;
  return {
    pid: leadingNumber(line),
    parentPid: number(4),
    groupId: number(5),
    sessionId: number(6),
    cpuMs: (number(14) + number(15)) * TICK_MS,
    childCpuMs: (number(16) + number(17)) * TICK_MS,
    startTicks: number(22),
    hasOwnProgram: (flags & FORKED_ONLY) === 0,
    nameHash: hashOf(line, line.indexOf(OPENING_PARENTHESIS) + 1, nameEnd),
    waitsInKernel: state === STATE_UNINTERRUPTIBLE,
  };
}

/** The FNV-1a hash of the bytes. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let at = from; at < to; at += 1) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return hash >>> 0;
}

/** Fields 4 to 22, as proc(5) counts them, of the line that was read last. */
const numbers = new Float64Array(19);
const FIRST_NUMBER = 4;

/** @returns Whether all of them were there. */
function readNumbers(line: Uint8Array, from: number): boolean {
  let at = from;
  for (let index = 0; index < numbers.length; index += 1) {
    if (line[at] !== SPACE) return false;
    at += 1;
    const isNegative = line[at] === MINUS;
    if (isNegative) at += 1;
    const first = at;
    let value = 0;
    for (let digit = digitAt(line, at); digit >= 0; digit = digitAt(line, at)) {
      value = value * 10 + digit;
      at += 1;
    }
    if (at === first) return false;
    numbers[index] = isNegative ? -value : value;
  }
  return true;
}

function leadingNumber(line: Uint8Array): number {
  let value = 0;
  for (let at = 0; digitAt(line, at) >= 0; at += 1) value = value * 10 + digitAt(line, at);
  return value;
}

/** The digit at that place; below 0 where there is none. */
function digitAt(line: Uint8Array, at: number): number {
  const code = line[at] ?? SPACE;
  return code <= NINE ? code - ZERO : -1;
}

const [SPACE, MINUS, ZERO, NINE] = [0x20, 0x2d, 0x30, 0x39];
const [OPENING_PARENTHESIS, CLOSING_PARENTHESIS] = [0x28, 0x29];
const [STATE_UNINTERRUPTIBLE, STATE_DEAD, STATE_ZOMBIE] = [0x44, 0x58, 0x5a];
/** How far behind the parenthesis the state is. */
const STATE_OFFSET = 2;
/** `PF_FORKNOEXEC` and `PF_KTHREAD` of the kernel's flags. */
const FORKED_ONLY = 0x40;
const KERNEL_THREAD = 0x20_0000;
/** `USER_HZ` is 100 on every Linux that Node runs on. */
const TICK_MS = 10;

/**
 * Memory that would be free if the process were gone, in bytes: its anonymous and shared-memory
 * pages, in swap too, but not the text of the binary, which all agent processes share. Pages shared
 * since a fork count in each process. Null when it cannot be read.
 */
export function readPrivateBytes(pid: number): number | null {
  const status = readSmallFile(`/proc/${pid}/status`);
  if (status === null) return null;
  const anonymous = statFieldBytes(status, "RssAnon");
  // Some sandboxes (gVisor) do not tell the parts of the resident set; too much beats nothing.
  if (anonymous === null) return statFieldBytes(status, "VmRSS");
  return (
    anonymous + (statFieldBytes(status, "RssShmem") ?? 0) + (statFieldBytes(status, "VmSwap") ?? 0)
  );
}

/** What a process holds that shares pages with the one that forked it, or with those it forked. */
export interface ForkedBytes {
  /** Pages that nobody else has. */
  readonly privateBytes: number;
  /** Its part of the pages that it shares. */
  readonly sharedPartBytes: number;
}

/**
 * The memory of a process that was forked, told apart by walking its page tables: slow, and only where
 * nobody holds the lock of its memory. Null where the kernel does not tell (before 5.4), or it is gone.
 */
export function readForkedBytes(pid: number): ForkedBytes | null {
  const rollup = readSmallFile(`/proc/${pid}/smaps_rollup`);
  if (rollup === null) return null;
  const anonymous = statFieldBytes(rollup, "Pss_Anon");
  if (anonymous === null) return null;
  const swapped = statFieldBytes(rollup, "SwapPss") ?? 0;
  const bytes = anonymous + (statFieldBytes(rollup, "Pss_Shmem") ?? 0);
  // Pages of files that it alone has written are among these.
  const privateBytes = Math.min(bytes, statFieldBytes(rollup, "Private_Dirty") ?? 0);
  return { privateBytes: privateBytes + swapped, sharedPartBytes: bytes - privateBytes };
}

/**
 * The environment a process was started with, as the kernel has it. Null when it cannot be read;
 * empty for a process that has none, and for one in the middle of an exec.
 */
export function readEnvironment(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    return null;
  }
}

/** The value of a variable of a process; null when it has none, or cannot be read. */
export function readVariable(pid: number, name: string): string | null {
  const environment = readEnvironment(pid);
  return environment === null ? null : variableIn(environment, name);
}

/** The value of a variable of an environment; null when it has none. */
export function variableIn(environment: string, name: string): string | null {
  const entries = `\0${environment}`;
  const start = entries.indexOf(`\0${name}=`);
  if (start < 0) return null;
  const from = start + name.length + 2;
  const end = entries.indexOf("\0", from);
  return entries.slice(from, end < 0 ? undefined : end);
}

/** Sends a signal to exactly this process; false when it is gone or may not be signalled. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (readProcessStat(identity.pid)?.startTicks !== identity.startTicks) return false;
  return sendSignal(identity.pid, signal);
}

/**
 * Sends SIGKILL to these processes and to the process groups they are in. A group is ended in one
 * step of the kernel's, in which none of it can start another; one after the other, a swarm would
 * live on for as long as its number and a crowded host make it.
 * @param ofAgent The agent process, whose group is not only theirs.
 */
export function killAll(members: readonly ProcessStat[], ofAgent: ProcessStat | null): void {
  const ended = new Set<number>();
  for (const member of members) {
    const now = readProcessStat(member.pid);
    if (now?.startTicks !== member.startTicks || ended.has(now.groupId)) continue;
    if (now.groupId <= 1 || now.groupId === ofAgent?.groupId) sendSignal(member.pid, "SIGKILL");
    else {
      // As long as it has a member, the number of a group is not given again.
      sendSignal(-now.groupId, "SIGKILL");
      ended.add(now.groupId);
    }
  }
}

/** Sends a signal to a pid, or to a process group when negative; false when there is none. */
export function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

/** Reads a file of the kernel that fits in one read; null when it cannot be read. */
export function readSmallFile(path: string): string | null {
  const length = readPage(path);
  return length === null ? null : page.toString("latin1", 0, length);
}

/** Reads a file into `page`; returns its length, null when it cannot be read. */
function readPage(path: string): number | null {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, "r");
    return readSync(descriptor, page);
  } catch {
    return null;
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** Shared by all reads, which are synchronous: a sample must not make garbage for each process. */
const page = Buffer.alloc(16_384);

function listPids(): number[] {
  try {
    return readdirSync("/proc")
      .map(Number)
      .filter((pid) => pid > 0);
  } catch {
    return [];
  }
}

/** Bytes of a line `RssAnon:      108 kB` of `status` or `smaps_rollup`; null if there is none. */
export function statFieldBytes(text: string, name: string): number | null {
  const kibibytes = statField(text, name);
  return kibibytes === null ? null : kibibytes * KIB;
}
