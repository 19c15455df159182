/**
 * The books of the gate, for people and for monitoring.
 *
 * @module
 */

import type { ShedReason } from "../telemetry/values.ts";
import type { Load } from "./load-line.ts";

/** What `/capacity` and `/metrics` show. */
export interface GateSnapshot extends Load {
  readonly admission: "measured" | "static";
  readonly limitBytes: number;
  readonly limitSource: string;
  readonly safetyReserveBytes: number;
  /** Of the used memory: what the server's own process holds, and what it may still grow by. */
  readonly parentBytes: number;
  readonly parentGrowthBytes: number;
  readonly inflight: number;
  /** Sessions whose processes stay, each with its permit. */
  readonly resting: number;
  readonly maxTurns: number | null;
  /** The ceiling since memory ran short, until turns have shown that more fit; null for none. */
  readonly maxTurnsForNow: number | null;
  /** What a fresh turn of the agent asked last is predicted to hold. */
  readonly nextTurnBytes: number;
  /** In all, counting those in flight; as many as are in flight while none is admitted. */
  readonly turnsThatFit: number;
  readonly draining: boolean;
  /** Why nothing but a first turn is admitted; null if that is not so. */
  readonly pressure: string | null;
  /** Since the start, as is `shed`. */
  readonly admitted: number;
  readonly shed: Readonly<Record<ShedReason, number>>;
  /** By the clock of the gate. */
  readonly lastDecision: { readonly atMs: number; readonly text: string } | null;
  /** How long the oldest turn in flight has run; null if there is none. */
  readonly oldestTurnMs: number | null;
}
