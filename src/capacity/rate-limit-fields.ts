/**
 * The `RateLimit` and `RateLimit-Policy` fields of a response (draft-ietf-httpapi-ratelimit-headers-11,
 * structured fields of RFC 9651). The quota they speak of is the gate's: turns at once.
 *
 * @module
 */

import { serializeItem } from "structured-headers";

export interface RateLimitInput {
  /** Turns at once. */
  readonly capacity: number;
  readonly inflight: number;
  /** Present on a refusal: then nothing is left, whatever the counts say. */
  readonly retryAfterSeconds?: number;
}

/** Header names and values: `"turns";q=3;qu="concurrent-requests"` and `"turns";r=0;t=7`. */
export function rateLimitHeaders(input: RateLimitInput): Record<string, string> {
  const { capacity, inflight, retryAfterSeconds } = input;
  const left =
    retryAfterSeconds === undefined
      ? { r: Math.max(0, capacity - inflight) }
      : { r: 0, t: retryAfterSeconds };
  return {
    "RateLimit-Policy": policyField(capacity),
    RateLimit: serializeItem("turns", new Map(Object.entries(left))),
  };
}

let lastPolicy = { capacity: Number.NaN, field: "" };

/** The capacity seldom changes, and refusals come by the thousand: the last field is kept. */
function policyField(capacity: number): string {
  if (lastPolicy.capacity !== capacity) {
    const parameters = new Map<string, number | string>([
      ["q", capacity],
      ["qu", "concurrent-requests"],
    ]);
    lastPolicy = { capacity, field: serializeItem("turns", parameters) };
  }
  return lastPolicy.field;
}
