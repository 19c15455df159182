/**
 * The two lines below the memory limit that the guard defends. Pure.
 *
 *     floor   what the file pages that run need; with less free, they are dropped and read again
 *             for ever, and nothing gets on, though nothing is killed
 *     brake   the guard ends what balloons when less than this is free; never below the floor. Turns
 *             that keep to their prediction it ends only below the floor
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";

/** The floor before anything was mapped, and where it is not told what is. */
const COLD_FLOOR_BYTES = 128 * MIB;
const LEAST_FLOOR_BYTES = 96 * MIB;
const MOST_FLOOR_BYTES = 256 * MIB;

/** What the floor has beside the text. */
const BESIDE_TEXT_BYTES = 32 * MIB;
/** More than the text of the server, its agent processes and their tools. */
export const MOST_TEXT_BYTES = 256 * MIB;
/** Turns come back within a day; a file that a tool has mapped is forgotten in hours. */
const TEXT_HALF_LIFE_MS = 3_600_000;

/**
 * Measured: with 75 to 80 MiB mapped by four turns, all went well at 135 MiB free, first tokens
 * took 40 % longer at 95, and nothing got on at 35; with 128 MiB mapped by seven, nothing at 122.
 *
 * @param mappedFileBytes Of the group when it is well and runs turns; null where it is not told.
 */
export function floorBytes(mappedFileBytes: number | null): number {
  if (mappedFileBytes === null) return COLD_FLOOR_BYTES;
  const needed = mappedFileBytes + BESIDE_TEXT_BYTES;
  return Math.min(Math.max(needed, LEAST_FLOOR_BYTES), MOST_FLOOR_BYTES);
}

/**
 * How much text there is when all that runs has what it needs: the most of late, since what is not
 * mapped now will be again. Mapped files that are no text cannot be told from it; but there is never
 * more text than so much, and it is mapped all the time.
 *
 * @param mappedFileBytes Of the group now, when it is well.
 * @param elapsedMs Since `peakBytes` was so; of time in which turns ran.
 */
export function textPeakBytes(
  peakBytes: number,
  mappedFileBytes: number,
  elapsedMs: number,
): number {
  const nowBytes = Math.min(mappedFileBytes, MOST_TEXT_BYTES);
  const aboveBytes = Math.max(0, peakBytes - nowBytes);
  return nowBytes + aboveBytes * 2 ** (-elapsedMs / TEXT_HALF_LIFE_MS);
}

/** One thread that touches fresh memory fills so much: 2.5 GiB/s, measured with Python and Node. */
const FILL_BYTES_PER_MS = 2.5 * MIB;
/** More threads hardly fill faster: the kernel hands out the pages of one group. */
const FILLING_THREADS_MOST = 2;
/** The time between two looks while there is anything to watch. A look takes 0.1 ms. */
export const LOOK_PAUSE_MS = 20;
const LEAST_LOOK_PAUSE_MS = 5;
/** How late the timer of a look is under load, and hardly ever more: measured. */
const TIMER_LATENESS_MS = 60;
/** From the look that names somebody to the moment in which that takes no more memory. */
const KILL_MS = 5;
/** From the reading that shows it to the process that is gone. */
const REACTION_MS = LOOK_PAUSE_MS + TIMER_LATENESS_MS + KILL_MS;

/**
 * The most of the limit that the guard takes to be early. Of less than a gibibyte the whole race is
 * more than what a turn leaves free, and the guard would end ordinary tools where nothing fills.
 * At 512 MiB this is about what one thread fills meanwhile (213 MiB), at 1 GiB what two do.
 */
const MOST_EARLY_RATIO = 0.4;

/**
 * The brake while nothing fills. Where the kernel ends no more than one process at the limit, it is
 * the net below the guard, and the floor is early enough. Where it ends all (`memory.oom.group`, as
 * Kubernetes sets it), the guard must win against whatever fills the memory until it has looked and
 * acted.
 */
export function brakeBytes(options: {
  readonly floorBytes: number;
  readonly kernelKillsAll: boolean;
  /** Cores that the group may use. */
  readonly cores: number;
  readonly limitBytes?: number;
}): number {
  const { floorBytes: floor, kernelKillsAll, cores, limitBytes = Infinity } = options;
  if (!kernelKillsAll) return floor;
  return Math.max(floor, Math.min(raceBytes(cores), Math.floor(limitBytes * MOST_EARLY_RATIO)));
}

/**
 * The brake at the pace at which memory fills now: below it, the guard would come too late. Nothing
 * but a balloon fills so fast that this is more than the floor (a start of an agent process fills
 * 0.3 MiB/ms, a thread that touches fresh memory 2.5), so no turn is the worse for it.
 *
 * @param atRestBytes The brake while nothing fills.
 * @param filledPerMs Bytes, between the last looks.
 */
export function brakeAtPaceBytes(atRestBytes: number, filledPerMs: number, limit: number): number {
  const mostBytes = Math.min(raceBytes(FILLING_THREADS_MOST), limit * MOST_EARLY_RATIO);
  return Math.max(atRestBytes, Math.min(filledPerMs * REACTION_MS, mostBytes));
}

/** What is filled at most until the guard has looked and acted. */
export function raceBytes(cores: number): number {
  const threads = Math.min(Math.max(cores, 1), FILLING_THREADS_MOST);
  return Math.ceil(FILL_BYTES_PER_MS * threads * REACTION_MS);
}

/**
 * When to look again: sooner than usual where the fastest balloon could come to the brake before.
 * @param roomBytes What is free above the brake.
 */
export function lookPauseMs(roomBytes: number): number {
  const filledMs = roomBytes / (FILL_BYTES_PER_MS * FILLING_THREADS_MOST);
  return Math.min(Math.max(filledMs, LEAST_LOOK_PAUSE_MS), LOOK_PAUSE_MS);
}
