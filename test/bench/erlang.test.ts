/**
 * Goal: the traffic that `carry` computes is that of Erlang's loss formula.
 * Method: published values.
 */
import { describe, expect, it } from "vitest";

import { shedRatio, trafficAt } from "../../bench/erlang.ts";

describe("shedRatio", () => {
  it.each([
    [1, 1, 0.5],
    [2, 1, 0.2],
    [3, 1, 0.0625],
    [3, 3, 0.346154],
    [5, 3, 0.110054],
    [10, 5, 0.018385],
    [15, 15, 0.180316],
  ])("of %i turns at %d Erlang", (turns, offered, ratio) => {
    expect(shedRatio(turns, offered)).toBeCloseTo(ratio, 6);
  });
});

describe("trafficAt", () => {
  it.each([
    [10, 0.01, 4.461],
    [15, 0.01, 8.108],
    [20, 0.05, 15.249],
    [100, 0.01, 84.06],
  ])("of %i turns at a shed ratio of %d", (turns, ratio, traffic) => {
    expect(trafficAt(turns, ratio)).toBeCloseTo(traffic, 2);
  });
});
