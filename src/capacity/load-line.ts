/**
 * The arithmetic of admission. Four numbers, all in bytes:
 *
 *     load line   the memory limit less the safety reserve: no admission may cross it
 *     committed   the server's own part and what the turns in flight hold
 *     predicted   what the next turn will hold
 *     headroom    the load line less committed: what is left
 *
 * A turn fits if `committed + predicted <= load line`. What a turn holds is an input: a fixed
 * reserve to begin with, a measured footprint where there is one. Pure.
 *
 * @module
 */

/** The bytes an admission is decided on. */
export interface Load {
  readonly loadLineBytes: number;
  readonly committedBytes: number;
  /** Never negative: above the line there is no room, however far above. */
  readonly headroomBytes: number;
}

export interface LoadInput {
  readonly limitBytes: number;
  /** Kept free at all times; 0 where the reserves of the turns carry the safety margin. */
  readonly safetyReserveBytes: number;
  readonly parentBytes: number;
  /** What each turn in flight holds. */
  readonly turnsBytes: Iterable<number>;
}

/** Weighs what is on board. */
export function weigh(input: LoadInput): Load {
  const loadLineBytes = Math.max(0, input.limitBytes - input.safetyReserveBytes);
  let committedBytes = input.parentBytes;
  for (const bytes of input.turnsBytes) committedBytes += bytes;
  return {
    loadLineBytes,
    committedBytes,
    headroomBytes: Math.max(0, loadLineBytes - committedBytes),
  };
}

/** Whether one more turn of that size stays below the load line. */
export function fits(load: Load, predictedBytes: number): boolean {
  return load.committedBytes + predictedBytes <= load.loadLineBytes;
}

/**
 * How many turns there are in all when as many of that size are added as fit.
 *
 * At least 1: an idle replica takes a turn whatever the figures say, or it would be wedged by a
 * wrong one. With 400 MiB for the server and 500 MiB a turn it is 1, 3, 7 and 15 on 1, 2, 4 and
 * 8 GiB.
 *
 * @param maxTurns A ceiling; null for none.
 */
export function turnsThatFit(
  load: Load,
  turns: {
    readonly inflight: number;
    readonly turnBytes: number;
    readonly maxTurns: number | null;
  },
): number {
  const byMemory = turns.inflight + Math.floor(load.headroomBytes / turns.turnBytes);
  return Math.max(1, Math.min(byMemory, turns.maxTurns ?? byMemory));
}
