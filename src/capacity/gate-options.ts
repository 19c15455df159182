/**
 * What a turn gate works with.
 *
 * @module
 */

import type { GateDecision } from "./shed.ts";
import type { StartLane } from "./start-lane.ts";
import type { Weights } from "./weights.ts";

export interface TurnGateOptions {
  readonly weights: Weights;
  /** A ceiling on turns at once, never a way past the load line; null for none. */
  readonly maxTurns: number | null;
  readonly priorityReserveBytes?: number;
  /** Whether who holds more than an equal share gives way to those expected back. */
  readonly fairShare?: boolean;
  readonly lane?: Pick<StartLane, "expectedWaitMs" | "maxWaitMs">;
  /** Why memory is short, in words; null while it is not. */
  readonly pressure?: () => string | null;
  /** Told of each decision: refusals come by the thousand. */
  readonly onDecision?: (decision: GateDecision) => void;
  /** Clock of the `nowMs` of every call, read when a permit is given back: never one that is set. */
  readonly now?: () => number;
  /** In [0, 1), for the jitter of the answers. */
  readonly random?: () => number;
  /** The longest time after which a caller is told to come back. */
  readonly maxRetryAfterMs?: number;
}
