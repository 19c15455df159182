/**
 * The profile of an agent: what its turns cost, as `plimsoll measure` found. Written as JSON by it,
 * read by `plan`, `simulate` and `deploy`. All memory is private memory in bytes, as the gate counts
 * it; all CPU time is of all processes of a turn together.
 *
 * @module
 */

import { z } from "zod";

/** Raised when a profile of an older version could be misread. */
export const PROFILE_VERSION = 1;

const bytes = z
  .number()
  .min(0)
  .max(2 ** 50);
const durationMs = z.number().min(0).max(86_400_000);
const text = z.string().max(200);

/** Times of several turns. */
const Times = z.strictObject({
  medianMs: durationMs,
  p95Ms: durationMs,
  meanMs: durationMs,
});

export const Profile = z.strictObject({
  plimsollProfile: z.literal(PROFILE_VERSION, {
    error: `needs ${PROFILE_VERSION}, the version of a profile of \`plimsoll measure\`\nMeasure the agent again`,
  }),
  measuredAt: z.iso.datetime(),
  versions: z.strictObject({ plimsoll: text, sdk: text, claudeCode: text }),
  agent: z.strictObject({
    name: text,
    /** What footprints depend on, as the server tells it of an agent. */
    version: text,
  }),
  /** `rehearsal`, or provider and model that answered. */
  model: text,
  machine: z.strictObject({
    /** That measuring could use; a fraction where a quota says so. */
    cpus: z.number().positive().max(100_000),
    cpuModel: text,
    memoryBytes: bytes,
    platform: text,
    node: text,
  }),
  /** Of the control group in which it was measured; null where none could be made. */
  groupLimitBytes: bytes.nullable(),
  server: z.strictObject({
    /** Held by the server with no session and no turn. */
    idleBytes: bytes,
    /** Held by it for each session that is open and has no turn. */
    idleSessionBytes: bytes,
    /** Held by it for each turn in flight, beside the turn's own processes. */
    inflightTurnBytes: bytes,
    /** File pages that are mapped while turns run: the text of the programs, shared by all. */
    sharedTextBytes: bytes,
  }),
  start: z.strictObject({
    /** Most that a process holds that starts and does nothing. */
    peakBytes: bytes,
    /** CPU time of a start. */
    cpuMs: durationMs,
    /** Time to first token of a turn with the machine to itself, started cold. */
    firstToken: Times,
  }),
  turn: z.strictObject({
    /** Turns that the figures rest on. */
    turns: z.int().min(1).max(1_000_000),
    /** Most that a turn's processes held, of turns that carry nothing. */
    peak: z.strictObject({
      medianBytes: bytes.positive(),
      meanBytes: bytes.positive(),
      deviationBytes: bytes,
      p95Bytes: bytes.positive(),
      p99Bytes: bytes.positive(),
      mostBytes: bytes.positive(),
    }),
    /** How much more a turn holds for each byte of transcript that it resumes. */
    bytesPerCarriedByte: z.number().min(0).max(1_000),
    /** By how much a turn makes the transcript longer, on average. */
    transcriptBytesPerTurn: bytes,
    /** CPU time of a whole turn, its start included. */
    cpuMs: durationMs,
    duration: Times,
  }),
});

export type Profile = z.output<typeof Profile>;
