/**
 * What a process holds that was forked and runs no program of its own: the workers of a Python pool,
 * a server that forks ahead. What the kernel tells of each cheaply has the pages in it that it shares
 * with its parent, which still has them.
 *
 *     at first     what it shows beyond its parent: between fork and exec that is nothing
 *     later        what is its own by the page tables, plus what it has grown by since
 *
 * Walking the page tables of a process of 64 MiB takes 0.5 ms, of 256 MiB up to 25 where they are not
 * in any cache. So only those that could matter are walked, a few at a time, and in between it is
 * what is shown that changes.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { type ForkedBytes, type ProcessStat, readForkedBytes } from "./proc.ts";

/** An exec comes sooner; until then it may even run in the memory of its parent (vfork). */
const SETTLED_MS = 100;
/** Smaller processes are not walked: they are no balloon, and there can be many. */
const LEAST_BYTES = 16 * MIB;
/** Larger processes are not walked: that would hold the guard up for too long. */
const MOST_BYTES = 512 * MIB;
/** The most that is walked at one look; one process always is. */
const MOST_BYTES_PER_LOOK = 128 * MIB;
const MOST_PER_LOOK = 8;
/** Between two walks of a process: copies on write do not show, and nobody makes many in less. */
const ROUND_MS = 500;
/** The share of one core that walks may take. */
const LOAD_RATIO = 0.025;

interface Known {
  readonly startTicks: number;
  readonly sinceMs: number;
  /** What it showed when it was first seen. */
  readonly firstBytes: number;
  /** What its last walk found, and what it showed then; null before it. */
  walked: { readonly bytes: ForkedBytes; readonly shownBytes: number } | null;
  /** The round in which it was walked last. */
  round: number;
}

/** What forked processes hold. Who is not asked for at one look is forgotten at the next. */
export class ForkedMemory {
  readonly #read: (pid: number) => ForkedBytes | null;
  readonly #clock: () => number;
  #before: ReadonlyMap<number, Known> = new Map();
  #known = new Map<number, Known>();
  #nowMs = 0;
  #nextWalkMs = -Infinity;
  /** Nobody is walked twice in a round, which lasts until all have been. */
  #round = 0;
  #roundBeganMs = -Infinity;
  #isBehind = false;
  #walkedBytes = 0;
  #walks = 0;
  #walksTookMs = 0;

  /** @param clock In ms: what a walk takes bounds how soon there is another. */
  constructor(
    read: (pid: number) => ForkedBytes | null = readForkedBytes,
    clock: () => number = monotonicMs,
  ) {
    this.#read = read;
    this.#clock = clock;
  }

  beginLook(nowMs: number): void {
    if (this.#walks > 0) this.#nextWalkMs = this.#nowMs + this.#walksTookMs / LOAD_RATIO;
    if (!this.#isBehind && nowMs - this.#roundBeganMs >= ROUND_MS) {
      this.#round += 1;
      this.#roundBeganMs = nowMs;
    }
    this.#isBehind = false;
    this.#before = this.#known;
    this.#known = new Map();
    this.#nowMs = nowMs;
    this.#walkedBytes = 0;
    this.#walks = 0;
    this.#walksTookMs = 0;
  }

  /**
   * What the process holds of its own.
   * @param shownBytes What it shows.
   * @param parentBytes What its parent shows, which is counted in full; null if that has ended: then
   *   all who share pages have their parts of them.
   */
  ownBytes(stat: ProcessStat, shownBytes: number, parentBytes: number | null): number {
    const beyondBytes = Math.max(0, shownBytes - (parentBytes ?? 0));
    const known = this.#knownOf(stat, shownBytes);
    if (shownBytes < LEAST_BYTES || this.#nowMs - known.sinceMs < SETTLED_MS) return beyondBytes;
    if (this.#isDue(stat, shownBytes, known)) {
      if (this.#hasTimeFor(shownBytes)) this.#walk(stat, shownBytes, known);
      else this.#isBehind = true;
    }
    const { walked, firstBytes } = known;
    if (walked === null) return Math.max(beyondBytes, shownBytes - firstBytes);
    const { privateBytes, sharedPartBytes } = walked.bytes;
    const bytes = privateBytes + (parentBytes === null ? sharedPartBytes : 0);
    return Math.max(0, bytes + shownBytes - walked.shownBytes);
  }

  #knownOf({ pid, startTicks }: ProcessStat, firstBytes: number): Known {
    const before = this.#known.get(pid) ?? this.#before.get(pid);
    const isSame = before?.startTicks === startTicks;
    const sinceMs = this.#nowMs;
    const known = isSame ? before : { startTicks, sinceMs, firstBytes, walked: null, round: 0 };
    this.#known.set(pid, known);
    return known;
  }

  /**
   * Whether the process is to be walked in this round. One that waits in the kernel may hold the lock
   * of what is walked, and we would wait with it.
   */
  #isDue({ waitsInKernel }: ProcessStat, shownBytes: number, { round }: Known): boolean {
    return !waitsInKernel && shownBytes <= MOST_BYTES && round !== this.#round;
  }

  #hasTimeFor(shownBytes: number): boolean {
    const isWithin =
      this.#walks < MOST_PER_LOOK && this.#walkedBytes + shownBytes <= MOST_BYTES_PER_LOOK;
    return this.#nowMs >= this.#nextWalkMs && (this.#walks === 0 || isWithin);
  }

  #walk({ pid }: ProcessStat, shownBytes: number, known: Known): void {
    const beganMs = this.#clock();
    const bytes = this.#read(pid);
    this.#walksTookMs += this.#clock() - beganMs;
    this.#walks += 1;
    this.#walkedBytes += shownBytes;
    known.round = this.#round;
    if (bytes !== null) known.walked = { bytes, shownBytes };
  }
}
