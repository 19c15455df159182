/**
 * Lets a server delete by itself the sessions that have to go: a while after its start, and then
 * again and again.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Telemetry } from "../telemetry/start.ts";
import type { Sweeper } from "./open-sessions.ts";

export interface KeepSweptOptions {
  readonly sweeper: Pick<Sweeper, "sweep">;
  readonly intervalMs: number;
  readonly telemetry: Pick<Telemetry, "log">;
  /** From the start to the first sweep; {@link FIRST_SWEEP_MS} without it. */
  readonly firstMs?: number;
}

/** A server that has just started has turns to catch up with. */
const FIRST_SWEEP_MS = 60_000;
/** Nobody waits for it, and turns are not to feel it. */
const UNASKED_LOAD_RATIO = 0.05;
/** Somebody waits, and was told that turns feel it. */
export const ASKED_LOAD_RATIO = 0.5;

/**
 * Sweeps until it is disposed, which waits for no more than the session that is being deleted.
 * Never fails: a sweep that could not look is told in the log, and tried again.
 */
export function keepSwept(options: KeepSweptOptions): AsyncDisposable {
  const stop = new AbortController();
  const done = sweepOn(options, stop.signal);
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await done;
    },
  };
}

async function sweepOn(options: KeepSweptOptions, signal: AbortSignal): Promise<void> {
  const { intervalMs, firstMs = FIRST_SWEEP_MS } = options;
  for (let pauseMs = Math.min(firstMs, intervalMs); !signal.aborted; pauseMs = intervalMs) {
    await delay(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    if (!signal.aborted) await sweepOnce(options, signal);
  }
}

async function sweepOnce(
  { sweeper, telemetry: { log } }: KeepSweptOptions,
  signal: AbortSignal,
): Promise<void> {
  try {
    await sweeper.sweep(Date.now(), { loadRatio: UNASKED_LOAD_RATIO, signal });
  } catch (err) {
    log.error({ err }, "Cannot look for sessions that have to go");
  }
}
