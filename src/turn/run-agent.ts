/**
 * One turn on an agent process: from what the user says to its outcome, and to the end of the
 * whole process tree, unless the process may stay for the session's next turn.
 *
 *     say ─▶ init ─▶ messages … ─▶ result ─┬─▶ stays
 *      │       │         │                 └─▶ stdin closed ─▶ exit ─▶ tree swept
 *      │       │         └─ stop: interrupt ─▶ stdin closed ─▶ SIGTERM ─▶ SIGKILL of the tree
 *      └───────┴─────────── stop, or wrong tools: SIGKILL of the tree
 *
 * @module
 */

import { AppError, toAppError } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { NO_TOTALS } from "../session/session-record.ts";
import { type AgentRun, type AgentRunEnd, AgentTurn } from "./agent-turn.ts";
import type { StopCause } from "./outcome.ts";
import type { CancelCause, TurnEvent } from "./turn.ts";
import { difference } from "./usage.ts";

/**
 * Runs one turn. Unless the process stays, ends when nothing of it is left, whatever happened; but
 * for one that outlives SIGKILL, for which it does not wait.
 *
 * @param signal Its reason is a {@link CancelCause} or an {@link AppError}: the turn is then
 *   interrupted, ended by force if it does not follow, and the reason becomes its outcome.
 */
export async function* runAgent(
  run: AgentRun,
  signal: AbortSignal,
): AsyncGenerator<TurnEvent, AgentRunEnd, undefined> {
  const turn = new AgentTurn(run);
  const onAbort = (): void => turn.stop(stopCauseOf(signal.reason));
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    yield* turn.events();
  } finally {
    signal.removeEventListener("abort", onAbort);
    await turn.end();
  }
  return turn.summary();
}

/** The end of a turn for which no process could be made, though it had been told to begin. */
export function endBeforeStart(thrown: unknown, admittedAtMs: number): AgentRunEnd {
  const { code, message } = toAppError(thrown);
  const durationMs = Math.round(monotonicMs() - admittedAtMs);
  const used = difference(NO_TOTALS, NO_TOTALS);
  const usage = { ...used, steps: 0, durationMs, firstTokenMs: null };
  return {
    outcome: { status: "failed", code, message, usage },
    hasRun: false,
    lastText: { messageId: "", text: "" },
    totals: null,
    startMs: null,
    peakBytes: null,
    cpuMs: null,
    toolOomKills: 0,
    toolsEndedForMemory: 0,
    exit: null,
    stays: false,
    diagnosis: {
      thrown,
      stderrTail: "",
      posture: null,
      absentServers: [],
      providerAnswer: "",
    },
  };
}

function stopCauseOf(reason: unknown): StopCause {
  if (reason instanceof AppError) {
    return { kind: "failed", code: reason.code, message: reason.message };
  }
  return { kind: "cancelled", cause: reason as CancelCause };
}
