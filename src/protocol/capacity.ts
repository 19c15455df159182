/**
 * What a replica says of its load: the answer of `/capacity`, and an event of the feed.
 *
 * @module
 */

import { z } from "zod";
import { SHED_REASONS } from "../telemetry/values.ts";

const bytes = z.int();

/** A figure of the kernel; what is not told here is null, and `source` says what is missing. */
const reading = z.object({ value: z.number().nullable(), source: z.string() });

const eventsSchema = z.object({
  high: z.int().nullable().describe("Times that processes were slowed down at `memory.high`."),
  max: z.int().nullable().describe("Times that the limit was reached."),
  oom: z.int().nullable().describe("Times that nothing could be reclaimed there."),
  oomKill: z.int().nullable().describe("Processes that the kernel ended for it."),
});

export const capacitySchema = z.object({
  admission: z.enum(["measured", "static"]).describe("What turns are weighed by."),
  limitBytes: bytes.describe("Memory limit of the replica."),
  limitSource: z.string().describe("Where the limit was read."),
  safetyReserveBytes: bytes.describe("Kept free below the limit."),
  loadLineBytes: bytes.describe("The limit less the safety reserve: no admission crosses it."),
  usedBytes: bytes.describe("In use, and not to be taken back; with what the server may grow by."),
  parentBytes: bytes.describe("Of it, what the server's own process holds."),
  parentGrowthBytes: bytes.describe("Of it, what the server itself may still grow by."),
  promisedBytes: bytes.describe(
    "Predicted for turns in flight and processes started ahead, and not yet held by them.",
  ),
  poolBytes: bytes.describe("Set aside for all turns together: some outgrow their prediction."),
  committedBytes: bytes.describe("Used, promised and pool."),
  headroomBytes: bytes.describe("Left before the load line."),
  inflight: z.int().describe("Turns in flight."),
  resting: z.int().describe("Sessions whose processes stay between turns, committed in full."),
  nextTurnBytes: bytes.describe("Predicted for a fresh turn of the agent asked last."),
  turnsThatFit: z
    .int()
    .describe("Turns at once, counting those in flight; no more while none is admitted."),
  maxTurns: z.int().nullable().describe("The ceiling that is set, if any."),
  maxTurnsForNow: z
    .int()
    .nullable()
    .describe("The ceiling since memory ran short, until turns have shown that more fit."),
  draining: z.boolean(),
  pressure: z.string().nullable().describe("Why only a first turn is admitted; else null."),
  admitted: z.int().describe("Turns since the start."),
  shed: z
    .record(z.enum(SHED_REASONS), z.int())
    .describe("Refusals for load since the start, by reason."),
  lastDecision: z.object({ atMs: z.number(), text: z.string() }).nullable(),
  oldestTurnMs: z.number().nullable(),
  memory: z
    .object({ bytes, covers: z.enum(["group", "machine", "process"]), source: z.string() })
    .describe("What cannot be reclaimed now, and what was added up."),
  account: z
    .object({
      swapBytes: reading.describe("In swap; of a group it is part of `usedBytes`."),
      peakBytes: reading.describe("The most ever charged, page cache included."),
      mappedFileBytes: reading.describe("File pages that are mapped: the text of what runs."),
      events: z
        .object({ value: eventsSchema.nullable(), source: z.string() })
        .describe("How often memory was short."),
      refaultedPages: reading.describe("File pages read again soon after they were dropped."),
      majorFaults: reading.describe("Faults that waited for the disk."),
      stallMs: reading.describe("Time in which nothing got on for want of memory (PSI, full)."),
    })
    .describe("What the kernel tells of the group that sets the limit, or of the machine."),
  binds: z
    .enum(["memory", "cpu", "maxTurns"])
    .describe("Which of them sets how many turns there can be."),
  cpu: z.object({
    cpus: z.number(),
    source: z.string(),
    perTurn: z.number().nullable().describe("CPUs that a turn keeps busy; null until measured."),
    turnsThatFit: z.int().nullable().describe("Turns at once that the CPUs can serve."),
    starting: z.int().describe("Processes that start now."),
    startsAtOnce: z.int().describe("How many may start at once."),
    startsWaiting: z.int().describe("Admitted turns that wait for their start."),
    meanStartMs: z.int(),
  }),
  containment: z
    .object({
      kind: z.enum(["cgroup2", "cgroup1", "guard"]),
      text: z.string(),
      killsAll: z.boolean().describe("Whether at the limit the kernel ends the whole replica."),
    })
    .describe("What keeps one turn from taking the memory of all."),
  guard: z
    .object({ level: z.int(), text: z.string() })
    .describe("How short memory is: 0 to 3, -1 while nobody looks; and that in words."),
  kept: z
    .object({
      residents: z.int().describe("Processes that stay for the next turn of their session."),
      longRunning: z.int().describe("Those of them whose memory stays committed."),
      longRunningBytes: bytes.describe("Private memory of those."),
      spares: z.int().describe("Processes started ahead."),
      evictableBytes: z.number().describe("What would be free without those that may go."),
    })
    .describe("Processes without a turn."),
  footprints: z
    .record(
      z.string(),
      z.object({
        source: z.enum(["prior", "calibrated", "learned"]),
        samples: z.int().describe("Turns that it rests on."),
        baseBytes: z.number().describe("Predicted for a turn that carries nothing."),
        bytesPerCarriedByte: z.number(),
        deviationBytes: z.number(),
        largestBytes: z.number().describe("The most that was seen; 0 if nothing was."),
      }),
    )
    .describe("What turns of each agent are predicted to hold."),
  turns: z
    .array(
      z.object({
        processId: z.string().describe("Of the turn it was started for, or one of its own."),
        turnId: z
          .string()
          .nullable()
          .describe("Of the turn it works for, or did to its end; null while it is kept."),
        kind: z
          .enum(["turn", "resident", "spare", "closing"])
          .nullable()
          .describe("What it is for; null where nobody watches it."),
        ageMs: z.number(),
        bytes: bytes.nullable().describe("Private memory of the process tree; null if not known."),
        peakBytes: bytes.nullable(),
        predictedBytes: bytes
          .nullable()
          .describe("What its turn is predicted to hold, with all tools; null between turns."),
        ceilingBytes: bytes.nullable().describe("The most it may hold; null for no limit."),
      }),
    )
    .readonly()
    .describe("Agent processes, those between two turns included."),
});
