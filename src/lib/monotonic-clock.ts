/**
 * The one clock for whatever is waited for or measured. `Date` is for what is shown and kept: it is
 * set by people and by the network, an hour at once. `performance.now()` counts from the start of its
 * thread, so that times of both would look alike and could not be compared: the linter keeps it out.
 *
 * @module
 */

/** Milliseconds of a clock that all threads share, and that nobody sets. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
