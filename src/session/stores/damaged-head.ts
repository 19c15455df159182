/**
 * What is known of a session whose head or record cannot be read, for whoever replaces or deletes it:
 * nothing but whether it may be on hold, as far as that is there to see. Pure.
 *
 * @module
 */

import { isObject } from "../../lib/is-object.ts";
import { newHead, type SessionHead } from "./session-head.ts";

/**
 * The hold of a record, in whatever it is a part of; in a text of the record its quotes would be
 * escaped.
 */
const HOLD = /(?<!\\)"onHoldSinceMs"\s*:/;

/**
 * Stands for a head that cannot be read. Its numbers are above those that any was counted up to, so that
 * nobody takes what comes after it for what came before, and whoever has a lease of it has another one.
 *
 * @param leaseId Random.
 */
export function standInFor(
  sessionId: string,
  body: Buffer,
  leaseId: string,
  nowMs: number,
): SessionHead {
  const record = saysHold(body.toString("utf8")) ? { onHoldSinceMs: nowMs } : {};
  return { ...newHead(sessionId), revision: nowMs, fence: nowMs, leaseId, record };
}

/** Whether a text, in which there is a record that cannot be read, says that it is on hold. */
export function saysHold(text: string): boolean {
  return HOLD.test(text);
}

/** Since when a record that cannot be read says that it is on hold, if it says so. */
export function holdIn(record: unknown): { readonly onHoldSinceMs?: unknown } {
  return isObject(record) ? record : {};
}
