/**
 * Lets a server delete by itself the sessions that have to go: a while after its start, and then
 * again and again.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Sweep } from "../session/session-sweeper.ts";
import type { Telemetry } from "../telemetry/start.ts";
import type { RetentionReason } from "../telemetry/values.ts";
import type { Sweeper } from "./open-sessions.ts";

export interface KeepSweptOptions {
  readonly sweeper: Pick<Sweeper, "sweep">;
  readonly intervalMs: number;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
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
  { sweeper, telemetry: { log, metrics } }: KeepSweptOptions,
  signal: AbortSignal,
): Promise<void> {
  try {
    const loadRatio = UNASKED_LOAD_RATIO;
    tell(await sweeper.sweep(Date.now(), { loadRatio, signal }), { log, metrics });
  } catch (err) {
    log.error({ err }, "Cannot look for sessions that have to go");
  }
}

/** Also counts what was swept on request. */
export function tell(
  { swept, skipped, failed, unreadable, missingBytes, seen, seenBytes }: Sweep,
  { log, metrics }: Pick<Telemetry, "log" | "metrics">,
): void {
  const reasons: Partial<Record<RetentionReason, number>> = {};
  let bytes = 0;
  for (const session of swept) {
    metrics.sessionExpired(session.reason);
    reasons[session.reason] = (reasons[session.reason] ?? 0) + 1;
    bytes += session.bytes;
    const { tenant, sessionId, reason } = session;
    log.debug({ tenant, sessionId, reason }, "A session had to go");
  }
  if (unreadable > 0) log.warn({ unreadable }, "Sessions whose record cannot be read are kept");
  if (failed > 0) log.warn({ failed }, "Sessions had to go and could not be deleted");
  if (missingBytes > 0) {
    const text = "`retention.keepFree` cannot be kept by deleting sessions: none goes for it";
    log.warn({ missingBytes }, text);
  }
  if (swept.length === 0) return;
  const figures = { deleted: swept.length, bytes, reasons, skipped, seen, seenBytes };
  log.info(figures, "Sessions had to go");
}
