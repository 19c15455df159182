/**
 * What was measured as the prior of a server: the samples of the turns go into the file in which it
 * keeps what it has learned, as if it had run them. What real turns have taught it is never replaced
 * by less.
 *
 * @module
 */

import { join } from "node:path";
import { WINDOW_SAMPLES } from "../../capacity/footprint.ts";
import type { FootprintSample } from "../../capacity/footprint-model.ts";
import {
  type FootprintRecord,
  readFootprints,
  writeFootprints,
} from "../../capacity/footprint-records.ts";
import { readTextFile } from "../../lib/text-file.ts";
import { FOOTPRINTS_FILE, MAX_FOOTPRINTS_BYTES } from "../../server/footprint-file.ts";
import { openDataDirectory } from "../../session/data-directory.ts";
import { writeDurably } from "../../session/durable-file.ts";

/** `kept`: what is there rests on as many turns. */
export type PriorOutcome = "saved" | "kept";

export interface Prior {
  readonly dataDirectory: string;
  readonly record: FootprintRecord;
}

/**
 * @throws {AppError} `data_directory_in_use` while a server has it: it would write over the file as
 *   it ends; `storage_full`, `storage_failed`.
 */
export async function savePrior({ dataDirectory, record }: Prior): Promise<PriorOutcome> {
  await using _data = await openDataDirectory(dataDirectory, Date.now(), true);
  const file = join(dataDirectory, FOOTPRINTS_FILE);
  const read = await readTextFile(file, MAX_FOOTPRINTS_BYTES);
  // What cannot be read is of no use to a server either.
  const present = read.ok ? (readFootprints(read.text) ?? []) : [];
  const merged = withPrior(present, record);
  if (merged === null) return "kept";
  await writeDurably(file, writeFootprints(merged));
  return "saved";
}

/** Null when what is there rests on as many turns of the same version. Pure. */
export function withPrior(
  present: readonly FootprintRecord[],
  measured: FootprintRecord,
): readonly FootprintRecord[] | null {
  const { agentName, version } = measured;
  const same = present.find((each) => each.agentName === agentName);
  const known = same?.version === version ? same.samples : [];
  if (known.length >= measured.samples.length) return null;
  const samples = [...known, ...measured.samples].toSorted((a, b) => a.atMs - b.atMs);
  const others = present.filter((each) => each !== same);
  return [...others, { agentName, version, samples: windowOf(samples, known) }];
}

/** The samples that a server remembers: of the measured ones the oldest go, of its own none. */
function windowOf(
  samples: readonly FootprintSample[],
  own: readonly FootprintSample[],
): readonly FootprintSample[] {
  let surplus = samples.length - WINDOW_SAMPLES;
  return samples.filter((sample) => {
    if (surplus <= 0 || own.includes(sample)) return true;
    surplus -= 1;
    return false;
  });
}
