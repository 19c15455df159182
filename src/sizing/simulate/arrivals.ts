/**
 * When turns, or sessions, begin: by chance at a rate that may change, or as a trace has it. Pure.
 *
 * @module
 */

import type { Random } from "./random.ts";
import type { TraceTurns } from "../trace.ts";

export const ARRIVAL_PROCESSES = ["poisson", "bursty", "diurnal", "trace"] as const;

/** A time in which more, or fewer, come than otherwise. */
export interface ArrivalBurst {
  readonly atMs: number;
  readonly lengthMs: number;
  readonly factor: number;
}

export interface RateTerms {
  readonly process: "poisson" | "bursty" | "diurnal";
  /** On average, without the bursts that are named. */
  readonly ratePerMs: number;
  /** For `bursty`: spells of exponential length, in turn. */
  readonly spells: { readonly factor: number; readonly burstMs: number; readonly calmMs: number };
  /** For `diurnal`: a sine around the mean, lowest at the beginning. */
  readonly day: { readonly swingRatio: number; readonly periodMs: number };
  readonly bursts: readonly ArrivalBurst[];
  readonly endMs: number;
}

export interface Arrivals {
  /** When the next one comes; infinite when nobody comes any more. */
  next(): number;
  /** What a trace says of the one that came last; NaN where it says nothing. */
  readonly durationMs: number;
  readonly transcriptBytes: number;
  /** The session that a trace names, and how many turns that has in all; -1 without. */
  readonly session: number;
  readonly sessionTurns: number;
}

/** A Poisson process whose rate is constant for a while, and within it thinned where it is not. */
export class RateArrivals implements Arrivals {
  readonly durationMs = Number.NaN;
  readonly transcriptBytes = Number.NaN;
  readonly session = -1;
  readonly sessionTurns = 0;
  readonly #terms: RateTerms;
  readonly #random: Random;
  /** Moments at which a named burst begins or ends, and the end. */
  readonly #edgesMs: readonly number[];
  readonly #calmRatePerMs: number;
  #atMs = 0;
  #isBurst = false;
  #spellEndMs = Infinity;

  constructor(terms: RateTerms, random: Random) {
    this.#terms = terms;
    this.#random = random;
    const edges = terms.bursts.flatMap(({ atMs, lengthMs }) => [atMs, atMs + lengthMs]);
    this.#edgesMs = [...edges.filter((edgeMs) => edgeMs < terms.endMs), terms.endMs].sort(
      (a, b) => a - b,
    );
    this.#calmRatePerMs = calmRate(terms);
    if (terms.process === "bursty") {
      const { burstMs, calmMs } = terms.spells;
      this.#isBurst = random.next() < burstMs / (burstMs + calmMs);
      this.#drawSpell();
    }
  }

  next(): number {
    for (;;) {
      const edgeMs = this.#edgesMs.find((each) => each > this.#atMs);
      if (edgeMs === undefined) return Infinity;
      const untilMs = Math.min(edgeMs, this.#spellEndMs);
      const most = this.#mostPerMs();
      const candidateMs = most > 0 ? this.#atMs + this.#random.exponential(1 / most) : Infinity;
      // Without memory: from the edge on one may begin to wait anew.
      if (candidateMs >= untilMs) {
        this.#atMs = untilMs;
        if (untilMs === this.#spellEndMs) this.#changeSpell();
        continue;
      }
      this.#atMs = candidateMs;
      if (this.#isKept()) return candidateMs;
    }
  }

  /** The highest rate until the next edge. */
  #mostPerMs(): number {
    const { process, day, spells, bursts } = this.#terms;
    let rate = this.#calmRatePerMs;
    if (process === "diurnal") rate *= 1 + day.swingRatio;
    if (this.#isBurst) rate *= spells.factor;
    for (const { atMs, lengthMs, factor } of bursts) {
      if (this.#atMs >= atMs && this.#atMs < atMs + lengthMs) rate *= factor;
    }
    return rate;
  }

  #isKept(): boolean {
    const { process, day } = this.#terms;
    if (process !== "diurnal") return true;
    const wave = 1 - day.swingRatio * Math.cos((2 * Math.PI * this.#atMs) / day.periodMs);
    return this.#random.next() * (1 + day.swingRatio) < wave;
  }

  #changeSpell(): void {
    this.#isBurst = !this.#isBurst;
    this.#drawSpell();
  }

  #drawSpell(): void {
    const { burstMs, calmMs } = this.#terms.spells;
    this.#spellEndMs = this.#atMs + this.#random.exponential(this.#isBurst ? burstMs : calmMs);
  }
}

/** Such that the mean over bursts and calm is the rate that was asked for. */
function calmRate({ process, ratePerMs, spells }: RateTerms): number {
  if (process !== "bursty") return ratePerMs;
  const { factor, burstMs, calmMs } = spells;
  return (ratePerMs * (burstMs + calmMs)) / (factor * burstMs + calmMs);
}

export class TraceArrivals implements Arrivals {
  durationMs = Number.NaN;
  transcriptBytes = Number.NaN;
  session = -1;
  sessionTurns = 0;
  readonly #turnsOf: ReadonlyMap<number, number>;
  readonly #trace: TraceTurns;
  readonly #endMs: number;
  #next = 0;

  constructor(trace: TraceTurns, endMs: number) {
    this.#trace = trace;
    this.#turnsOf = turnsBySession(trace);
    this.#endMs = endMs;
  }

  next(): number {
    const { atMs, durationMs, transcriptBytes, session } = this.#trace;
    const at = this.#next;
    const nextMs = atMs[at] ?? Infinity;
    if (nextMs >= this.#endMs) return Infinity;
    this.#next += 1;
    this.durationMs = durationMs[at] ?? Number.NaN;
    this.transcriptBytes = transcriptBytes[at] ?? Number.NaN;
    this.session = session?.[at] ?? -1;
    this.sessionTurns = this.#turnsOf.get(this.session) ?? 0;
    return nextMs;
  }
}

/** How many turns a trace has of each session that it names. */
export function turnsBySession({ session }: TraceTurns): ReadonlyMap<number, number> {
  const turns = new Map<number, number>();
  for (const each of session ?? []) {
    if (each >= 0) turns.set(each, (turns.get(each) ?? 0) + 1);
  }
  return turns;
}
