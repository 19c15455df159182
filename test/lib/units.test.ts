import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatBytes, inMebibytes, parseBytes } from "../../src/lib/bytes.ts";
import { formatDuration, parseDuration } from "../../src/lib/duration.ts";

describe("parseDuration", () => {
  it.each([
    ["250ms", 250],
    ["30s", 30_000],
    ["1.5s", 1_500],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["30d", 2_592_000_000],
    ["0s", 0],
  ])("reads %s", (text, durationMs) => expect(parseDuration(text)).toBe(durationMs));

  it.each(["30", "s", "30 s", "-1s", "1e3s", "5M", "1h30m", "", "constructor"])(
    "does not take %j",
    (text) => expect(parseDuration(text)).toBeUndefined(),
  );
});

describe("parseBytes", () => {
  it.each([
    ["64KiB", 65_536],
    ["512MiB", 536_870_912],
    ["2GiB", 2_147_483_648],
    ["1.5GiB", 1_610_612_736],
    ["500MB", 500_000_000],
    ["12B", 12],
    ["2Gi", 2_147_483_648],
    ["2048M", 2_048_000_000],
    ["2G", 2_000_000_000],
  ])("reads %s", (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  it.each(["512", "512m", "512i", "512iB", "-1MiB", "1mib", "toString"])(
    "does not take %j",
    (text) => expect(parseBytes(text)).toBeUndefined(),
  );
});

describe("formatDuration and formatBytes", () => {
  it("are undone by parsing, for any whole number", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100_000_000 }), (amount) => {
        expect(parseDuration(formatDuration(amount))).toBe(amount);
        expect(parseBytes(formatBytes(amount))).toBe(amount);
      }),
    );
  });

  it("choose the largest unit that divides", () => {
    expect(formatDuration(90_000)).toBe("90s");
    expect(formatDuration(172_800_000)).toBe("2d");
    expect(formatBytes(1_048_576)).toBe("1MiB");
    expect(formatBytes(500_000_000)).toBe("500MB");
    expect(formatBytes(2_000_000_000)).toBe("2GB");
    expect(formatBytes(1_024_000)).toBe("1000KiB");
    expect(formatBytes(1_500_001)).toBe("1500001B");
  });
});

describe("inMebibytes", () => {
  it("writes whole mebibytes for people", () => {
    expect(inMebibytes(1900 * 2 ** 20)).toBe("1,900");
    expect(inMebibytes(0.4 * 2 ** 20)).toBe("0");
  });
});
