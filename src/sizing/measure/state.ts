/**
 * What a run that was cut short has found, for the next one: the results of the steps that were done,
 * as long as they are of the same agent, versions and machine, and recent.
 *
 * @module
 */

import { rm } from "node:fs/promises";
import { z } from "zod";
import { MIB } from "../../lib/byte-units.ts";
import { errnoOf } from "../../lib/errno.ts";
import { AppError } from "../../lib/errors.ts";
import { readTextFile } from "../../lib/text-file.ts";
import { writeDurably } from "../../session/durable-file.ts";
import { StepResults } from "./results.ts";

/** Longer ago the machine may have been another's, or busy otherwise. */
const MAX_AGE_MS = 3_600_000;
const MAX_FILE_BYTES = 16 * MIB;

const State = z.strictObject({
  version: z.literal(1),
  /** What the results depend on. */
  key: z.string(),
  savedAtMs: z.number(),
  results: StepResults.partial(),
});

export type PartialResults = z.output<typeof State>["results"];

export class StateFile {
  readonly #path: string;
  readonly #key: string;

  /** @param key What the results depend on; of another key they are of no use. */
  constructor(path: string, key: string) {
    this.#path = path;
    this.#key = key;
  }

  /** What there is to go on from; nothing where there is no file, or one of another key. */
  async read(nowMs: number): Promise<PartialResults> {
    const file = await readTextFile(this.#path, MAX_FILE_BYTES);
    if (!file.ok) return {};
    const state = State.safeParse(jsonOf(file.text));
    if (!state.success || state.data.key !== this.#key) return {};
    const ageMs = nowMs - state.data.savedAtMs;
    return ageMs >= 0 && ageMs < MAX_AGE_MS ? state.data.results : {};
  }

  /** @throws {AppError} `measure_failed` where it cannot be written. */
  async write(results: PartialResults, nowMs: number): Promise<void> {
    const state = { version: 1, key: this.#key, savedAtMs: nowMs, results } as const;
    await writeOutput(this.#path, `${JSON.stringify(state satisfies z.output<typeof State>)}\n`);
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

/**
 * Writes a file of a run: its state, or the profile beside it.
 *
 * @throws {AppError} `measure_failed` where that cannot be.
 */
export async function writeOutput(file: string, text: string): Promise<void> {
  try {
    await writeDurably(file, text);
  } catch (cause) {
    const reason = errnoOf(cause) ?? "unknown";
    throw new AppError("measure_failed", `Cannot write what was measured: ${reason}`, { cause });
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
