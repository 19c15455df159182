/**
 * The header `Prefer` (RFC 7240), as far as it is heeded: `respond-async` asks to be answered as soon
 * as a turn has begun.
 *
 * @module
 */

import type { IncomingHttpHeaders } from "node:http";

export const RESPOND_ASYNC = "respond-async";

/** What is no preference of ours is not looked at, as the standard wants it. */
export function prefersAsync({ prefer }: IncomingHttpHeaders): boolean {
  if (prefer === undefined) return false;
  const text = Array.isArray(prefer) ? prefer.join(",") : prefer;
  // A value in quotes may have commas. One without an end goes to the end: so it is never looked
  // through from each of its quotes anew.
  const names = text.replaceAll(/"(?:[^"\\]|\\.?)*(?:"|$)/gs, "").split(",");
  return names.some((name) => name.split(/[;=]/, 1)[0]?.trim().toLowerCase() === RESPOND_ASYNC);
}
