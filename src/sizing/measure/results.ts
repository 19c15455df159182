/**
 * What each step of the protocol found, as it is kept between runs. Figures only: what they mean is
 * for `analyse.ts`.
 *
 * @module
 */

import { z } from "zod";

const bytes = z.number().min(0);
const durationMs = z.number().min(0);

/** A turn that completed. */
const Turn = z.strictObject({
  /** Bytes of the transcript it resumed, and of its input. */
  carriedBytes: bytes,
  /** Most private memory of its processes, as the server measured it. */
  peakBytes: bytes.positive(),
  /** Null where it said nothing. */
  firstTokenMs: durationMs.nullable(),
  durationMs,
  atMs: z.number(),
});

/** One that had the machine to itself. */
const LoneTurn = Turn.extend({
  /** CPU time of all its processes. */
  cpuMs: durationMs,
  /** CPU time of the server meanwhile. */
  serverCpuMs: durationMs,
  /** What the session's transcript is after it; 0 where none is kept. */
  transcriptBytes: bytes,
});

const Burst = z.strictObject({
  starts: z.int().min(1),
  turns: z.array(Turn),
  firstTokenMs: z.array(durationMs),
  /** How often the gate refused, by reason. */
  shed: z.record(z.string(), z.int()),
  /** Turns for which the model refused, or had to be asked again. */
  modelTroubles: z.int(),
  /** From the first request to the last answer. */
  lastedMs: durationMs,
  cpuMs: durationMs,
  /** CPU time of the server meanwhile. */
  serverCpuMs: durationMs,
  /** Most private memory of all turns at one moment. */
  peakBytes: bytes,
  /** What the server holds more for each of them; null where it was never seen. */
  inflightTurnBytes: bytes.nullable(),
});

const HeapParts = z.strictObject({
  objectsBytes: bytes,
  codeBytes: bytes,
  freeBytes: bytes,
  buffersBytes: bytes,
});

export const StepResults = z.strictObject({
  idle: z.strictObject({
    /** What counts against the limit: by the group, or the server's private memory. */
    usedBytes: bytes,
    /** What the gate keeps for the server to grow by, within what is used or beside it. */
    growthBytes: bytes,
    anonymousBytes: bytes,
    fileBytes: bytes,
    sharedBytes: bytes,
    /** What the pages of no file are for, as the server itself tells it; null where it did not. */
    heap: HeapParts.nullable(),
    startPeakBytes: bytes,
    startCpuMs: durationMs,
  }),
  first: LoneTurn.extend({
    /** File pages while it ran. */
    mappedFileBytes: bytes,
  }),
  steady: z.strictObject({
    turns: z.array(LoneTurn).min(1),
    /** Turns of one word. */
    short: z.array(LoneTurn),
    mappedFileBytes: bytes,
  }),
  bursts: z.strictObject({
    bursts: z.array(Burst),
    /** Turns of one word, as many as the largest burst of which all completed; null without. */
    short: Burst.nullable(),
    bound: z.enum(["memory", "cpu", "model"]).nullable(),
    mappedFileBytes: bytes,
  }),
  sessions: z.strictObject({ sessions: z.int(), beforeBytes: bytes, afterBytes: bytes }),
  transcripts: z.strictObject({ turns: z.array(LoneTurn) }),
  tools: z.strictObject({
    tools: z.array(z.strictObject({ name: z.string(), turns: z.array(LoneTurn) })),
    /** Declared, and not called: nobody said that it may be. */
    notCalled: z.array(z.string()),
  }),
});

export type StepResults = z.output<typeof StepResults>;
export type Turn = z.output<typeof Turn>;
export type LoneTurn = z.output<typeof LoneTurn>;
export type Burst = z.output<typeof Burst>;

/** The most turns at once of which none was shed. */
export function largestWhole(bursts: readonly Burst[]): Burst | undefined {
  return bursts.findLast(({ turns, starts }) => turns.length === starts);
}
