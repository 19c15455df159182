/**
 * How much room is left outside of the group that sets the limit: in the groups around it, and in
 * the machine. What binds is the least room, and that need not be where the limit is the smallest: a
 * group of 1 GiB in a slice of 2 GiB, of which others hold 1.9, has 100 MiB.
 *
 * Outside there may be hundreds of groups to ask (see `group-use.ts`), and those who ask do so fifty
 * times a second. So it is looked at less often, and what is used inside meanwhile is taken off: it
 * is used outside as well.
 *
 * @module
 */

import { KIB } from "../lib/byte-units.ts";
import { readText } from "./cgroup.ts";
import { GroupMeter } from "./group-use.ts";
import type { OuterLimit } from "./memory-limit.ts";
import { statField } from "./stat-field.ts";

const LEAST_AGE_MS = 100;
/** Looking is to take no more of the time than this. */
const LOAD_RATIO = 0.05;
/** One look that had to wait for a core took longer than it cost. */
const MOST_AGE_MS = 1000;

export class OuterRoom {
  readonly #root: string;
  readonly #clock: () => number;
  #outer: readonly OuterLimit[] = [];
  #meters: readonly (GroupMeter | null)[] = [];
  #roomBytes = Infinity;
  /** What was used inside at that look. */
  #innerBytes = 0;
  #lookedAtMs = -Infinity;
  #maxAgeMs = 0;

  /**
   * @param root Directory that stands for `/`.
   * @param clock In ms.
   */
  constructor(root: string, clock: () => number) {
    this.#root = root;
    this.#clock = clock;
  }

  /**
   * The least room of all; negative where more is used than there may be, infinite where nothing is
   * told.
   * @param innerBytes What is used inside now.
   */
  bytes(outer: readonly OuterLimit[], innerBytes: number): number {
    const nowMs = this.#clock();
    if (outer !== this.#outer) this.#useLimits(outer);
    const ageMs = nowMs - this.#lookedAtMs;
    // Also after the clock was set back.
    if (!(ageMs >= 0 && ageMs < this.#maxAgeMs)) {
      this.#roomBytes = Math.min(...outer.map((_, index) => this.#roomOf(index)));
      this.#innerBytes = innerBytes;
      this.#lookedAtMs = nowMs;
      const maxAgeMs = (this.#clock() - nowMs) / LOAD_RATIO;
      this.#maxAgeMs = Math.min(Math.max(LEAST_AGE_MS, maxAgeMs), MOST_AGE_MS);
    }
    return this.#roomBytes - (innerBytes - this.#innerBytes);
  }

  #useLimits(outer: readonly OuterLimit[]): void {
    this.#outer = outer;
    this.#meters = outer.map(({ group }) => group && new GroupMeter(group));
    this.#lookedAtMs = -Infinity;
  }

  #roomOf(index: number): number {
    const { bytes: limitBytes, group } = this.#outer[index] as OuterLimit;
    const meter = this.#meters[index] ?? null;
    if (group === null || meter === null) return availableBytes(this.#root) ?? Infinity;
    const usedBytes = meter.usedBytes(limitBytes);
    return usedBytes === null ? Infinity : limitBytes - usedBytes;
  }
}

/** What the machine has left. A sandbox that makes it up tells no less than it lets processes have. */
function availableBytes(root: string): number | null {
  const file = readText(root, "proc/meminfo");
  const kibibytes = file.status === "read" ? statField(file.text, "MemAvailable") : null;
  return kibibytes === null ? null : kibibytes * KIB;
}
