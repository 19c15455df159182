import { describe, expect, it } from "vitest";
import { brakeBytes, floorBytes, lookPauseMs } from "../../src/capacity/guard-lines.ts";

const MiB = 2 ** 20;

describe("floorBytes", () => {
  it.each([
    [null, 128],
    [0, 96],
    [78, 110],
    [400, 256],
  ])("with %j MiB of mapped files is %d MiB", (mapped, floor) => {
    expect(floorBytes(mapped === null ? null : mapped * MiB)).toBe(floor * MiB);
  });
});

describe("brakeBytes", () => {
  const floor = 128 * MiB;

  it("is the floor where the kernel ends one process at a time", () => {
    expect(brakeBytes({ floorBytes: floor, kernelKillsAll: false, cores: 2 })).toBe(floor);
  });

  it("gives time to win the race where the kernel ends all", () => {
    const brake = (cores: number) => brakeBytes({ floorBytes: floor, kernelKillsAll: true, cores });
    expect(brake(2)).toBe(425 * MiB);
    expect(brake(64)).toBe(425 * MiB);
    expect(brake(0.5)).toBe(212.5 * MiB);
  });
});

describe("lookPauseMs", () => {
  it("is 20 ms with room, less as a balloon could fill it, and never under 5", () => {
    expect([Infinity, 100, 50, 10, 0, -100].map((room) => lookPauseMs(room * MiB))).toEqual([
      20, 20, 10, 5, 5, 5,
    ]);
  });
});
