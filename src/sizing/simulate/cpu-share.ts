/**
 * What turns lose that answer on a replica whose CPUs are too few for all of them. A scheduler gives
 * each as much as it wants as long as that is its fair share: a turn that wants a twentieth of a core is
 * not slowed down by a start, but by so many of its kind that they want more than there is. Pure.
 *
 * @module
 */

/** Holds: what is lost grows with time, and only while too much is wanted. */
export class CpuShare {
  readonly #cpus: number;
  #lostMs = 0;
  #sinceMs = 0;
  /** The part of the time that passes that is lost. */
  #lostRatio = 0;

  constructor(cpus: number) {
    this.#cpus = cpus;
  }

  /** What a turn that has answered from the beginning on would have lost by now. */
  lostMs(nowMs: number): number {
    return this.#lostMs + this.#lostRatio * (nowMs - this.#sinceMs);
  }

  /** @param turns In flight from now on, each with a claim to so much of a core. */
  share(turns: number, cores: number, nowMs: number): void {
    this.#lostMs = this.lostMs(nowMs);
    this.#sinceMs = nowMs;
    const wanted = turns * cores;
    this.#lostRatio = wanted > this.#cpus ? 1 - this.#cpus / wanted : 0;
  }
}
