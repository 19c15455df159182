/**
 * The `RateLimit` and `RateLimit-Policy` fields of a refusal (draft-ietf-httpapi-ratelimit-headers-11,
 * structured fields of RFC 9651). The quota they speak of is the gate's: turns at once.
 *
 * @module
 */

import { serializeItem } from "structured-headers";

export interface RateLimitInput {
  /** Turns at once. */
  readonly capacity: number;
  readonly retryAfterSeconds: number;
}

/** Header names and values: `"turns";q=3;qu="concurrent-requests"` and `"turns";r=0;t=7`. */
export function rateLimitHeaders(input: RateLimitInput): Record<string, string> {
  const { capacity, retryAfterSeconds } = input;
  const nothingLeft = new Map([
    ["r", 0],
    ["t", retryAfterSeconds],
  ]);
  return {
    "RateLimit-Policy": policyField(capacity),
    RateLimit: serializeItem("turns", nothingLeft),
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
