/**
 * Signals to the process: the first one asks a command to end, the second one insists.
 *
 * @module
 */

import { monotonicMs } from "../lib/monotonic-clock.ts";

/**
 * The same signal twice within this time is one. Ctrl-C reaches every process of a terminal, and
 * npm passes it on once more to the one it runs.
 */
const SAME_SIGNAL_MS = 200;

export interface Signals extends Disposable {
  /** Aborts with the first SIGINT or SIGTERM. */
  readonly stop: AbortSignal;
  /** Aborts with the second. */
  readonly hurry: AbortSignal;
}

export function listenToSignals(): Signals {
  const stop = new AbortController();
  const hurry = new AbortController();
  const forget = onSignals(() => (stop.signal.aborted ? hurry : stop).abort());
  return { stop: stop.signal, hurry: hurry.signal, [Symbol.dispose]: forget };
}

/** Calls back at each SIGINT and SIGTERM until the returned function is called. */
export function onSignals(callback: (signal: NodeJS.Signals) => void): () => void {
  const lastMs = new Map<NodeJS.Signals, number>();
  const onSignal = (signal: NodeJS.Signals) => {
    const nowMs = monotonicMs();
    const beforeMs = lastMs.get(signal) ?? Number.NEGATIVE_INFINITY;
    lastMs.set(signal, nowMs);
    if (nowMs - beforeMs >= SAME_SIGNAL_MS) callback(signal);
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return () => {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  };
}
