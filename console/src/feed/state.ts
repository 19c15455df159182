/**
 * What the page knows of a replica, and how much of it at most: a page that is open for a week holds
 * no more than one that was open for an hour.
 *
 * @module
 */

import type {
  FeedDecision,
  FeedGuardEvent,
  FeedHello,
  FeedHistory,
  FeedRecent,
  FeedTurn,
} from "../../../src/protocol/feed.ts";
import type { CapacityEvent } from "./capacity.ts";
import { NO_HISTORY, type History } from "./history.ts";

/** The most that is held. */
export const LIMITS = {
  endedTurns: 200,
  /** Far more than any replica carries: what is beyond was never told to have ended. */
  liveTurns: 2000,
  decisions: 200,
  guardEvents: 100,
} as const;

export type FeedEvent =
  | FeedHello
  | FeedHistory
  | FeedRecent
  | CapacityEvent
  | { readonly type: "turn"; readonly turn: FeedTurn }
  | FeedDecision
  | FeedGuardEvent;

export interface FeedState {
  readonly hello: FeedHello | null;
  /** The replica that was there before this one under the same address, if the page saw it go. */
  readonly restartedAtMs: number | null;
  /** What to add to the clock of the browser for that of the server. */
  readonly clockOffsetMs: number;
  readonly capacity: CapacityEvent | null;
  readonly history: History;
  /** The oldest first. */
  readonly liveTurns: ReadonlyMap<string, FeedTurn>;
  /** The newest first. */
  readonly endedTurns: readonly FeedTurn[];
  /** The newest first. */
  readonly decisions: readonly FeedDecision[];
  /** The newest first. */
  readonly guardEvents: readonly FeedGuardEvent[];
}

export const EMPTY: FeedState = {
  hello: null,
  restartedAtMs: null,
  clockOffsetMs: 0,
  capacity: null,
  history: NO_HISTORY,
  liveTurns: new Map(),
  endedTurns: [],
  decisions: [],
  guardEvents: [],
};
