/**
 * The profile that is taken where none is given. What a turn holds and what CPU it takes are round
 * figures between those that the benchmarks measured; how long it takes is assumed: some seconds, as a
 * short answer with a call of a tool. Better than nothing, and the result always says so.
 *
 * @module
 */

import { GIB, KIB, MIB } from "../../lib/byte-units.ts";
import { type Profile, PROFILE_VERSION } from "../profile.ts";

export const TYPICAL_PROFILE: Profile = {
  plimsollProfile: PROFILE_VERSION,
  // Not at any time: of no measurement alone.
  measuredAt: "1970-01-01T00:00:00Z",
  versions: { plimsoll: "none", sdk: "none", claudeCode: "none" },
  agent: { name: "typical", version: "none" },
  model: "none",
  machine: {
    cpus: 2,
    cpuModel: "none",
    memoryBytes: 8 * GIB,
    platform: "linux",
    node: "20",
  },
  groupLimitBytes: 2 * GIB,
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
    transcriptBytesPerTurn: 16 * KIB,
    cpuMs: 1_200,
    duration: { medianMs: 6_000, p95Ms: 20_000, meanMs: 8_000 },
  },
};
