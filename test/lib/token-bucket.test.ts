/** Goal: no more at once, and no more a second, than the bucket says; and so many there are. */

import { expect, it } from "vitest";

import { TokenBucket } from "../../src/lib/token-bucket.ts";

it("gives so many at once, then so many a second, and is full again after a pause", () => {
  const bucket = new TokenBucket({ atOnce: 2, perSecond: 10 });
  const given = (atMs: readonly number[]) => atMs.map((nowMs) => bucket.take(nowMs));
  expect(given([0, 0, 0])).toEqual([true, true, false]);
  expect(given([50, 100, 150, 200])).toEqual([false, true, false, true]);
  expect(given([9_000, 9_000, 9_000])).toEqual([true, true, false]);
});
