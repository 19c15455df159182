/**
 * The one word a metric has for the end of an agent process. Pure.
 *
 * @module
 */

import type { ExitReason } from "./values.ts";

/** How an agent process ended, as far as the metrics care. */
export interface ExitFacts {
  /** Null when a signal ended it, or when it never started. */
  readonly code: number | null;
  /** How far the server had gone to end it; `exited` when it ended by itself. */
  readonly step: "exited" | "stdin_closed" | "sigterm" | "sigkill";
  /** Killed, and not as we ended it, nor to be evicted. */
  readonly outOfMemory: boolean;
  /** Why the memory guard has ended it, if it has. */
  readonly guardVerdict?: object;
  /** Whether the kernel killed anything for memory while it lived; null where nobody counts. */
  readonly oomKillCounterRose: boolean | null;
  /** Why it could not be started. */
  readonly spawnError?: string;
}

/** The first cause wins: a process that we killed did not fail. */
export function exitReason(exit: ExitFacts): ExitReason {
  if (exit.spawnError !== undefined) return "start_failed";
  if (exit.outOfMemory) return killedBy(exit);
  if (exit.step === "sigkill") return "killed";
  if (exit.step !== "exited") return "asked_to_end";
  // Evicted at once, before it could be asked to end.
  if (exit.guardVerdict !== undefined) return "killed_by_guard";
  return exit.code === 0 ? "finished" : "failed";
}

function killedBy({ guardVerdict, oomKillCounterRose }: ExitFacts): ExitReason {
  if (guardVerdict !== undefined) return "killed_by_guard";
  return oomKillCounterRose === true ? "killed_by_kernel" : "killed_by_unknown";
}
