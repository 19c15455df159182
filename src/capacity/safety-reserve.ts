/**
 * What is kept free below the limit: the guard's brake, and a margin so that an admission never
 * walks into it. How much the brake must keep depends on the text that runs, which is measured.
 *
 * @module
 */

import { MARGIN_BYTES } from "./guard-level.ts";
import { brakeBytes, floorBytes } from "./guard-lines.ts";

export interface SafetyReserveOptions {
  /** The setting `capacity.safetyReserve`; null to measure. */
  readonly settingBytes: number | null;
  /** Cores that the replica may use. */
  readonly cores: number;
}

export class SafetyReserve {
  readonly #options: SafetyReserveOptions;
  #mappedBytes: number | null = null;
  #kernelKillsAll = false;

  constructor(options: SafetyReserveOptions) {
    this.#options = options;
  }

  /** Between the limit and the load line. */
  get bytes(): number {
    return this.#options.settingBytes ?? this.brakeBytes + MARGIN_BYTES;
  }

  /** With less free the guard ends what balloons. */
  get brakeBytes(): number {
    const { settingBytes, cores } = this.#options;
    const floor = floorBytes(this.#mappedBytes);
    const brake = brakeBytes({ floorBytes: floor, kernelKillsAll: this.#kernelKillsAll, cores });
    return settingBytes === null ? brake : Math.min(brake, settingBytes);
  }

  /** At its limit the kernel ends everything in the group: the guard must be earlier. */
  kernelKillsAll(): void {
    this.#kernelKillsAll = true;
  }

  /**
   * Takes in how many file pages are mapped while turns run and memory is not short. The most
   * counts: what is not mapped now will be again.
   */
  sawMapped(mappedFileBytes: number | null): void {
    if (mappedFileBytes === null) return;
    this.#mappedBytes = Math.max(this.#mappedBytes ?? 0, mappedFileBytes);
  }
}
