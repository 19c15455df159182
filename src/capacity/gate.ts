/**
 * The turn gate: which turns start now and which are shed. It never queues.
 *
 *     tryAdmit ─┬─ draining ─────────────────────────────────▶ shed: draining
 *               ├─ no turn in flight ────────────────────────▶ permit   (the progress rule)
 *               ├─ maxTurns in flight ───────────────────────▶ shed: max_turns
 *               ├─ committed + predicted > load line ────────▶ shed: memory
 *               └─ else ─────────────────────────────────────▶ permit ─▶ given back once
 *
 * The gate only keeps the books. The arithmetic is `load-line.ts`, when to come back is
 * `retry-after.ts`; how many turns one caller may have is a matter of `turn/live-turns.ts`.
 *
 * @module
 */

import { inMebibytes } from "../lib/bytes.ts";
import { fits, type Load, turnsThatFit, weigh } from "./load-line.ts";
import type { MemoryLimit } from "./memory-limit.ts";
import { DurationWindow, PromiseBook, retryAfterSeconds } from "./retry-after.ts";

/** A turn that asks to be admitted. */
export interface Demand {
  readonly callerId: string;
  readonly tenant: string;
  readonly agentName: string;
  /** What the turn is predicted to hold; above 0. */
  readonly reserveBytes: number;
}

/** The right to run one turn, weighed in bytes. Disposed when the process tree of it is gone. */
export interface Permit extends Disposable {
  /** Counts up from 1 in the order of admission. */
  readonly id: number;
  /** What was predicted for the turn at its admission. */
  readonly bytes: number;
  readonly admittedAtMs: number;
  readonly demand: Demand;
}

export type ShedReason = "memory" | "max_turns" | "draining";

/** A refusal for load. */
export interface Shed {
  readonly reason: ShedReason;
  /** Whole seconds, 1 to 120. */
  readonly retryAfterSeconds: number;
  readonly inflight: number;
  /** Turns at once, as far as is known now. */
  readonly capacity: number;
  /** In words: `1,900 of 2,048 MiB committed; a turn is predicted 500 MiB`. */
  readonly text: string;
}

export type Admission =
  | { readonly admitted: true; readonly permit: Permit }
  | { readonly admitted: false; readonly shed: Shed };

/** What `/capacity` and `/metrics` show. */
export interface GateSnapshot {
  readonly limitBytes: number;
  readonly limitSource: string;
  readonly loadLineBytes: number;
  readonly parentBytes: number;
  readonly committedBytes: number;
  readonly headroomBytes: number;
  readonly inflight: number;
  readonly maxTurns: number | null;
  /** In all, counting those in flight. */
  readonly turnsThatFit: number;
  readonly draining: boolean;
  /** Since the start, as is `shed`. */
  readonly admitted: number;
  readonly shed: Readonly<Record<ShedReason, number>>;
  readonly lastDecision: { readonly atMs: number; readonly text: string } | null;
  /** How long the oldest turn in flight has run; null if there is none. */
  readonly oldestTurnMs: number | null;
}

export interface TurnGateOptions {
  readonly limit: Pick<MemoryLimit, "bytes" | "source">;
  /** Set aside for the server itself. */
  readonly parentReserveBytes: number;
  /** Size of a turn of which nothing is known: for `peek` and `turnsThatFit`. */
  readonly turnReserveBytes: number;
  /** Kept free below the limit. 0 by default, since the two reserves carry the margin. */
  readonly safetyReserveBytes?: number | null;
  /** A ceiling on turns at once, never a way past the load line; null for none. */
  readonly maxTurns: number | null;
  /** What a live turn holds now; by default what was predicted for it. */
  readonly commitmentOf?: (permit: Permit) => number;
  /** Clock of the `nowMs` of every call, read when a permit is given back. */
  readonly now?: () => number;
  /** In [0, 1), for the jitter of the answers. */
  readonly random?: () => number;
}

/**
 * Holds, whatever the order of calls:
 * - committed never crosses the load line by an admission, but for a first turn on an idle replica;
 * - an idle replica admits a turn unless it drains, and a draining one admits none;
 * - admitted + shed = asked: each refusal is counted once;
 * - inflight = live permits, and a permit disposed twice is given back once;
 * - after the last permit is given back, committed is the parent's part alone;
 * - `peek` says what `tryAdmit` would do, and changes nothing.
 */
export class TurnGate {
  readonly #options: TurnGateOptions;
  readonly #live = new Set<Permit>();
  readonly #durations = new DurationWindow();
  readonly #promises = new PromiseBook();
  readonly #shed: Record<ShedReason, number> = { memory: 0, max_turns: 0, draining: 0 };
  #admitted = 0;
  #draining = false;
  #lastDecision: GateSnapshot["lastDecision"] = null;

  constructor(options: TurnGateOptions) {
    this.#options = options;
  }

  /** Checks and takes in one step: nothing can happen between the two. */
  tryAdmit(demand: Demand, nowMs: number): Admission {
    const load = this.#weigh();
    const reason = this.#reasonToShed(load, demand.reserveBytes);
    if (reason !== null) {
      const shed = this.#describeShed(reason, load, demand.reserveBytes, nowMs);
      this.#countShed(shed, nowMs);
      return { admitted: false, shed };
    }
    const permit = this.#take(demand, nowMs);
    const committed = inMebibytes(load.committedBytes + demand.reserveBytes);
    const text = `admitted: ${committed} of ${inMebibytes(load.loadLineBytes)} MiB committed`;
    this.#lastDecision = { atMs: nowMs, text };
    return { admitted: true, permit };
  }

  /**
   * What a turn would be told now: its refusal, or null if it would be admitted. Asking counts
   * nothing and promises nothing, so that probes may ask.
   */
  peek(nowMs: number, reserveBytes: number = this.#options.turnReserveBytes): Shed | null {
    const load = this.#weigh();
    const reason = this.#reasonToShed(load, reserveBytes);
    return reason === null ? null : this.#describeShed(reason, load, reserveBytes, nowMs);
  }

  /**
   * Refuses a turn before its body is read, if it would be shed now. As in `tryAdmit` the check and
   * the count are one step: a refusal returned here is counted, and must be sent. Null takes
   * nothing; the turn still has to be admitted by `tryAdmit`.
   */
  shedEarly(nowMs: number, reserveBytes: number = this.#options.turnReserveBytes): Shed | null {
    const shed = this.peek(nowMs, reserveBytes);
    if (shed !== null) this.#countShed(shed, nowMs);
    return shed;
  }

  /** Stops admitting, for good; running turns go on. */
  drain(): void {
    this.#draining = true;
  }

  snapshot(nowMs: number): GateSnapshot {
    const { limit, maxTurns, parentReserveBytes } = this.#options;
    const load = this.#weigh();
    const [oldest] = this.#live; // A Set keeps the order of admission.
    return {
      ...load,
      limitBytes: limit.bytes,
      limitSource: limit.source,
      parentBytes: parentReserveBytes,
      inflight: this.#live.size,
      maxTurns,
      turnsThatFit: this.#capacity(load),
      draining: this.#draining,
      admitted: this.#admitted,
      shed: { ...this.#shed },
      lastDecision: this.#lastDecision,
      oldestTurnMs: oldest === undefined ? null : Math.max(0, nowMs - oldest.admittedAtMs),
    };
  }

  #weigh(): Load {
    const { limit, parentReserveBytes, commitmentOf } = this.#options;
    const safetyReserveBytes = this.#options.safetyReserveBytes ?? 0;
    return weigh({
      limitBytes: limit.bytes,
      safetyReserveBytes,
      parentBytes: parentReserveBytes,
      turnsBytes: Array.from(this.#live, commitmentOf ?? ((permit) => permit.bytes)),
    });
  }

  #reasonToShed(load: Load, reserveBytes: number): ShedReason | null {
    const { maxTurns } = this.#options;
    if (this.#draining) return "draining";
    if (this.#live.size === 0) return null;
    if (maxTurns !== null && this.#live.size >= maxTurns) return "max_turns";
    return fits(load, reserveBytes) ? null : "memory";
  }

  #take(demand: Demand, nowMs: number): Permit {
    this.#admitted += 1;
    const permit: Permit = {
      id: this.#admitted,
      bytes: demand.reserveBytes,
      admittedAtMs: nowMs,
      demand,
      [Symbol.dispose]: () => {
        if (!this.#live.delete(permit)) return;
        const now = this.#options.now ?? Date.now;
        this.#durations.add(Math.max(0, now() - nowMs)); // The clock may have been set back.
      },
    };
    this.#live.add(permit);
    return permit;
  }

  #describeShed(reason: ShedReason, load: Load, reserveBytes: number, nowMs: number): Shed {
    const inflight = this.#live.size;
    return {
      reason,
      // Another replica is the answer to a draining one, and it is there now.
      retryAfterSeconds: reason === "draining" ? 1 : this.#retryAfter(load, reserveBytes, nowMs),
      inflight,
      capacity: this.#capacity(load),
      text: shedText(reason, load, reserveBytes, inflight),
    };
  }

  #retryAfter(load: Load, reserveBytes: number, nowMs: number): number {
    const { parentReserveBytes, random = Math.random } = this.#options;
    const inflight = this.#live.size;
    const meanTurnBytes = (load.committedBytes - parentReserveBytes) / inflight;
    const shortBytes = load.committedBytes + reserveBytes - load.loadLineBytes;
    return retryAfterSeconds({
      elapsedMs: Array.from(this.#live, (permit) => nowMs - permit.admittedAtMs),
      durations: this.#durations,
      turnsToEnd: Math.max(1, Math.ceil(shortBytes / meanTurnBytes)),
      promises: this.#promises.outstanding(nowMs),
      jitter: random(),
    });
  }

  #countShed(shed: Shed, nowMs: number): void {
    this.#shed[shed.reason] += 1;
    if (shed.reason !== "draining") this.#promises.add(nowMs, shed.retryAfterSeconds);
    this.#lastDecision = { atMs: nowMs, text: `shed (${shed.reason}): ${shed.text}` };
  }

  #capacity(load: Load): number {
    const { turnReserveBytes: turnBytes, maxTurns } = this.#options;
    return turnsThatFit(load, { inflight: this.#live.size, turnBytes, maxTurns });
  }
}

function shedText(reason: ShedReason, load: Load, reserveBytes: number, inflight: number): string {
  if (reason === "draining") return `the replica is draining; turns in flight: ${inflight}`;
  if (reason === "max_turns") return `turns in flight: ${inflight}, as many as capacity.maxTurns`;
  const committed = inMebibytes(load.committedBytes);
  const predicted = inMebibytes(reserveBytes);
  const line = inMebibytes(load.loadLineBytes);
  return `${committed} of ${line} MiB committed; a turn is predicted ${predicted} MiB`;
}
