/**
 * What people are told of the sessions that had to go: metrics, and the log.
 *
 * @module
 */

import type { Sweep } from "../session/session-sweeper.ts";
import type { Telemetry } from "../telemetry/start.ts";
import type { RetentionReason } from "../telemetry/values.ts";

type Told = Pick<Telemetry, "log" | "metrics">;

/** Tells of one sweep, once, whoever has asked for it. */
export function tellSweep(sweep: Sweep, { log, metrics }: Told): void {
  const { swept, skipped, unreadable, seen, seenBytes } = sweep;
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
  tellTrouble(sweep, { log });
  if (swept.length === 0) return;
  const figures = { deleted: swept.length, bytes, reasons, skipped, seen, seenBytes };
  log.info(figures, "Sessions had to go");
}

/**
 * Tells what is in the way of a sweep of copies. Of those that went nobody need be told: each can be
 * made again.
 *
 * @param mostBytes That copies may take.
 */
export function tellSweptCopies(sweep: Sweep, mostBytes: number, { log }: Pick<Told, "log">): void {
  tellTrouble(sweep, { log });
  const { seenBytes, swept, skipped } = sweep;
  const bytes = swept.reduce((left, session) => left - session.bytes, seenBytes);
  // What was used meanwhile may go the next time.
  if (bytes <= mostBytes || skipped > 0) return;
  const text =
    "Copies of sessions take more than `sessions.copiesSize`, and none of them can go: they are in a " +
    "turn, on hold, or unknown to the store";
  log.warn({ bytes }, text);
}

/** Tells what is in the way of a sweep. */
function tellTrouble(
  { failed, missingBytes }: Pick<Sweep, "failed" | "missingBytes">,
  { log }: Pick<Told, "log">,
): void {
  if (failed > 0) log.warn({ failed }, "Sessions had to go and could not be deleted");
  if (missingBytes === 0) return;
  const text = "`retention.keepFree` cannot be kept by deleting sessions: none goes for it";
  log.warn({ missingBytes }, text);
}
