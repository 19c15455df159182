/**
 * The permits that are out: of turns in flight, and of sessions whose processes stay. What they
 * add up to is what an admission is decided on.
 *
 * @module
 */

import type { Holding } from "./fair-share.ts";
import type { Demand, Permit } from "./permit.ts";
import type { Leaving } from "./retry-after.ts";

/** What the permits add up to. */
export interface Sums {
  /** What the processes hold now, as far as measured. */
  readonly heldBytes: number;
  /** What was predicted for them and is not held yet. */
  readonly promisedBytes: number;
  /** One for each permit. */
  readonly agentNames: readonly string[];
}

/** What a permit is made of. */
export interface PermitTerms {
  readonly id: number;
  /** Predicted. */
  readonly bytes: number;
  readonly demand: Demand;
  readonly admittedAtMs: number;
  readonly roomFreed: Promise<void>;
}

/** What there is to know of the process of a permit. */
export interface PermitWeights {
  /** What it holds now, as far as measured. */
  heldBytes(permit: Permit): number;
  /** What it is predicted to hold, by what is known now. */
  expectedBytes(permit: Permit): number;
}

/** Holds: a turn ends once, by `rest` or by disposal; a permit disposed twice is given back once. */
export class PermitBook {
  readonly #inflight = new Set<Permit>();
  /** With the time until which they do; null where nobody knows. */
  readonly #resting = new Map<Permit, number | null>();
  readonly #now: () => number;
  readonly #onTurnEnded: (permit: Permit, nowMs: number) => void;

  /** @param onTurnEnded Called once for each turn, while it still counts as in flight. */
  constructor(now: () => number, onTurnEnded: (permit: Permit, nowMs: number) => void) {
    this.#now = now;
    this.#onTurnEnded = onTurnEnded;
  }

  get inflight(): number {
    return this.#inflight.size;
  }

  get resting(): number {
    return this.#resting.size;
  }

  /** @param consumed A resting permit that the turn in question would take the place of. */
  hasOthersThan(consumed: Permit | undefined): boolean {
    const own = consumed !== undefined && this.#resting.has(consumed) ? 1 : 0;
    return this.#inflight.size + this.#resting.size > own;
  }

  take(terms: PermitTerms): Permit {
    const { process, resting } = terms.demand;
    if (resting !== undefined) this.#resting.delete(resting);
    const permit: Permit = {
      ...terms,
      holder: process ?? resting?.holder ?? null,
      rest: (stayMs) => {
        const untilMs = stayMs === undefined ? null : this.#now() + stayMs;
        if (this.#endTurn(permit)) this.#resting.set(permit, untilMs);
      },
      [Symbol.dispose]: () => {
        this.#endTurn(permit);
        this.#resting.delete(permit);
      },
    };
    this.#inflight.add(permit);
    return permit;
  }

  /** @param consumed A resting permit that the turn in question would take the place of. */
  sums(weights: PermitWeights, consumed: Permit | undefined): Sums {
    let heldBytes = 0;
    let promisedBytes = 0;
    const agentNames: string[] = [];
    for (const permit of this.#all()) {
      const held = weights.heldBytes(permit);
      heldBytes += held;
      if (permit === consumed) continue;
      promisedBytes += Math.max(0, weights.expectedBytes(permit) - held);
      agentNames.push(permit.demand.agentName);
    }
    return { heldBytes, promisedBytes, agentNames };
  }

  /** What one turn in flight holds or will hold, on average; 0 if there is none. */
  meanTurnBytes(weights: PermitWeights): number {
    let bytes = 0;
    for (const permit of this.#inflight) {
      bytes += Math.max(weights.expectedBytes(permit), weights.heldBytes(permit));
    }
    return bytes / Math.max(1, this.#inflight.size);
  }

  /** How long each turn in flight has run, the oldest first. */
  elapsedMs(nowMs: number): number[] {
    return [...this.#inflight].map(({ admittedAtMs }) => Math.max(0, nowMs - admittedAtMs));
  }

  /**
   * The same of those that can be expected to end: not of one that has had all its time, whose
   * processes outlive SIGKILL. Of all, where there are no others.
   */
  endingMs(nowMs: number): number[] {
    const elapsedMs: number[] = [];
    for (const { admittedAtMs, demand } of this.#inflight) {
      const ms = Math.max(0, nowMs - admittedAtMs);
      if (ms <= (demand.turnTimeMs ?? Infinity)) elapsedMs.push(ms);
    }
    return elapsedMs.length === 0 ? this.elapsedMs(nowMs) : elapsedMs;
  }

  /** Sessions at rest of which is known when they leave. */
  leaving(weights: PermitWeights, nowMs: number): Leaving[] {
    const leaving: Leaving[] = [];
    for (const [permit, untilMs] of this.#resting) {
      if (untilMs === null) continue;
      const bytes = Math.max(weights.expectedBytes(permit), weights.heldBytes(permit));
      leaving.push({ inMs: Math.max(0, untilMs - nowMs), bytes });
    }
    return leaving;
  }

  /**
   * Who holds what, by what is known now: what was predicted at an admission may be long refuted.
   *
   * @param consumed A resting permit that the turn in question would take the place of.
   */
  holdings(weights: PermitWeights, consumed: Permit | undefined): Holding[] {
    const holdings: Holding[] = [];
    for (const permit of this.#all()) {
      if (permit === consumed) continue;
      const { tenant, callerId } = permit.demand;
      const bytes = Math.max(weights.expectedBytes(permit), weights.heldBytes(permit));
      holdings.push({ tenant, callerId, bytes, turns: this.#inflight.has(permit) ? 1 : 0 });
    }
    return holdings;
  }

  #all(): readonly Permit[] {
    return [...this.#inflight, ...this.#resting.keys()];
  }

  /** Whether it had not ended before. */
  #endTurn(permit: Permit): boolean {
    if (!this.#inflight.has(permit)) return false;
    this.#onTurnEnded(permit, this.#now());
    this.#inflight.delete(permit);
    return true;
  }
}
