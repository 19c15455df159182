/**
 * The `RateLimit` and `RateLimit-Policy` fields of a refusal (draft-ietf-httpapi-ratelimit-headers-11,
 * structured fields of RFC 9651). The quota they speak of is the gate's: turns at once.
 *
 * @module
 */

import { serializeItem } from "structured-headers";

export interface RateLimitInput {
  /** Turns at once; a quota of none is told as one. */
  readonly capacity: number;
  readonly retryAfterSeconds: number;
}

/** Header names and values: `"turns";q=3;qu="concurrent-requests"` and `"turns";r=0;t=7`. */
export function rateLimitHeaders(input: RateLimitInput): Record<string, string> {
  const { capacity, retryAfterSeconds } = input;
  return {
    "RateLimit-Policy": policyField(Math.max(1, capacity)),
    RateLimit: nothingLeftField(retryAfterSeconds),
  };
}

const policyField = remember((capacity) => serialize({ q: capacity, qu: "concurrent-requests" }));
const nothingLeftField = remember((seconds) => serialize({ r: 0, t: seconds }));

function serialize(parameters: Readonly<Record<string, number | string>>): string {
  return serializeItem("turns", new Map(Object.entries(parameters)));
}

/** More values than one replica answers with. */
const MAX_REMEMBERED = 256;

/** Refusals come by the thousand, with few values. */
function remember(make: (value: number) => string): (value: number) => string {
  const fields = new Map<number, string>();
  return (value) => {
    let field = fields.get(value);
    if (field === undefined) {
      if (fields.size === MAX_REMEMBERED) fields.clear();
      field = make(value);
      fields.set(value, field);
    }
    return field;
  };
}
