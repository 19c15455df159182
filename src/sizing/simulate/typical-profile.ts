/**
 * The profile that is taken where none is given: of the example agent with a few built-in tools, as it
 * was measured on the machine of the benchmarks, and turns as long as a short answer. Better than
 * nothing, and always said to be so.
 *
 * @module
 */

import { type Profile, PROFILE_VERSION } from "../profile.ts";

const MIB = 2 ** 20;

export const TYPICAL_PROFILE: Profile = {
  plimsollProfile: PROFILE_VERSION,
  measuredAt: "2026-11-01T00:00:00Z",
  versions: { plimsoll: "0.1.0", sdk: "0.3.330", claudeCode: "2.1.330" },
  agent: { name: "typical", version: "none" },
  model: "rehearsal",
  machine: {
    cpus: 2,
    cpuModel: "of the benchmarks",
    memoryBytes: 8 * 2 ** 30,
    platform: "linux",
    node: "20",
  },
  groupLimitBytes: 2 * 2 ** 30,
  server: {
    idleBytes: 100 * MIB,
    idleSessionBytes: 2_000,
    inflightTurnBytes: 1 * MIB,
    sharedTextBytes: 80 * MIB,
  },
  start: {
    peakBytes: 105 * MIB,
    cpuMs: 400,
    firstToken: { medianMs: 900, p95Ms: 2_000, meanMs: 1_000 },
  },
  turn: {
    turns: 100,
    peak: {
      medianBytes: 124 * MIB,
      meanBytes: 125 * MIB,
      deviationBytes: 8 * MIB,
      p95Bytes: 139 * MIB,
      p99Bytes: 146 * MIB,
      mostBytes: 150 * MIB,
    },
    bytesPerCarriedByte: 12,
    transcriptBytesPerTurn: 16 * 1024,
    cpuMs: 1_200,
    duration: { medianMs: 6_000, p95Ms: 20_000, meanMs: 8_000 },
  },
};
