/**
 * Footprint samples as text, for a server that starts again. Pure.
 *
 * @module
 */

import { z } from "zod";
import type { FootprintSample } from "./footprint-model.ts";

/** The samples of one agent. */
export interface FootprintRecord {
  readonly agentName: string;
  /** Of the agent they were taken from. */
  readonly version: string;
  /** Oldest first. */
  readonly samples: readonly FootprintSample[];
}

/** More than any book writes; a file beyond it is not ours. */
const MAX_AGENTS = 10_000;
const MAX_SAMPLES = 1_024;
/** A pebibyte: no figure beyond it is one of this world. */
const MAX_BYTES = 2 ** 50;

const bytes = z.number().min(0).max(MAX_BYTES);

const Sample = z.object({
  carriedBytes: bytes,
  peakBytes: bytes.positive(),
  endedForMemory: z.boolean(),
  atMs: z.number(),
});

const Records = z.object({
  version: z.literal(1),
  agents: z
    .array(
      z.object({
        agentName: z.string(),
        version: z.string(),
        samples: z.array(Sample).max(MAX_SAMPLES).readonly(),
      }),
    )
    .max(MAX_AGENTS)
    .readonly(),
});

export function writeFootprints(agents: readonly FootprintRecord[]): string {
  return `${JSON.stringify({ version: 1, agents } satisfies z.output<typeof Records>)}\n`;
}

/** Null for what is not such a text, whatever it is. */
export function readFootprints(json: string): readonly FootprintRecord[] | null {
  try {
    return Records.parse(JSON.parse(json)).agents;
  } catch {
    // Damage of any kind is one case to the caller of this function.
    return null;
  }
}
