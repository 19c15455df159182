/**
 * What is kept free below the limit: the guard's brake, and a margin so that an admission never
 * walks into it. How much the brake must keep depends on the text that runs, which is measured.
 *
 * @module
 */

import { inMebibytes } from "../lib/bytes.ts";
import { MARGIN_BYTES } from "./guard-level.ts";
import { brakeBytes, floorBytes, raceBytes, textPeakBytes } from "./guard-lines.ts";
import { LIMIT_MAX_AGE_MS } from "./limit-watch.ts";

export interface SafetyReserveOptions {
  /** The setting `capacity.safetyReserve`; null to measure. */
  readonly settingBytes: number | null;
  /** Cores that the replica may use. */
  readonly cores: number;
  /** The limit as it is now; absent for none. */
  readonly limitBytes?: () => number;
}

export class SafetyReserve {
  readonly #settingBytes: number | null;
  readonly #limitBytes: () => number;
  #cores: number;
  #mappedBytes: number | null = null;
  #kernelKillsAll = false;

  constructor({ settingBytes, cores, limitBytes }: SafetyReserveOptions) {
    this.#settingBytes = settingBytes;
    this.#limitBytes = limitBytes ?? (() => Infinity);
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
      limitBytes: this.#limitBytes(),
    });
    return this.#within(brake);
  }

  /** Whether the guard can be too late, for the log; null if not. */
  get note(): string | null {
    const { brakeBytes: brake } = this;
    const race = raceBytes(this.#cores);
    if (!this.#kernelKillsAll || brake >= race) return null;
    return (
      "At the limit the kernel ends everything here at once. The memory guard acts when less than " +
      `${inMebibytes(brake)} MiB are free; a tool that fills memory as fast as it can takes up to ` +
      `${inMebibytes(race)} MiB until it is ended, and can win. A larger memory limit helps`
    );
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
