import { parseItem } from "structured-headers";
import { describe, expect, it } from "vitest";
import { rateLimitHeaders } from "../../src/capacity/rate-limit-fields.ts";

describe("rateLimitHeaders", () => {
  it("says on a refusal that nothing is left, and for how long", () => {
    expect(rateLimitHeaders({ capacity: 3, retryAfterSeconds: 7 })).toEqual({
      "RateLimit-Policy": '"turns";q=3;qu="concurrent-requests"',
      RateLimit: '"turns";r=0;t=7',
    });
  });

  it("follows a capacity that changes", () => {
    const policyOf = (capacity: number) =>
      rateLimitHeaders({ capacity, retryAfterSeconds: 1 })["RateLimit-Policy"] ?? "";
    expect(parseItem(policyOf(3))[1].get("q")).toBe(3);
    expect(parseItem(policyOf(4))[1].get("q")).toBe(4);
    expect(parseItem(policyOf(3))[1].get("qu")).toBe("concurrent-requests");
  });
});
