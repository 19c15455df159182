/**
 * Ending processes for certain: asked first, then forced, then looked for until none is left.
 *
 *     input closed ─ graceMs ─▶ SIGTERM ─ graceMs ─▶ SIGKILL of the whole tree ─▶ sweep
 *                                                      survivors are watched ◀─ 3 s ─┘
 *
 * Asking in words (the SDK's interrupt) comes before this and is the turn's own business.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { PROCESS_ID_MARKER } from "../lib/process-markers.ts";
import { settlesWithin } from "../lib/settles-within.ts";
import type { ControlGroup } from "./control-group.ts";
import { isAlive, type ProcessIdentity, readProcessTable, signalProcess } from "./proc.ts";
import { markedProcesses, type ProcessTree } from "./process-tree.ts";

/**
 * How long a process may take to go after SIGKILL before it is a survivor. Only one that waits
 * inside the kernel (state D, e.g. on a dead network disk) or is frozen takes longer.
 */
export const SWEEP_LIMIT_MS = 3000;

const SWEEP_PAUSE_MAX_MS = 100;
/** Survivors may stay for days. */
const WATCH_PAUSE_MAX_MS = 1000;

/** What is done to a process until it ends; each call is harder than the one before. */
export interface Endable {
  /** Resolves when the process itself has ended, whatever became of its tree. */
  readonly processExited: Promise<unknown>;
  closeInput(): void;
  askToEnd(): void;
  killNow(): void;
}

/** @param graceMs Time each polite step has to work; 0 goes straight to SIGKILL. */
export async function askThenForce(target: Endable, graceMs: number): Promise<void> {
  for (const step of ["closeInput", "askToEnd"] as const) {
    if (graceMs === 0) break;
    target[step]();
    if (await settlesWithin(target.processExited, graceMs)) return;
  }
  target.killNow();
  await settlesWithin(target.processExited, SWEEP_LIMIT_MS);
}

/**
 * Kills whatever `find` finds, until it finds nothing more: a process can start another one in
 * the moment before it dies.
 * @returns How many were left after the limit; 0 in all but strange cases.
 */
export async function sweep(
  find: () => readonly ProcessIdentity[],
  limitMs: number,
): Promise<number> {
  const deadlineMs = monotonicMs() + limitMs;
  for (let pauseMs = 5; ; pauseMs = Math.min(2 * pauseMs, SWEEP_PAUSE_MAX_MS)) {
    const left = find();
    if (left.length === 0 || monotonicMs() > deadlineMs) return left.length;
    for (const identity of left) signalProcess(identity, "SIGKILL");
    await delay(pauseMs);
  }
}

/**
 * Goes on where {@link sweep} gave up, ever slower and without keeping the server alive.
 * @returns Whether `find` found nothing more before `signal` aborted.
 */
export async function outlast(
  find: () => readonly ProcessIdentity[],
  signal: AbortSignal,
): Promise<boolean> {
  for (
    let pauseMs = SWEEP_PAUSE_MAX_MS;
    !signal.aborted;
    pauseMs = Math.min(2 * pauseMs, WATCH_PAUSE_MAX_MS)
  ) {
    const left = find();
    if (left.length === 0) return true;
    for (const identity of left) signalProcess(identity, "SIGKILL");
    await delay(pauseMs, undefined, { ref: false, signal }).catch(() => {});
  }
  return false;
}

/**
 * Everyone alive in a tree, also those who left it for init before they were ever seen.
 * @param group Its control group, whose members are known whatever they did to hide.
 */
export function findTree(
  tree: ProcessTree,
  group: ControlGroup | null = null,
): readonly ProcessIdentity[] {
  const table = readProcessTable();
  // Without a root the process had ended before it was looked at.
  const sinceTicks = tree.root?.startTicks ?? 0;
  const marked = markedProcesses(table, PROCESS_ID_MARKER, tree.processId, sinceTicks);
  // Read last: whoever was started since the table was read is there already.
  const inGroup = group?.members() ?? [];
  tree.grow(table, [...marked, ...inGroup]);
  return [...tree.members, ...inGroup.filter((member) => !isAlive(member, table))];
}
