/**
 * What a server must not leave behind: processes, permits, handles. Processes are looked up in
 * `/proc` by the marks they carry, with nothing of the server's own bookkeeping.
 *
 * @module
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/**
 * For what only has to happen at all: far from what it takes on a machine that has nothing else to
 * do, and short of the time a test has.
 */
export const LIVENESS_LIMIT_MS = 30_000;

/** Waits for a condition, looking every 20 ms; throws what was waited for when it does not come. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  waitedFor: string,
  limitMs = LIVENESS_LIMIT_MS,
): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`Waited in vain for: ${waitedFor}`);
    await delay(20);
  }
}

/** Process ids that carry the variable with this value in their environment; zombies do not. */
export function processesWith(variable: string, value: string): readonly number[] {
  const mark = `${variable}=${value}`;
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0 && environmentOf(pid).includes(mark));
}

export function processesOfTurn(turnId: string): readonly number[] {
  return processesWith("PLIMSOLL_TURN_ID", turnId);
}

/**
 * Those that none of the others has started. What one of them starts is like it in every way until it
 * becomes the program that it is for; only its parent tells it apart.
 */
export function withoutChildren(pids: readonly number[]): readonly number[] {
  return pids.filter((pid) => {
    const parent = parentOf(pid);
    return parent !== null && !pids.includes(parent);
  });
}

/**
 * The only process that there is, once it is the only one.
 *
 * @throws when there is none: never 0, which would be the whole group of this process to a signal.
 */
export async function onlyOne(pids: () => readonly number[], waitedFor: string): Promise<number> {
  let found: number | undefined;
  await until(() => {
    const [first, ...others] = pids();
    found = others.length === 0 ? first : undefined;
    return found !== undefined;
  }, waitedFor);
  if (found === undefined) throw new Error(`There is none: ${waitedFor}`);
  return found;
}

export function environmentOf(pid: number): readonly string[] {
  return readProcFile(pid, "environ").split("\0");
}

export function commandLineOf(pid: number): readonly string[] {
  return readProcFile(pid, "cmdline").split("\0");
}

export function oomScoreOf(pid: number): number {
  return Number(readProcFile(pid, "oom_score_adj"));
}

/** The `claude` process of a turn, as soon as there is one. */
export async function claudeOf(turnId: string): Promise<number> {
  let found: number | undefined;
  await until(() => {
    found = processesOfTurn(turnId).find((pid) => programOf(pid).endsWith("/claude"));
    return found !== undefined;
  }, `the claude process of turn ${turnId}`);
  return found ?? 0;
}

/** Path of the program that it runs; empty when it is gone. */
export function programOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return ""; // It ended meanwhile.
  }
}

/** Null for one that is gone. */
function parentOf(pid: number): number | null {
  const found = /^PPid:\s+(\d+)$/m.exec(readProcFile(pid, "status"))?.[1];
  return found === undefined ? null : Number(found);
}

function readProcFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return ""; // It ended meanwhile.
  }
}

/** Handles that would keep this process alive, counted by kind; sockets of clients fade by themselves. */
export function countHandles(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (KEEPING_ALIVE.has(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

const KEEPING_ALIVE = new Set(["TCPServerWrap", "TCPSocketWrap", "ProcessWrap", "PipeWrap"]);

/** Resolves when no more handles are open than there were before. */
export async function handlesBackTo(before: ReadonlyMap<string, number>): Promise<void> {
  const left = (): string[] =>
    [...countHandles()].flatMap(([kind, count]) => {
      const more = count - (before.get(kind) ?? 0);
      return more > 0 ? [`${more} ${kind}`] : [];
    });
  await until(() => left().length === 0, "every handle to be closed").catch((cause: unknown) => {
    throw new Error(`Handles were left open: ${left().join(", ")}`, { cause });
  });
}
