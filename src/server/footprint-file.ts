/**
 * Keeps what was learned of footprints in the data directory, so that a server that starts again
 * carries as much at once as before. The file is a help and no more: without it, or with one that
 * is damaged, turns are learned anew; no failure here ends anything.
 *
 * @module
 */

import { join } from "node:path";
import type { FootprintBook } from "../capacity/footprint.ts";
import { MIB } from "../lib/byte-units.ts";
import { errnoOf } from "../lib/errno.ts";
import { readTextFile } from "../lib/text-file.ts";
import { writeDurably } from "../session/durable-file.ts";

export interface FootprintFileOptions {
  readonly dataDirectory: string;
  readonly book: Pick<FootprintBook, "changes" | "restore" | "toJson">;
  readonly log: Readonly<Record<"info" | "warn", (fields: object, message: string) => void>>;
  /** The most that is lost when the server is killed; a minute by default. */
  readonly intervalMs?: number;
}

/** In the data directory. */
export const FOOTPRINTS_FILE = "footprints.json";
/** Ten kilobytes are written for each agent. */
export const MAX_FOOTPRINTS_BYTES = 16 * MIB;
const INTERVAL_MS = 60_000;

/**
 * Fills the book from the file; from then on writes the file when there is something new, and once
 * more when disposed. Never rejects, nor does disposing.
 */
export async function openFootprintFile(options: FootprintFileOptions): Promise<AsyncDisposable> {
  const { dataDirectory, book, log, intervalMs = INTERVAL_MS } = options;
  const file = join(dataDirectory, FOOTPRINTS_FILE);
  await load(file, options);

  let written = book.changes;
  const write = async (): Promise<void> => {
    const { changes } = book;
    if (changes === written) return;
    try {
      await writeDurably(file, book.toJson());
      written = changes;
    } catch (thrown) {
      // Tried again after the interval, and once more at the end.
      const reason = errnoOf(thrown) ?? "unknown";
      log.warn({ reason }, "Cannot keep what was learned of footprints");
    }
  };
  let writing = Promise.resolve();
  const timer = setInterval(() => {
    writing = writing.then(write);
  }, intervalMs).unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await writing.then(write);
    },
  };
}

async function load(file: string, { book, log }: FootprintFileOptions): Promise<void> {
  const read = await readTextFile(file, MAX_FOOTPRINTS_BYTES);
  if (!read.ok) {
    if (read.isMissing) return;
    log.warn({ reason: read.message }, "Cannot read what was learned of footprints");
    return;
  }
  const note = book.restore(read.text);
  if (note !== null) log.info({ note }, "About footprints");
}
