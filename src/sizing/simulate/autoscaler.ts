/**
 * How many replicas an autoscaler wants: as many as bring the turns in flight to a target share of
 * what they have room for, as the Horizontal Pod Autoscaler of Kubernetes does. Up at once, down only
 * when fewer were enough for a while.
 *
 * Source: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
 *
 * @module
 */

export interface AutoscalerTerms {
  readonly min: number;
  readonly max: number;
  /** Turns in flight as part of what there is room for, in (0, 1]. */
  readonly targetRatio: number;
  /** Turns that one replica has room for. */
  readonly turnsPerReplica: number;
  /** Between two decisions. */
  readonly intervalMs: number;
  /** How old the figure is that is decided on. */
  readonly lagMs: number;
  /** For how long fewer must have been enough. */
  readonly scaleDownAfterMs: number;
}

/** So close to the target nothing is done. */
const TOLERANCE_RATIO = 0.1;

interface Seen {
  readonly atMs: number;
  readonly value: number;
}

export class Autoscaler {
  readonly #terms: AutoscalerTerms;
  /** Turns in flight, as they were; the first of them is the one that is known. */
  #inflight: Seen[] = [];
  /** What was enough, in the time that a step down waits for. */
  #enough: Seen[] = [];

  constructor(terms: AutoscalerTerms) {
    this.#terms = terms;
  }

  get intervalMs(): number {
    return this.#terms.intervalMs;
  }

  /** @param now At each interval: how many turns are in flight, and how many replicas are wanted. */
  wanted(now: {
    readonly nowMs: number;
    readonly inflight: number;
    readonly wantedNow: number;
  }): number {
    const { min, max, targetRatio, turnsPerReplica, lagMs, scaleDownAfterMs } = this.#terms;
    const { nowMs, wantedNow } = now;
    this.#inflight.push({ atMs: nowMs, value: now.inflight });
    const known = this.#inflight.filter(({ atMs }) => atMs <= nowMs - lagMs).at(-1);
    if (known === undefined) return wantedNow;
    this.#inflight = this.#inflight.filter(({ atMs }) => atMs >= known.atMs);
    const exact = known.value / (turnsPerReplica * targetRatio);
    const isNear = Math.abs(exact / wantedNow - 1) <= TOLERANCE_RATIO;
    const enough = Math.min(max, Math.max(min, isNear ? wantedNow : Math.ceil(exact)));
    this.#enough = this.#enough.filter(({ atMs }) => atMs > nowMs - scaleDownAfterMs);
    this.#enough.push({ atMs: nowMs, value: enough });
    if (enough >= wantedNow) return enough;
    return Math.min(wantedNow, Math.max(...this.#enough.map(({ value }) => value)));
  }
}
