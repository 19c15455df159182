import { setImmediate as turn } from "node:timers/promises";

import { expect, it } from "vitest";

import { eachAtOnce } from "../../src/lib/each-at-once.ts";

it("does the work of each once, in their order, with so many under way and no more", async () => {
  const items = Array.from({ length: 10 }, (_, at) => at);
  const begun: number[] = [];
  let underWay = 0;
  let most = 0;
  await eachAtOnce(items, 3, async (item) => {
    begun.push(item);
    underWay += 1;
    most = Math.max(most, underWay);
    for (let turns = 0; turns <= item % 3; turns += 1) await turn();
    underWay -= 1;
  });
  expect(begun).toEqual(items);
  expect(most).toBe(3);
  expect(underWay).toBe(0);
});

it("needs no work, and rejects as the work does", async () => {
  await eachAtOnce([], 3, async () => expect.fail("There is nothing to do"));
  const failed = eachAtOnce([1, 2], 1, async (item) => {
    if (item === 2) throw new Error("no");
  });
  await expect(failed).rejects.toThrow("no");
});
