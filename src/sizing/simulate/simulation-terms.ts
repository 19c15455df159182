/**
 * All that a simulation goes by.
 *
 * @module
 */

import type { Arrivals } from "./arrivals.ts";
import type { BalancingPolicy } from "./balancer.ts";
import type { FleetTerms } from "./fleet.ts";
import type { Law } from "./laws.ts";
import type { Random } from "./random.ts";
import type { ReplicaTerms } from "./replica.ts";
import type { ClientTerms } from "./retry-policy.ts";

export interface TurnTerms {
  /** With a machine to itself, its start included. */
  readonly durationMs: Law;
  readonly firstTokenMs: Law;
  /** CPU time of a start: so long it takes on a core of its own. */
  readonly startCpuMs: number;
  /** The part of a CPU that a turn uses while it streams. */
  readonly streamCores: number;
  /** What a turn holds that carries nothing. */
  readonly peakBytes: Law;
  readonly bytesPerCarriedByte: number;
  /** Held by a process that starts. */
  readonly startPeakBytes: number;
  /** The transcript of a session that begins, and by how much each turn makes it longer. */
  readonly transcriptBytes: number;
  readonly transcriptBytesPerTurn: number;
  /** How long a process is kept for the next turn of its session. */
  readonly lingerMs: number;
}

export interface SimulationTerms {
  readonly seed: number;
  /** In which turns arrive; those in flight then run to their end. */
  readonly durationMs: number;
  /** Not counted in the results, since the fleet is empty at first. */
  readonly warmUpMs: number;
  readonly arrivals: (random: Random) => Arrivals;
  /** Turns on average, and the pause between two of them. */
  readonly session: { readonly turns: number; readonly pauseMs: number };
  readonly turn: TurnTerms;
  readonly replica: ReplicaTerms;
  readonly fleet: FleetTerms;
  readonly balancer: {
    readonly policy: BalancingPolicy;
    /** Replicas that an attempt is sent to before its client is refused. */
    readonly tries: number;
  };
  readonly clients: ClientTerms;
  readonly limits: { readonly turns: number; readonly events: number };
  /** Points of the results over time. */
  readonly points: number;
}

/** Thrown where a limit ends it: what was counted until then would mislead. */
export class TooMuch extends Error {
  override readonly name = "TooMuch";
  readonly what: "turns" | "events";

  constructor(what: "turns" | "events", limit: number, atMs: number) {
    super(`more than ${limit.toLocaleString("en")} ${what} by ${Math.round(atMs / 1000)} s`);
    this.what = what;
  }
}
