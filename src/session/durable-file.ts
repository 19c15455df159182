/**
 * Files that are whole or not there, also after a power cut.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

import { errnoOf } from "./storage-errors.ts";

/** Replaces a file: written beside it, synced, renamed over it, the directory synced. */
export async function writeDurably(file: string, text: string, mtimeMs?: number): Promise<void> {
  const draft = `${file}.${randomUUID()}.tmp`;
  try {
    const handle = await open(draft, "wx", 0o600);
    try {
      await handle.writeFile(text);
      if (mtimeMs !== undefined) await handle.utimes(new Date(mtimeMs), new Date(mtimeMs));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (thrown) {
    await rm(draft, { force: true });
    throw thrown;
  }
  await syncDirectory(dirname(file));
}

export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
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
