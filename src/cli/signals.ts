/**
 * Signals to the process: the first one asks a command to end, the second one insists.
 *
 * @module
 */

export interface Signals extends Disposable {
  /** Aborts with the first SIGINT or SIGTERM. */
  readonly stop: AbortSignal;
  /** Aborts with the second. */
  readonly hurry: AbortSignal;
}

export function listenToSignals(): Signals {
  const stop = new AbortController();
  const hurry = new AbortController();
  const onSignal = () => (stop.signal.aborted ? hurry : stop).abort();
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    stop: stop.signal,
    hurry: hurry.signal,
    [Symbol.dispose]() {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}
