/**
 * Data of unknown shape, such as parsed JSON.
 *
 * @module
 */

/** Whether a value has keys to look at: neither null nor a list. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
