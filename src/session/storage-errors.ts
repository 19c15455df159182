/**
 * What a failing disk means to a caller. The system's own text names paths, so it stays in `cause`.
 *
 * @module
 */

import { errnoOf } from "../lib/errno.ts";
import { AppError } from "../lib/errors.ts";

/**
 * Does the work; a system error in it becomes `storage_full` or `storage_failed`.
 *
 * @param action What was attempted, to follow "Cannot", e.g. `open the session`.
 */
export async function storing<T>(action: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw storageErrorOf(action, thrown);
  }
}

/** Passes on what is read a part at a time, with system errors as {@link storing} has them. */
export async function* storingEach<T>(
  action: string,
  parts: AsyncIterable<T>,
): AsyncGenerator<T, void> {
  try {
    yield* parts;
  } catch (thrown) {
    throw storageErrorOf(action, thrown);
  }
}

/** Does without what there is no space for: what frees space must not need some. */
export async function unlessFull(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (thrown) {
    if (!isFull(errnoOf(thrown))) throw thrown;
  }
}

/** Whether the system says that there is no space. */
export function isFull(errno: string | undefined): boolean {
  return errno === "ENOSPC" || errno === "EDQUOT";
}

function storageErrorOf(action: string, thrown: unknown): unknown {
  const errno = errnoOf(thrown);
  if (errno === undefined) return thrown;
  return isFull(errno)
    ? new AppError("storage_full", `Cannot ${action}: no space is left`, { cause: thrown })
    : storageFailed(action, thrown);
}

export function storageFailed(action: string, cause?: unknown): AppError {
  return new AppError("storage_failed", `Cannot ${action}: the data directory cannot be used`, {
    cause,
  });
}

/** The value, or undefined when there is no such file. */
export async function ifPresent<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}
