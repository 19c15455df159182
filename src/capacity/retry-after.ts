/**
 * When a refused caller should come back: from how long turns take here, how long those in flight
 * have run, and how many callers were already told to come. Never a constant, since a constant
 * brings all of them back at once.
 *
 * The promise: at that time at least 80 % of the callers would be admitted if no one else came.
 *
 *     turns in flight ─▶ chance that each has ended after t ─▶ enough have, with 80 % certainty
 *     promises given  ─▶ the next caller waits for as many turns more to end as those will take
 *
 * @module
 */

const SHORTEST_RETRY_SECONDS = 1;

/** Waits are stretched by up to this share, so that equal promises do not come back as one. */
const JITTER_RATIO = 0.25;
/** Standard deviations below the mean that are exceeded with 80 % certainty. */
const DEVIATIONS_FOR_80_PERCENT = 0.8416;

/** Taken for the length of a turn before one has ended. */
export const PRESUMED_TURN_MS = 15_000;
/** Durations remembered: enough for a distribution, few enough to follow a change. */
const WINDOW_SIZE = 256;
/** The longest of them may have been stuck: up to this share, and one of at least so many. */
const STUCK_SHARE = 1 / 64;
const LEAST_TO_TELL_STUCK = 8;
/** How much longer than the longest of the others one must be to be taken for stuck. */
const STUCK_FACTOR = 8;

export interface RetryInput {
  /** How long each turn in flight has run; one or more. */
  readonly elapsedMs: readonly number[];
  readonly durations: Pick<DurationWindow, "sortedMs" | "meanMs" | "deviationMs">;
  /** Turns that must end before one more has room; 1 or more. */
  readonly turnsToEnd: number;
  /** Turns' room that is promised to callers who were told to come back and are not yet due. */
  readonly promises: number;
  readonly spread: Spread;
}

/** How an answer is bounded, and kept apart from others. */
export interface Spread {
  /** In [0, 1): where in the stretch it falls. */
  readonly jitter: number;
  /** Whole, 1 or more. */
  readonly longestSeconds: number;
}

/**
 * Whole seconds, from 1 to the longest. Does not decrease with `promises` for the same turns and
 * jitter.
 */
export function retryAfterSeconds(input: RetryInput): number {
  const inflight = Math.max(1, input.elapsedMs.length);
  const place = input.promises + Math.min(input.turnsToEnd, inflight) - 1;
  // Each round of promises waits for the turns of the round before it, which are not yet there.
  const round = Math.floor(place / inflight);
  const { meanMs, deviationMs } = input.durations;
  const marginMs = (DEVIATIONS_FOR_80_PERCENT * deviationMs) / Math.sqrt(inflight);
  // On average they begin half a jitter later than they could.
  const roundSeconds = ((meanMs + marginMs) / 1000) * (1 + JITTER_RATIO / 2);
  const base = round * roundSeconds + secondsUntilEnded(input, (place % inflight) + 1);
  // The long turns of one round may outlast the short ones of the next: keep the order.
  const atLeast = round === 0 ? 0 : (round - 1) * roundSeconds + secondsUntilEnded(input, inflight);
  return spreadSeconds(Math.max(base, atLeast), input.spread, roundSeconds);
}

/**
 * A wait in whole seconds, from 1 to the longest, stretched by chance.
 *
 * @param gapSeconds Between those who are told to come one after the other, where that is known: a
 *   longer stretch would let them come in any order, into each other's turn. Those whose wait is cut
 *   are told the same, and are spread as far as there is room.
 */
export function spreadSeconds(
  seconds: number,
  { jitter, longestSeconds }: Spread,
  gapSeconds = Infinity,
): number {
  const longestBase = longestBaseSeconds(longestSeconds);
  const isCut = seconds >= longestBase;
  const base = isCut ? longestBase : seconds;
  const stretch = JITTER_RATIO * jitter * Math.min(base, isCut ? Infinity : gapSeconds);
  return Math.max(SHORTEST_RETRY_SECONDS, Math.ceil(base + stretch));
}

/** Leaves room for the jitter below the longest wait: there, too, callers come back spread. */
function longestBaseSeconds(longestSeconds: number): number {
  return longestSeconds / (1 + JITTER_RATIO);
}

/** A session at rest, whose memory is given back when it leaves. */
export interface Leaving {
  readonly inMs: number;
  readonly bytes: number;
}

/**
 * When sessions will have given back so many bytes, if none of them has a turn before; or all they
 * have, since an idle replica takes any turn. Null where nobody knows when one leaves.
 */
export function msUntilGivenBack(leaving: readonly Leaving[], bytes: number): number | null {
  let missing = bytes;
  let lastMs: number | null = null;
  for (const { inMs, bytes: given } of leaving.toSorted((a, b) => a.inMs - b.inMs)) {
    lastMs = inMs;
    missing -= given;
    if (missing <= 0) break;
  }
  return lastMs;
}

/** Smallest whole number of seconds after which that many turns have ended, 80 % certain. */
function secondsUntilEnded(input: RetryInput, count: number): number {
  let low = 1;
  let high = longestBaseSeconds(input.spread.longestSeconds);
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (haveEnded(input, count, middle * 1000)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Whether `count` of the turns have ended after `waitMs`, with 80 % certainty. The number that
 * ends is a sum of independent yes-or-no's, taken as normal with the usual correction of a half.
 */
function haveEnded(input: RetryInput, count: number, waitMs: number): boolean {
  let mean = 0;
  let variance = 0;
  for (const elapsedMs of input.elapsedMs) {
    const chance = chanceToEnd(input.durations.sortedMs, elapsedMs, waitMs);
    mean += chance;
    variance += chance * (1 - chance);
  }
  return mean - DEVIATIONS_FOR_80_PERCENT * Math.sqrt(variance) >= count - 0.5;
}

/** P(ends within `waitMs` | has run `elapsedMs`), from the durations seen. */
function chanceToEnd(sortedMs: ArrayLike<number>, elapsedMs: number, waitMs: number): number {
  const alreadyEnded = countUpTo(sortedMs, elapsedMs);
  const stillRunning = sortedMs.length - alreadyEnded;
  // It outlived all that were seen. Then it is as likely as not to last as long again.
  if (stillRunning === 0) return waitMs / (elapsedMs + waitMs);
  return (countUpTo(sortedMs, elapsedMs + waitMs) - alreadyEnded) / stillRunning;
}

/** How many of the ascending values are at most `value`. */
function countUpTo(sorted: ArrayLike<number>, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The durations of the last {@link WINDOW_SIZE} turns; of one presumed turn before any ended. What
 * is asked of them is worked out once for each turn that ends: refusals come by the thousand.
 */
export class DurationWindow {
  /** In the order in which the turns ended. */
  readonly #latest: number[] = [];
  #described: Described | null = describe([PRESUMED_TURN_MS]);

  add(durationMs: number): void {
    this.#latest.push(durationMs);
    if (this.#latest.length > WINDOW_SIZE) this.#latest.shift();
    this.#described = null;
  }

  /** Ascending, never empty. */
  get sortedMs(): Float64Array {
    return this.#now.sortedMs;
  }

  get meanMs(): number {
    return this.#now.meanMs;
  }

  /** Standard deviation. */
  get deviationMs(): number {
    return this.#now.deviationMs;
  }

  get #now(): Described {
    this.#described ??= describe(this.#latest);
    return this.#described;
  }
}

type Described = Pick<DurationWindow, "sortedMs" | "meanMs" | "deviationMs">;

function describe(durationsMs: readonly number[]): Described {
  const count = durationsMs.length;
  // As numbers, and not by a function that compares: several times as fast.
  const sortedMs = Float64Array.from(durationsMs).toSorted();
  const mostMs = longestOf(sortedMs);
  for (let at = count - 1; (sortedMs[at] ?? 0) > mostMs; at -= 1) sortedMs[at] = mostMs;
  const meanMs = sortedMs.reduce((total, ms) => total + ms, 0) / count;
  const squares = sortedMs.reduce((total, ms) => total + (ms - meanMs) ** 2, 0);
  return { sortedMs, meanMs, deviationMs: Math.sqrt(squares / count) };
}

/**
 * The longest that a turn is taken to last. One in 256 that was stuck for an hour would otherwise
 * make all rounds of promises several times as long, until it is forgotten.
 */
function longestOf(sortedMs: Float64Array): number {
  const count = sortedMs.length;
  if (count < LEAST_TO_TELL_STUCK) return Infinity;
  return STUCK_FACTOR * (sortedMs[count - 1 - Math.ceil(count * STUCK_SHARE)] ?? Infinity);
}

/**
 * The room that is promised to callers who are not yet due, in turns, by the second in which they
 * are. Who brings a long transcript takes the room of several: counted as one, those behind it would
 * come too early. Bounded by the longest wait, however many callers are refused.
 */
export class PromiseBook {
  readonly #dueInSecond: Uint32Array;
  #outstanding = 0;
  #second = 0;

  /** @param longestSeconds The longest wait that is promised: 4 bytes for each second of it. */
  constructor(longestSeconds: number) {
    this.#dueInSecond = new Uint32Array(longestSeconds + 1);
  }

  /** Turns' room of callers not yet due. */
  outstanding(nowMs: number): number {
    const second = Math.floor(nowMs / 1000);
    const oldest = Math.max(this.#second + 1, second - this.#dueInSecond.length + 1);
    for (let passed = oldest; passed <= second; passed += 1) {
      const slot = passed % this.#dueInSecond.length;
      this.#outstanding -= this.#dueInSecond[slot] ?? 0;
      this.#dueInSecond[slot] = 0;
    }
    // A clock that was set back changes nothing until it has caught up.
    this.#second = Math.max(this.#second, second);
    return this.#outstanding;
  }

  /** @param seconds At most the longest wait. */
  add(nowMs: number, seconds: number, turns = 1): void {
    this.outstanding(nowMs);
    const slot = (this.#second + seconds) % this.#dueInSecond.length;
    this.#dueInSecond[slot] = (this.#dueInSecond[slot] ?? 0) + turns;
    this.#outstanding += turns;
  }
}
