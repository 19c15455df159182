/**
 * The questions of the gate, in their order; the first that is answered decides.
 *
 *     draining ──────────────────────────────────▶ shed: draining
 *     nothing on board ──────────────────────────▶ admit: an idle replica cannot be wedged
 *     memory is short, or was a moment ago ──────▶ shed: pressure
 *     maxTurns in flight ────────────────────────▶ shed: max_turns
 *     its process could not start soon ──────────▶ shed: start
 *     committed + predicted > load line ─────────▶ shed: memory, but for what can be evicted
 *     the room is kept for others ───────────────▶ shed: share
 *     else ──────────────────────────────────────▶ admit
 *
 * Pure.
 *
 * @module
 */

import type { ShedReason } from "../telemetry/values.ts";

export interface Case {
  readonly isDraining: boolean;
  /** No turn in flight, and no session that keeps its process but that of the turn itself. */
  readonly isIdle: boolean;
  /** Why memory is short, in words; null if it is not. */
  readonly pressure: string | null;
  readonly inflight: number;
  /** The ceiling that is set; null for none. */
  readonly maxTurns: number | null;
  /** The ceiling after memory ran short; null for none. */
  readonly ceiling: number | null;
  /** How long its process would wait for its start; 0 for one that is there. */
  readonly startWaitMs: number;
  readonly maxStartWaitMs: number;
  /** By how much the turn would cross the load line. */
  readonly shortBytes: number;
  /** What would be free if all that is kept between turns went. */
  readonly freeableBytes: number;
  /** Whether the room is kept for others. Asked last: it is the dearest question. */
  readonly isKeptForOthers: () => boolean;
}

export interface Verdict {
  /** Null to admit. */
  readonly reason: ShedReason | null;
  /** What there is to say beyond the figures, in words. */
  readonly detail: string;
}

export function judge(turn: Case): Verdict {
  const { inflight, pressure, maxTurns, ceiling, startWaitMs, shortBytes } = turn;
  if (turn.isDraining) return { reason: "draining", detail: "" };
  if (turn.isIdle) return { reason: null, detail: "as it is the only one" };
  if (pressure !== null) return { reason: "pressure", detail: pressure };
  if (maxTurns !== null && inflight >= maxTurns) return { reason: "max_turns", detail: "" };
  if (ceiling !== null && inflight >= ceiling) {
    const detail = `memory ran short a while ago: at most ${ceiling} turns at once for now`;
    return { reason: "pressure", detail };
  }
  if (startWaitMs > turn.maxStartWaitMs) {
    const seconds = Math.ceil(startWaitMs / 1000);
    return { reason: "start", detail: `the CPU is busy: this turn would start in ${seconds} s` };
  }
  if (shortBytes > turn.freeableBytes) return { reason: "memory", detail: "" };
  if (turn.isKeptForOthers()) return { reason: "share", detail: "" };
  return { reason: null, detail: "after an eviction" };
}
