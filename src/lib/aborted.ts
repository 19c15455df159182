/**
 * Waiting for an `AbortSignal`.
 *
 * @module
 */

/** Resolves when the signal aborts, at once if it has. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
