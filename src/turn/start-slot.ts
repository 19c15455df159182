/**
 * The place in the start lane that a turn's process has until it is initialised, or has stopped to
 * take CPU: then it waits for something else, mostly for an MCP server, which may be silent for ten
 * seconds. The lane is there for the CPU, and meanwhile others can start.
 *
 * @module
 */

import type { StartLane, StartSlot } from "../capacity/start-lane.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";

/** How often a start is looked at. */
const LOOK_MS = 500;
/** A process that uses less than this part of a core between two looks does not start, but waits. */
const LEAST_CPU_RATIO = 0.05;

/** A slot to start in; null for a turn that was ended while it waited, and need not start any more. */
export async function takeStartSlot(
  lane: Pick<StartLane, "enter">,
  coming: Disposable | null,
  signal: AbortSignal,
): Promise<StartSlot | null> {
  coming?.[Symbol.dispose]();
  return lane.enter(signal).catch(() => null);
}

/**
 * Gives the slot back when the process waits. Disposed when the start is over.
 *
 * @param cpuMs CPU time of all its processes now; null while that cannot be told.
 */
export function releaseWhenIdle(slot: StartSlot, cpuMs: () => number | null): Disposable {
  let lastMs: number | null = null;
  let lookedAtMs = monotonicMs();
  const timer = setInterval(() => {
    const nowMs = monotonicMs();
    const usedMs = cpuMs();
    const sinceMs = usedMs === null || lastMs === null ? null : usedMs - lastMs;
    // Less than before where one of its processes has ended: nobody knows what the others used.
    const isIdle =
      sinceMs !== null && sinceMs >= 0 && sinceMs < LEAST_CPU_RATIO * (nowMs - lookedAtMs);
    lastMs = usedMs;
    lookedAtMs = nowMs;
    if (!isIdle) return;
    clearInterval(timer);
    slot[Symbol.dispose]();
  }, LOOK_MS).unref();
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      slot[Symbol.dispose]();
    },
  };
}
