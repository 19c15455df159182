/**
 * Files that are whole or not there, also after a power cut.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf } from "../lib/errno.ts";

/** Replaces a file: written beside it, synced, renamed over it, the directory synced. */
export async function writeDurably(file: string, text: string, mtimeMs?: number): Promise<void> {
  const draft = `${file}.${randomUUID()}.tmp`;
  try {
    await writeSynced(draft, text, mtimeMs);
    await rename(draft, file);
  } catch (thrown) {
    await rm(draft, { force: true }).catch(() => undefined);
    throw thrown;
  }
  await syncDirectory(dirname(file));
}

async function writeSynced(file: string, text: string, mtimeMs?: number): Promise<void> {
  await using handle = await open(file, "wx", 0o600);
  await handle.writeFile(text);
  if (mtimeMs !== undefined) await handle.utimes(new Date(mtimeMs), new Date(mtimeMs));
  await handle.sync();
}

export async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, "r");
  await handle.sync();
}

/**
 * Makes the directories below `root`, one after the other, and says whether the last one is new.
 * Never `root` itself: one that has vanished, e.g. unmounted, must fail and not be replaced.
 */
export async function makeDirectoriesBelow(
  root: string,
  names: readonly string[],
): Promise<boolean> {
  let directory = root;
  let isNew = false;
  for (const name of names) {
    directory = join(directory, name);
    isNew = await makeDirectory(directory);
  }
  return isNew;
}

/**
 * Makes a private directory and those above it that are missing. Not Node's `recursive`, which
 * asks without end where a directory can hold no other (/proc).
 */
export async function makeDirectoryDeep(directory: string): Promise<void> {
  try {
    await makeDirectory(directory);
  } catch (thrown) {
    if (errnoOf(thrown) !== "ENOENT") throw thrown;
    await makeDirectoryDeep(dirname(directory));
    await makeDirectory(directory);
  }
}

/** Makes one private directory, and says whether it is new. */
export async function makeDirectory(directory: string): Promise<boolean> {
  try {
    await mkdir(directory, 0o700);
    return true;
  } catch (thrown) {
    if (errnoOf(thrown) === "EEXIST") return false;
    throw thrown;
  }
}
