/**
 * What the kernel says about processes: `/proc` as plain data, and signals that cannot hit a
 * stranger. Nothing here throws. Where there is no `/proc` (macOS) every answer is "nothing".
 *
 * @module
 */

import { closeSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";

/** One process for ever: the kernel gives a pid again, but never with the same start. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in clock ticks since boot. */
  readonly startTicks: number;
}

export interface ProcessStat extends ProcessIdentity {
  readonly parentPid: number;
  /** Its process group, which takes a signal all at once. */
  readonly groupId: number;
  /** Its session: a Bash tool and all it starts has one of its own. */
  readonly sessionId: number;
  /** Time of a core that it has used. */
  readonly cpuMs: number;
  /** False between fork and exec, and for a process that only forked: it shows another's pages. */
  readonly hasOwnProgram: boolean;
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

/** Null when the process is gone, see {@link parseProcessStat}. */
export function readProcessStat(pid: number): ProcessStat | null {
  const text = readSmallFile(`/proc/${pid}/stat`);
  return text === null ? null : parseProcessStat(text);
}

/**
 * Reads a line of `/proc/<pid>/stat`, see proc(5). Null for a zombie, which holds no memory and
 * takes no signal; but one with threads left is only the first thread of a process that lives.
 */
export function parseProcessStat(text: string): ProcessStat | null {
  // The name is in parentheses and may hold spaces and parentheses itself.
  const nameEnd = text.lastIndexOf(")");
  const pid = Number.parseInt(text, 10);
  const fields = text.slice(nameEnd + 2).split(" ");
  const state = fields[0];
  const number = (field: number) => Number(fields[field]);
  const threads = number(17);
  const stat = {
    pid,
    parentPid: number(1),
    groupId: number(2),
    sessionId: number(3),
    cpuMs: (number(11) + number(12)) * TICK_MS,
    startTicks: number(19),
    hasOwnProgram: (number(6) & FORKED_ONLY) === 0,
  };
  if (nameEnd < 0 || Number.isNaN(stat.startTicks)) return null;
  const isGone = state === "X" || (state === "Z" && threads <= 1);
  return isGone ? null : stat;
}

/** `PF_FORKNOEXEC` of the kernel's flags. */
const FORKED_ONLY = 0x40;
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
  const anonymous = bytesOf(status, "RssAnon");
  // Some sandboxes (gVisor) do not tell the parts of the resident set; too much beats nothing.
  if (anonymous === null) return bytesOf(status, "VmRSS");
  return anonymous + (bytesOf(status, "RssShmem") ?? 0) + (bytesOf(status, "VmSwap") ?? 0);
}

/**
 * The value of a variable in the environment a process was started with. Null when it has none,
 * or may not be read.
 */
export function readVariable(pid: number, name: string): string | null {
  try {
    const environment = `\0${readFileSync(`/proc/${pid}/environ`, "latin1")}`;
    const start = environment.indexOf(`\0${name}=`);
    if (start < 0) return null;
    const from = start + name.length + 2;
    const end = environment.indexOf("\0", from);
    return environment.slice(from, end < 0 ? undefined : end);
  } catch {
    return null;
  }
}

/** Sends a signal to exactly this process; false when it is gone or may not be signalled. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (readProcessStat(identity.pid)?.startTicks !== identity.startTicks) return false;
  return sendSignal(identity.pid, signal);
}

/**
 * Sends SIGKILL to exactly these processes, and at once to the process groups they are in, so that
 * none of them can start another in the meantime.
 * @param ofAgent The agent process, whose group is not only theirs.
 */
export function killAll(members: readonly ProcessStat[], ofAgent: ProcessStat | null): void {
  const groups = new Set<number>();
  for (const member of members) {
    const now = readProcessStat(member.pid);
    if (now?.startTicks !== member.startTicks) continue;
    sendSignal(member.pid, "SIGKILL");
    // As long as it has a member, the number of a group is not given again.
    if (now.groupId > 1 && now.groupId !== ofAgent?.groupId) groups.add(now.groupId);
  }
  for (const groupId of groups) sendSignal(-groupId, "SIGKILL");
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
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, "r");
    return page.toString("latin1", 0, readSync(descriptor, page));
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

/** Bytes of a line of `/proc/<pid>/status`, which has them as `RssAnon:      108 kB`. */
function bytesOf(status: string, name: string): number | null {
  const start = status.indexOf(`\n${name}:`);
  if (start < 0) return null;
  return Number.parseInt(status.slice(start + name.length + 2), 10) * 1024;
}
