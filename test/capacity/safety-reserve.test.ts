import { describe, expect, it } from "vitest";
import { SafetyReserve } from "../../src/capacity/safety-reserve.ts";

const MiB = 2 ** 20;
/** There is one every ten seconds. */
const READINGS_AN_HOUR = 360;

function reserveAfter(...mappedMiB: readonly number[]): SafetyReserve {
  const reserve = new SafetyReserve({ settingBytes: null, cores: 2 });
  for (const mapped of mappedMiB) reserve.sawMapped(mapped * MiB);
  return reserve;
}

describe("SafetyReserve", () => {
  it("keeps what the text needs that was mapped, and a margin", () => {
    const reserve = reserveAfter(80, 120, 90);
    expect(reserve.floorBytes).toBeGreaterThan(151 * MiB);
    expect(reserve.floorBytes).toBeLessThanOrEqual(152 * MiB);
    expect(reserve.brakeBytes).toBe(reserve.floorBytes);
    expect(reserve.bytes).toBe(reserve.brakeBytes + 16 * MiB);
  });

  it("forgets a large file that was mapped once", () => {
    const anHour = Array.from({ length: READINGS_AN_HOUR }, () => 80);
    expect(reserveAfter(1500).floorBytes).toBe(256 * MiB);
    const later = reserveAfter(1500, ...anHour, ...anHour, ...anHour, ...anHour).floorBytes;
    expect(later).toBeLessThan(128 * MiB);
  });

  it("is hardly less a quarter of an hour after more turns ran", () => {
    const quarter = Array.from({ length: READINGS_AN_HOUR / 4 }, () => 80);
    expect(reserveAfter(128, ...quarter).floorBytes).toBeGreaterThan(150 * MiB);
  });

  it("has its floor at the brake or below, whatever is set or known", () => {
    const set = new SafetyReserve({ settingBytes: 64 * MiB, cores: 2 });
    expect([set.bytes, set.brakeBytes, set.floorBytes]).toEqual([64, 64, 64].map((n) => n * MiB));
    const reserve = reserveAfter(80);
    reserve.kernelKillsAll();
    expect(reserve.brakeBytes).toBe(425 * MiB);
    expect(reserve.floorBytes).toBe(112 * MiB);
  });

  it("takes no more of a small limit than two fifths to be early, and follows the limit", () => {
    let limitMiB = 512;
    const reserve = new SafetyReserve({
      settingBytes: null,
      cores: 2,
      limitBytes: () => limitMiB * MiB,
    });
    const brakeAt = (now: number) => {
      limitMiB = now;
      return Math.floor(reserve.brakeBytes / MiB);
    };
    reserve.sawMapped(80 * MiB);
    expect([512, 2048].map(brakeAt), "where the kernel ends one").toEqual([112, 112]);
    reserve.kernelKillsAll();
    expect([200, 512, 600, 768, 1024, 1100].map(brakeAt)).toEqual([112, 204, 240, 307, 409, 425]);
  });

  it("says where it cannot be early enough", () => {
    const noteAt = (limitMiB: number): string | null => {
      const limitBytes = () => limitMiB * MiB;
      const reserve = new SafetyReserve({ settingBytes: null, cores: 2, limitBytes });
      expect(reserve.note).toBeNull();
      reserve.kernelKillsAll();
      return reserve.note;
    };
    expect(noteAt(2048)).toBeNull();
    expect(noteAt(512)).toContain("less than 204 MiB are free; a tool");
    expect(noteAt(512)).toContain("takes up to 425 MiB until it is ended");
  });
});
