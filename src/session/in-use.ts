/**
 * How it shows that a session is in use, or gone, for whoever only wanted to have a look at it.
 *
 * @module
 */

import { hasCode } from "../lib/errors.ts";

const IN_USE = ["session_busy", "session_not_found", "session_gone"] as const;

/** Whether a turn of the session has begun since it was looked at, or it is gone. */
export function isInUse(thrown: unknown): boolean {
  return IN_USE.some((code) => hasCode(thrown, code));
}
