/**
 * How much CPU turns take, and so how many at once the CPUs of the replica can serve. Nobody is
 * shed for it: too many turns are slow, not dead. But it says which of memory and CPU will bind.
 *
 * @module
 */

import type { CpuLimit } from "./cpu-limit.ts";

/** How much one more turn changes the mean. */
const SMOOTHING_RATIO = 0.1;
/** The part of the CPUs that turns may take; the server and the system want the rest. */
const USABLE_RATIO = 0.9;
/** Shorter turns are all start: what they take a second says nothing of turns that stream. */
const SHORTEST_TURN_MS = 500;

export class CpuMeter {
  #limit: CpuLimit;
  #cpusPerTurn: number | null = null;

  constructor(limit: CpuLimit) {
    this.#limit = limit;
  }

  get limit(): CpuLimit {
    return this.#limit;
  }

  /** The replica was resized. */
  resize(limit: CpuLimit): void {
    this.#limit = limit;
  }

  /** CPUs that a turn keeps busy on average, its start included; null until one was measured. */
  get cpusPerTurn(): number | null {
    return this.#cpusPerTurn;
  }

  /** Turns at once that the CPUs can serve; null until one was measured. */
  get turnsThatFit(): number | null {
    if (this.#cpusPerTurn === null) return null;
    return Math.max(1, Math.floor((USABLE_RATIO * this.#limit.cpus) / this.#cpusPerTurn));
  }

  /** @param cpuMs Of all processes of a turn; null where it cannot be read. */
  turnEnded(cpuMs: number | null, durationMs: number): void {
    if (cpuMs === null || durationMs < SHORTEST_TURN_MS) return;
    const cpus = cpuMs / durationMs;
    const before = this.#cpusPerTurn ?? cpus;
    this.#cpusPerTurn = before + SMOOTHING_RATIO * (cpus - before);
  }
}
