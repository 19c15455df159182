/**
 * Values that nobody changes after they were checked.
 *
 * @module
 */

/** Freezes plain data in place, all the way down, and gives it back. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
  return value;
}
