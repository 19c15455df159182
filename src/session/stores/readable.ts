/**
 * What is said of a session that is there and cannot be read: it is damaged, or a newer version of
 * this program has written it, as after a rollback. Pure.
 *
 * @module
 */

import { AppError, hasCode } from "../../lib/errors.ts";
import { isObject } from "../../lib/is-object.ts";

/** @param what Of the session, to precede "cannot be read". */
export function unreadable(what: string): AppError {
  return new AppError("session_unreadable", `Cannot use the session: ${what} cannot be read`);
}

/**
 * Asked before a value is judged: one of a newer version need not fit what this one knows.
 *
 * @throws {AppError} `session_newer`
 */
export function mustNotBeNewer(value: unknown, knownVersion: number): void {
  const version = isObject(value) ? value["version"] : undefined;
  if (typeof version !== "number" || version <= knownVersion) return;
  throw new AppError("session_newer", "Cannot use the session: a newer version has written it");
}

export function isUnreadable(thrown: unknown): boolean {
  return hasCode(thrown, "session_unreadable") || hasCode(thrown, "session_newer");
}
