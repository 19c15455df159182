/**
 * The arithmetic of admission. All in bytes:
 *
 *     load line   the memory limit less the safety reserve: no admission may cross it
 *     used        what is in use now and cannot be taken back: the server, its turns, neighbours
 *     promised    what the turns in flight, and processes started ahead, were predicted to hold and
 *                 do not hold yet
 *     pool        set aside for all of them together: some will outgrow their prediction
 *     committed   used + promised + pool
 *     headroom    the load line less committed: what is left
 *
 * A turn fits if committed and what it is predicted to hold stay below the load line. Pure.
 *
 * @module
 */

/** The bytes an admission is decided on. */
export interface Load {
  readonly loadLineBytes: number;
  readonly usedBytes: number;
  readonly promisedBytes: number;
  readonly poolBytes: number;
  readonly committedBytes: number;
  /** Never negative: above the line there is no room, however far above. */
  readonly headroomBytes: number;
}

export interface LoadInput {
  readonly limitBytes: number;
  readonly safetyReserveBytes: number;
  readonly usedBytes: number;
  readonly promisedBytes: number;
  readonly poolBytes: number;
}

/** Weighs what is on board. */
export function weigh(input: LoadInput): Load {
  const { usedBytes, promisedBytes, poolBytes } = input;
  const loadLineBytes = Math.max(0, input.limitBytes - input.safetyReserveBytes);
  const committedBytes = usedBytes + promisedBytes + poolBytes;
  const headroomBytes = Math.max(0, loadLineBytes - committedBytes);
  return { loadLineBytes, usedBytes, promisedBytes, poolBytes, committedBytes, headroomBytes };
}

/** By how much one more turn of that size would cross the load line; 0 if it fits. */
export function shortageBytes(load: Load, costBytes: number): number {
  return Math.max(0, load.committedBytes + costBytes - load.loadLineBytes);
}

/**
 * How many turns there are in all when as many of that size are added as fit. Takes time
 * logarithmic in their number, and none where not one fits.
 *
 * At least 1 where nothing is on board: an idle replica takes a turn whatever the figures say, or it
 * would be wedged by a wrong one. With 400 MiB for the server and 500 MiB a turn it is 1, 3, 7 and 15
 * on 1, 2, 4 and 8 GiB.
 */
export function turnsThatFit(
  load: Load,
  turns: {
    readonly inflight: number;
    readonly turnBytes: number;
    /** A ceiling; null for none. */
    readonly maxTurns: number | null;
    /** No turn in flight, and no session that rests: those leave no room to anyone else. */
    readonly isIdle: boolean;
    /** The pool with so many more turns; it never becomes smaller with one. */
    readonly poolBytesWith?: (more: number) => number;
    /** What can be evicted, less what is reserved for others. */
    readonly moreBytes?: number;
  },
): number {
  const { inflight, turnBytes, poolBytesWith = () => load.poolBytes, moreBytes = 0 } = turns;
  const maxTurns = turns.maxTurns ?? Infinity;
  const freeBytes = load.loadLineBytes - load.usedBytes - load.promisedBytes + moreBytes;
  let fits = 0;
  let most = Math.max(0, Math.floor(Math.min(freeBytes / turnBytes, maxTurns - inflight)));
  while (fits < most) {
    const more = Math.ceil((fits + most) / 2);
    if (more * turnBytes + poolBytesWith(more) <= freeBytes) fits = more;
    else most = more - 1;
  }
  return Math.max(turns.isIdle ? 1 : 0, Math.min(inflight + fits, maxTurns));
}
