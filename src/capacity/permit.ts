/**
 * What is asked of the gate, and what it gives.
 *
 * @module
 */

import type { Party } from "./fair-share.ts";
import type { Shed } from "./shed.ts";

/** The process that a turn runs in. */
export interface Holder {
  /** Private memory of its tree now; null while nobody has measured it. */
  readonly currentBytes: number | null;
}

/** What is known of who asks before the body of the request is read. */
export interface Asker extends Party {
  /** Empty where there is none of the name that was asked for. */
  readonly agentName: string;
  /** Whether it may use what is reserved for priority. */
  readonly isPriority: boolean;
}

/** A turn that asks to be admitted. */
export interface Demand extends Asker {
  /** Bytes of the transcript it resumes, and of its input. */
  readonly carriedBytes: number;
  /** The longest that it may take; for ever without it. */
  readonly turnTimeMs?: number;
  /** The process it would go on in, which is not in the cache any more; none to start one. */
  readonly process?: Holder;
  /** The permit that its session kept while it rested; consumed if the turn is admitted. */
  readonly resting?: Permit;
}

/** The right to run one turn, weighed in bytes. Disposed when the process tree of it is gone. */
export interface Permit extends Disposable {
  /** Counts up from 1 in the order of admission. */
  readonly id: number;
  /** What was predicted for the turn at its admission. */
  readonly bytes: number;
  /** By the clock of the gate, which is `monotonicMs` but for tests. */
  readonly admittedAtMs: number;
  readonly demand: Demand;
  /**
   * Set when there is a process: from then on what that holds is part of the used memory. Null
   * again when the turn is to have another one.
   */
  holder: Holder | null;
  /** Settles when what had to be evicted for the turn is gone, or was given up on. */
  readonly roomFreed: Promise<void>;
  /**
   * The turn is over, and its process stays: not in flight, but committed in full.
   *
   * @param stayMs For how long, unless it has a turn before; without it nobody knows.
   */
  rest(stayMs?: number): void;
}

export type Admission =
  | { readonly admitted: true; readonly permit: Permit }
  | { readonly admitted: false; readonly shed: Shed };
