/**
 * Goal: whoever reads a profile knows when the machine was busy with something else.
 */
import { totalmem } from "node:os";
import { describe, expect, it } from "vitest";
import { busyNotesNow, groupLimitOf, limitNotes } from "../../../src/sizing/measure/facts.ts";

describe("a busy machine", () => {
  it("is named with its load, and a quiet one is not", () => {
    expect(busyNotesNow(0)).toEqual([]);
    expect(busyNotesNow(1_000.26)).toEqual([expect.stringContaining("load 1000.3 on ")]);
  });
});

describe("the limit of the group", () => {
  it("is never more than there is", () => {
    expect(groupLimitOf({ limitBytes: 2 ** 30 })).toBe(2 ** 30);
    expect(groupLimitOf({ limitBytes: 2 ** 50 })).toBeLessThanOrEqual(totalmem());
    expect(groupLimitOf({})).toBeLessThan(totalmem());
  });

  it("is told where less could be had than was asked for", () => {
    expect(limitNotes({ limitBytes: 2 ** 50 })).toEqual([
      expect.stringMatching(/it was [\d,]+ MiB$/),
    ]);
    expect(limitNotes({ limitBytes: 2 ** 30 })).toEqual([]);
    expect(limitNotes({})).toEqual([]);
  });
});
