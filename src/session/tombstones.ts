/**
 * The memory of deleted sessions: an empty file each, whose time is that of the deletion. It lets
 * a late client be told "gone" and not "unknown". Bounded in age and number.
 *
 * @module
 */

import { readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ifPresent } from "./storage-errors.ts";

/** How long a deleted session answers 410 instead of 404, in milliseconds. */
export const TOMBSTONE_AGE_MS = 7 * 24 * 60 * 60 * 1000;
/** Tombstones kept for a tenant; beyond it the oldest are forgotten. */
const MAX_TOMBSTONES_PER_TENANT = 10_000;

/** Share that goes at once, so that reading the whole directory is rare. */
const PRUNE_RATIO = 0.1;

/** Whether the session was deleted, and not too long ago. */
export async function hasTombstone(file: string, nowMs: number): Promise<boolean> {
  const found = await ifPresent(stat(file));
  return found !== undefined && nowMs - found.mtimeMs < TOMBSTONE_AGE_MS;
}

export class Tombstones {
  readonly #maxCount: number;
  /** By directory, that of a tenant; never fewer than there are. Nobody else writes there. */
  readonly #counts = new Map<string, number>();

  constructor(maxCount = MAX_TOMBSTONES_PER_TENANT) {
    this.#maxCount = maxCount;
  }

  /** Its directory must exist. */
  async write(file: string, nowMs: number): Promise<void> {
    await writeFile(file, "", { mode: 0o600 });
    await utimes(file, new Date(nowMs), new Date(nowMs));
    const directory = dirname(file);
    // A directory is read once, not for each of the thousands that a sweep writes.
    const known = this.#counts.get(directory);
    const count = known === undefined ? (await readdir(directory)).length : known + 1;
    const isFull = count > this.#maxCount;
    this.#counts.set(directory, isFull ? await prune(directory, this.#maxCount) : count);
  }
}

/** @returns How many are left. */
async function prune(directory: string, maxCount: number): Promise<number> {
  const names = await readdir(directory);
  if (names.length <= maxCount) return names.length;
  const aged: { file: string; mtimeMs: number }[] = [];
  for (const name of names) {
    const file = join(directory, name);
    // One that is gone by now was pruned by another deletion.
    const found = await ifPresent(stat(file));
    if (found !== undefined) aged.push({ file, mtimeMs: found.mtimeMs });
  }
  aged.sort((a, b) => a.mtimeMs - b.mtimeMs);
  const surplus = names.length - Math.floor(maxCount * (1 - PRUNE_RATIO));
  for (const { file } of aged.slice(0, surplus)) await rm(file, { force: true });
  return names.length - surplus;
}
