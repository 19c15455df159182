/**
 * Names of what begins on this page. `crypto.randomUUID` is not there for a page that came over plain
 * HTTP from another machine.
 *
 * @module
 */

/** 32 hexadecimal digits, which nobody can guess. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
