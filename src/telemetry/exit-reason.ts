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
  readonly outOfMemory: boolean;
  /** Why it could not be started. */
  readonly spawnError?: string;
}

/** The first cause wins: a process that we killed did not fail. */
export function exitReason({ code, step, outOfMemory, spawnError }: ExitFacts): ExitReason {
  if (spawnError !== undefined) return "start_failed";
  if (outOfMemory) return "killed_for_memory";
  if (step === "sigkill") return "killed";
  if (step !== "exited") return "asked_to_end";
  return code === 0 ? "finished" : "failed";
}
