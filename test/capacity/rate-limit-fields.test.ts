import { parseItem } from "structured-headers";
import { describe, expect, it } from "vitest";
import { rateLimitHeaders } from "../../src/capacity/rate-limit-fields.ts";

describe("rateLimitHeaders", () => {
  it("says on a refusal that nothing is left, and for how long", () => {
    expect(rateLimitHeaders({ capacity: 3, inflight: 3, retryAfterSeconds: 7 })).toEqual({
      "RateLimit-Policy": '"turns";q=3;qu="concurrent-requests"',
      RateLimit: '"turns";r=0;t=7',
    });
  });

  it("says otherwise how many turns are left", () => {
    expect(rateLimitHeaders({ capacity: 7, inflight: 2 })["RateLimit"]).toBe('"turns";r=5');
    expect(rateLimitHeaders({ capacity: 1, inflight: 2 })["RateLimit"]).toBe('"turns";r=0');
  });

  it("follows a capacity that changes", () => {
    const policyOf = (capacity: number) =>
      rateLimitHeaders({ capacity, inflight: 0 })["RateLimit-Policy"] ?? "";
    expect(parseItem(policyOf(3))[1].get("q")).toBe(3);
    expect(parseItem(policyOf(4))[1].get("q")).toBe(4);
    expect(parseItem(policyOf(3))[1].get("qu")).toBe("concurrent-requests");
  });
});
