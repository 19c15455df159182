/**
 * Names for things that are known by several.
 *
 * @module
 */

/** One name of several parts: JSON quotes each, so no choice of characters lets one run into the next. */
export function joinedName(...parts: readonly string[]): string {
  return JSON.stringify(parts);
}
