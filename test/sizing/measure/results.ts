/**
 * Results of a run as they might be, for tests of what is made of them.
 *
 * @module
 */

import type { MeasurementFacts } from "../../../src/sizing/measure/analyse.ts";
import type { Burst, LoneTurn, StepResults } from "../../../src/sizing/measure/results.ts";

export const MIB = 2 ** 20;
export const GIB = 2 ** 30;

export function turn(peakMib: number, changes: Partial<LoneTurn> = {}): LoneTurn {
  return {
    carriedBytes: 14,
    peakBytes: peakMib * MIB,
    firstTokenMs: 500,
    durationMs: 5_000,
    atMs: 1_700_000_000_000,
    cpuMs: 800,
    serverCpuMs: 100,
    transcriptBytes: 9_000,
    ...changes,
  };
}

export function burst(starts: number, changes: Partial<Burst> = {}): Burst {
  const { cpuMs: _cpu, serverCpuMs, transcriptBytes: _bytes, ...plain } = turn(120);
  return {
    starts,
    turns: Array.from({ length: starts }, () => plain),
    firstTokenMs: Array.from({ length: starts }, () => 500 + 100 * starts),
    shed: {},
    modelTroubles: 0,
    lastedMs: 5_000 + 300 * starts,
    cpuMs: 800 * starts,
    // Most of what a lone turn has does not grow with them.
    serverCpuMs: serverCpuMs + 20 * starts,
    peakBytes: starts * 115 * MIB,
    inflightTurnBytes: 2 * MIB,
    ...changes,
  };
}

export function results(changes: Partial<StepResults> = {}): StepResults {
  return {
    idle: {
      usedBytes: 100 * MIB,
      growthBytes: 40 * MIB,
      anonymousBytes: 90 * MIB,
      fileBytes: 50 * MIB,
      sharedBytes: 0,
      heap: { objectsBytes: 30 * MIB, codeBytes: 4 * MIB, freeBytes: 6 * MIB, buffersBytes: MIB },
      startPeakBytes: 80 * MIB,
      startCpuMs: 500,
    },
    first: { ...turn(118), mappedFileBytes: 90 * MIB },
    steady: {
      turns: [116, 118, 120, 122, 124].map((peak) => turn(peak)),
      short: [turn(110, { cpuMs: 600, durationMs: 1_000, serverCpuMs: 40 })],
      mappedFileBytes: 110 * MIB,
    },
    bursts: {
      bursts: [burst(1), burst(2), burst(4)],
      short: burst(4, { serverCpuMs: 100 }),
      bound: null,
      mappedFileBytes: 120 * MIB,
    },
    sessions: { sessions: 1_000, beforeBytes: 100 * MIB, afterBytes: 101 * MIB },
    transcripts: {
      turns: [0, 2, 4, 8].map((carriedMib) =>
        turn(120 + 10 * carriedMib, {
          carriedBytes: carriedMib * MIB + 14,
          transcriptBytes: carriedMib * MIB + 5_014,
        }),
      ),
    },
    tools: { tools: [{ name: "Bash", turns: [turn(130)] }], notCalled: ["mcp__functions__pay"] },
    ...changes,
  };
}

export const FACTS: MeasurementFacts = {
  measuredAt: "2026-01-01T12:00:00.000Z",
  versions: { plimsoll: "0.1.0", sdk: "0.3.330", claudeCode: "2.1.330" },
  agent: { name: "support", version: "a".repeat(64) },
  model: "rehearsal",
  machine: {
    cpus: 2,
    cpuModel: "Some CPU",
    memoryBytes: 16 * GIB,
    platform: "linux x64",
    node: "v20.19.0",
  },
  groupLimitBytes: 14 * GIB,
  isQuick: false,
  notes: [],
};
