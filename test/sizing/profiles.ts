/**
 * A profile with round figures, for tests of what is computed from one.
 *
 * @module
 */
import type { Profile } from "../../src/sizing/profile.ts";

export const MiB = 2 ** 20;
export const GiB = 2 ** 30;

/** 100 MiB for the server, 128 MiB a turn that never differs, 12 bytes a byte, 1 s of CPU in 10. */
export const PROFILE: Profile = {
  plimsollProfile: 1,
  measuredAt: "2026-11-29T12:00:00.000Z",
  versions: { plimsoll: "0.1.0", sdk: "0.3.330", claudeCode: "2.1.0" },
  agent: { name: "support", version: "v1" },
  model: "rehearsal",
  machine: {
    cpus: 2,
    cpuModel: "some",
    memoryBytes: 8 * GiB,
    platform: "linux x64",
    node: "22.0.0",
  },
  groupLimitBytes: 4 * GiB,
  server: {
    idleBytes: 100 * MiB,
    idleSessionBytes: 1024,
    inflightTurnBytes: 0,
    sharedTextBytes: 96 * MiB,
  },
  start: {
    peakBytes: 100 * MiB,
    cpuMs: 450,
    firstToken: { medianMs: 350, p95Ms: 400, meanMs: 360 },
  },
  turn: {
    turns: 50,
    peak: {
      medianBytes: 128 * MiB,
      meanBytes: 128 * MiB,
      deviationBytes: 0,
      p95Bytes: 128 * MiB,
      p99Bytes: 128 * MiB,
      mostBytes: 128 * MiB,
    },
    bytesPerCarriedByte: 12,
    transcriptBytesPerTurn: 0,
    cpuMs: 1_000,
    duration: { medianMs: 10_000, p95Ms: 10_000, meanMs: 10_000 },
  },
};

/** The same with other figures of a turn. */
export function profileWith(turn: Partial<Profile["turn"]>): Profile {
  return { ...PROFILE, turn: { ...PROFILE.turn, ...turn } };
}
