import { describe, expect, it } from "vitest";
import { CpuMeter } from "../../src/capacity/cpu-meter.ts";

const limit = (cpus: number) => ({ cpus, source: "a test", kind: "machine" }) as const;

describe("CpuMeter", () => {
  it("says nothing before a turn was measured", () => {
    const meter = new CpuMeter(limit(2));
    meter.turnEnded(null, 9000);
    meter.turnEnded(400, 100); // All start: nothing to learn for turns that stream.
    expect([meter.cpusPerTurn, meter.turnsThatFit]).toEqual([null, null]);
  });

  it("counts the turns that nine tenths of the CPUs can serve", () => {
    const meter = new CpuMeter(limit(2));
    meter.turnEnded(1350, 9000);
    expect(meter.cpusPerTurn).toBeCloseTo(0.15);
    expect(meter.turnsThatFit).toBe(12);
  });

  it("follows what turns take", () => {
    const meter = new CpuMeter(limit(1));
    for (let turn = 0; turn < 100; turn += 1) meter.turnEnded(900, 9000);
    for (let turn = 0; turn < 100; turn += 1) meter.turnEnded(2700, 9000);
    expect(meter.cpusPerTurn).toBeCloseTo(0.3, 2);
    expect(meter.turnsThatFit).toBe(3);
  });

  it("serves one turn on the smallest CPU", () => {
    const meter = new CpuMeter(limit(0.1));
    meter.turnEnded(9000, 9000);
    expect(meter.turnsThatFit).toBe(1);
  });
});
