/**
 * What the page reads of a `capacity` event. The server says more; a test holds that what it says
 * has at least this.
 *
 * @module
 */

import type { FeedCapacity } from "../../../src/protocol/feed.ts";

export interface Capacity {
  readonly limitBytes: number;
  readonly limitSource: string;
  readonly safetyReserveBytes: number;
  readonly loadLineBytes: number;
  readonly usedBytes: number;
  readonly parentBytes: number;
  readonly parentGrowthBytes: number;
  readonly promisedBytes: number;
  readonly poolBytes: number;
  readonly committedBytes: number;
  readonly headroomBytes: number;
  readonly inflight: number;
  readonly resting: number;
  readonly nextTurnBytes: number;
  readonly turnsThatFit: number;
  readonly maxTurns: number | null;
  readonly maxTurnsForNow: number | null;
  readonly draining: boolean;
  readonly pressure: string | null;
  readonly admitted: number;
  readonly shed: Readonly<Record<string, number>>;
  readonly memory: { readonly covers: "group" | "machine" | "process" };
  readonly binds: "memory" | "cpu" | "maxTurns";
  readonly cpu: {
    readonly cpus: number;
    readonly perTurn: number | null;
    readonly turnsThatFit: number | null;
    readonly starting: number;
    readonly startsAtOnce: number;
    readonly startsWaiting: number;
  };
  readonly containment: { readonly text: string };
  readonly guard: { readonly level: number; readonly text: string };
  readonly kept: {
    readonly residents: number;
    readonly longRunning: number;
    readonly longRunningBytes: number;
    readonly spares: number;
    readonly evictableBytes: number;
  };
  readonly footprints: Readonly<
    Record<
      string,
      { readonly source: string; readonly samples: number; readonly baseBytes: number }
    >
  >;
  readonly turns: readonly ProcessTree[];
}

/** An agent process with all it started. */
export interface ProcessTree {
  readonly processId: string;
  readonly turnId: string | null;
  readonly kind: "turn" | "resident" | "spare" | "closing" | null;
  readonly ageMs: number;
  readonly bytes: number | null;
  readonly peakBytes: number | null;
  readonly predictedBytes: number | null;
  readonly ceilingBytes: number | null;
}

export type CapacityEvent = FeedCapacity<Capacity>;
