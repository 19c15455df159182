/**
 * What the system says when it refuses something.
 *
 * @module
 */

/** The code of a system error, e.g. `ENOENT`; undefined for anything else. */
export function errnoOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !("code" in thrown) || !("errno" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}
