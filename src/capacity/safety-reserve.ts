/**
 * What is kept free below the limit: the guard's brake, and a margin so that an admission never
 * walks into it. How much the brake must keep depends on the text that runs, which is measured.
 *
 * @module
 */

import { MARGIN_BYTES } from "./guard-level.ts";
import { brakeBytes, floorBytes, textPeakBytes } from "./guard-lines.ts";
import { LIMIT_MAX_AGE_MS } from "./limit-watch.ts";

export interface SafetyReserveOptions {
  /** The setting `capacity.safetyReserve`; null to measure. */
  readonly settingBytes: number | null;
  /** Cores that the replica may use. */
  readonly cores: number;
}

export class SafetyReserve {
  readonly #settingBytes: number | null;
  #cores: number;
  #mappedBytes: number | null = null;
  #kernelKillsAll = false;

  constructor({ settingBytes, cores }: SafetyReserveOptions) {
    this.#settingBytes = settingBytes;
    this.#cores = cores;
  }

  /** Between the limit and the load line. */
  get bytes(): number {
    return this.#settingBytes ?? this.brakeBytes + MARGIN_BYTES;
  }

  /** With less free the guard ends what balloons. */
  get brakeBytes(): number {
    const brake = brakeBytes({
      floorBytes: floorBytes(this.#mappedBytes),
      kernelKillsAll: this.#kernelKillsAll,
      cores: this.#cores,
    });
    return this.#within(brake);
  }

  /** With less free the guard ends turns that did nothing wrong as well. */
  get floorBytes(): number {
    return this.#within(floorBytes(this.#mappedBytes));
  }

  /** The replica was resized: more cores fill memory faster. */
  resize(cores: number): void {
    this.#cores = cores;
  }

  /** At its limit the kernel ends everything in the group: the guard must be earlier. */
  kernelKillsAll(): void {
    this.#kernelKillsAll = true;
  }

  /**
   * Takes in how many file pages are mapped while turns run and memory is not short; at each reading
   * of the limit.
   */
  sawMapped(mappedFileBytes: number | null): void {
    if (mappedFileBytes === null) return;
    this.#mappedBytes = textPeakBytes(this.#mappedBytes ?? 0, mappedFileBytes, LIMIT_MAX_AGE_MS);
  }

  #within(bytes: number): number {
    return Math.min(bytes, this.#settingBytes ?? Infinity);
  }
}
