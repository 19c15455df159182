/**
 * Waiting for no longer than a time.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";

/**
 * Whether the promise settles in time. Never rejects.
 *
 * @param hurry Ends the wait early.
 */
export async function settlesWithin(
  promise: Promise<unknown>,
  limitMs: number,
  hurry?: AbortSignal,
): Promise<boolean> {
  const isOver = new AbortController();
  const signal = hurry === undefined ? isOver.signal : AbortSignal.any([isOver.signal, hurry]);
  const settled = promise.then(
    () => true,
    () => true,
  );
  const late = delay(limitMs, false, { signal }).catch(() => false);
  const inTime = await Promise.race([settled, late]);
  isOver.abort();
  return inTime;
}
