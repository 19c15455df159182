/**
 * What happened in a simulation, counted as it goes on.
 *
 * @module
 */

import { Histogram } from "./histogram.ts";
import { SIMULATED_SHED_REASONS, type SimulatedShed, type Replica } from "./replica.ts";

/** Batches that the measured time is cut into for the confidence interval. */
const BATCHES = 30;

/** Every attempt ends in exactly one of the first three; every turn in one of the last three. */
export interface Counts {
  attempts: number;
  /** Attempts that were admitted and ran to their end. */
  served: number;
  shed: Record<SimulatedShed, number>;
  /** Attempts that were admitted, and whose replica was gone before they ended. */
  lost: number;
  turns: number;
  /** Turns that were never admitted: their clients ceased to ask. */
  givenUp: number;
}

export interface SamplePoint {
  readonly atMs: number;
  readonly attempts: number;
  readonly shed: number;
  readonly served: number;
  readonly lost: number;
  readonly replicasUp: number;
  /** Replicas, with those that start or have failed, without those that drain. */
  readonly replicas: number;
  readonly inflight: number;
  /** Memory in use as part of the load line: mean and most of all replicas that are up. */
  readonly usedRatio: number;
  readonly mostUsedRatio: number;
  /** First tokens of turns that ended since the point before; NaN if none did. */
  readonly firstTokenP95Ms: number;
}

export class Tally {
  /** What was counted in all the time. */
  readonly all = noCounts();
  /** What was counted of what began after the warm-up and before the end. */
  readonly measured = noCounts();
  readonly batchAttempts = new Float64Array(BATCHES);
  readonly batchShed = new Float64Array(BATCHES);
  /** From the attempt that was served, and from the first one of the turn. */
  readonly firstToken = new Histogram();
  readonly firstTokenFromFirst = new Histogram();
  readonly startWait = new Histogram();
  readonly usedRatios = new Histogram(1e-4);
  readonly points: SamplePoint[] = [];
  /** Times at which what was in use went over the load line, or over the limit itself. */
  overLine = 0;
  overLimit = 0;
  mostUsedRatio = 0;
  mostCommittedRatio = 0;
  /** Turns in flight times how long they were, in the measured time; the same of replicas. */
  inflightMs = 0;
  replicaMs = 0;
  inflight = 0;
  #inflightSinceMs = 0;
  readonly #fromMs: number;
  readonly #toMs: number;
  readonly #since = { ...noCounts(), firstToken: new Histogram() };

  constructor(fromMs: number, toMs: number) {
    this.#fromMs = fromMs;
    this.#toMs = toMs;
  }

  isMeasured(atMs: number): boolean {
    return atMs >= this.#fromMs && atMs < this.#toMs;
  }

  /** @param more Turns in flight than before; 0 for the account alone. */
  countInflight(more: number, nowMs: number): void {
    const fromMs = Math.max(this.#inflightSinceMs, this.#fromMs);
    const toMs = Math.min(nowMs, this.#toMs);
    if (toMs > fromMs) this.inflightMs += this.inflight * (toMs - fromMs);
    this.#inflightSinceMs = nowMs;
    this.inflight += more;
  }

  turn(atMs: number): void {
    this.all.turns += 1;
    if (this.isMeasured(atMs)) this.measured.turns += 1;
  }

  /** @param reason Null if it was admitted. */
  attempt(atMs: number, reason: SimulatedShed | null): void {
    this.all.attempts += 1;
    this.#since.attempts += 1;
    const isShed = reason !== null;
    if (isShed) {
      this.all.shed[reason] += 1;
      this.#since.shed[reason] += 1;
    }
    if (!this.isMeasured(atMs)) return;
    this.measured.attempts += 1;
    const share = (atMs - this.#fromMs) / (this.#toMs - this.#fromMs);
    const batch = Math.min(BATCHES - 1, Math.floor(share * BATCHES));
    this.batchAttempts[batch]! += 1;
    if (!isShed) return;
    this.measured.shed[reason] += 1;
    this.batchShed[batch]! += 1;
  }

  givenUp(askedAtMs: number): void {
    this.all.givenUp += 1;
    if (this.isMeasured(askedAtMs)) this.measured.givenUp += 1;
  }

  lost(admittedAtMs: number): void {
    this.all.lost += 1;
    this.#since.lost += 1;
    if (this.isMeasured(admittedAtMs)) this.measured.lost += 1;
  }

  served(turn: {
    readonly askedAtMs: number;
    readonly admittedAtMs: number;
    readonly startedAtMs: number;
    readonly firstTokenAtMs: number;
  }): void {
    const { askedAtMs, admittedAtMs, startedAtMs, firstTokenAtMs } = turn;
    this.all.served += 1;
    this.#since.served += 1;
    this.#since.firstToken.add(firstTokenAtMs - admittedAtMs);
    if (!this.isMeasured(admittedAtMs)) return;
    this.measured.served += 1;
    this.firstToken.add(firstTokenAtMs - admittedAtMs);
    this.firstTokenFromFirst.add(firstTokenAtMs - askedAtMs);
    this.startWait.add(startedAtMs - admittedAtMs);
  }

  /** A turn was admitted there. */
  committed({ inflight, committedBytes, loadLineBytes }: Replica): void {
    // A first turn on an idle replica may be above the line: that is no promise that was broken.
    if (inflight <= 1) return;
    const ratio = committedBytes / loadLineBytes;
    if (ratio > this.mostCommittedRatio) this.mostCommittedRatio = ratio;
  }

  /** A turn holds more than before, or less. */
  used(beforeBytes: number, { usedBytes, loadLineBytes, terms: { limitBytes } }: Replica): void {
    const ratio = usedBytes / loadLineBytes;
    if (ratio > this.mostUsedRatio) this.mostUsedRatio = ratio;
    if (usedBytes > loadLineBytes && beforeBytes <= loadLineBytes) this.overLine += 1;
    if (usedBytes > limitBytes && beforeBytes <= limitBytes) this.overLimit += 1;
  }

  /** Takes what was counted since the point before into a new one. */
  point(
    now: Pick<
      SamplePoint,
      "atMs" | "replicasUp" | "replicas" | "inflight" | "usedRatio" | "mostUsedRatio"
    >,
  ): void {
    const since = this.#since;
    this.points.push({
      ...now,
      attempts: since.attempts,
      shed: SIMULATED_SHED_REASONS.reduce((sum, reason) => sum + since.shed[reason], 0),
      served: since.served,
      lost: since.lost,
      firstTokenP95Ms: since.firstToken.quantile(0.95),
    });
    Object.assign(since, noCounts());
    since.firstToken.clear();
  }
}

function noCounts(): Counts {
  const shed = { memory: 0, max_turns: 0, start: 0, unreachable: 0 };
  return { attempts: 0, served: 0, shed, lost: 0, turns: 0, givenUp: 0 };
}
