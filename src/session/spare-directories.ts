/**
 * The directories of an agent process that was started before its session is known, and how they
 * become those of the session.
 *
 * The process goes on using the paths it was started with. So what it has is moved to the session's
 * place, and links are left where it was. Its TMPDIR stays: a process refuses one that was moved,
 * and it is only scratch.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { readdir, rename, symlink } from "node:fs/promises";
import { removeTree } from "./remove-tree.ts";
import { join } from "node:path";
import { makeDirectoriesBelow, makeDirectory } from "./durable-file.ts";
import { dataPathsOf, type SessionDirectories } from "./session-paths.ts";
import { storing } from "./storage-errors.ts";

export interface SpareDirectories extends SessionDirectories, AsyncDisposable {
  /** Names its transcript, whatever session it will belong to. */
  readonly transcriptId: string;
}

/** What a session takes over. */
const TAKEN = ["work", "config", "home"] as const;

/**
 * Makes the directories; disposing removes what of them no session has taken.
 *
 * @throws {AppError} `storage_full`, `storage_failed`.
 */
export async function openSpareDirectories(dataDirectory: string): Promise<SpareDirectories> {
  const { run } = dataPathsOf(dataDirectory);
  const transcriptId = randomUUID();
  const name = transcriptId.replaceAll("-", "").slice(0, 16);
  const root = join(run, "spares", name);
  const tmp = join(run, "tmp", name);
  const [work, config, home] = TAKEN.map((part) => join(root, part)) as [string, string, string];
  const remove = async (): Promise<void> => {
    await removeTree(root);
    await removeTree(tmp);
  };
  await storing("make room for a spare", async () => {
    try {
      await makeDirectoriesBelow(run, ["spares", name]);
      await makeDirectoriesBelow(run, ["tmp", name]);
      for (const directory of [work, config, home]) await makeDirectory(directory);
    } catch (thrown) {
      await remove();
      throw thrown;
    }
  });
  return {
    transcriptId,
    work,
    config,
    home,
    tmp,
    [Symbol.asyncDispose]: () => storing("remove the room of a spare", remove),
  };
}

/**
 * Moves what a spare has to the place of a session that has nothing yet.
 *
 * @returns False when the session has something: it then keeps that, and the spare is of no use.
 * @throws what the file system throws; the session's directories are then to be made anew.
 */
export async function moveToSession(
  spare: SpareDirectories,
  session: SessionDirectories,
): Promise<boolean> {
  for (const part of TAKEN) if ((await readdir(session[part])).length > 0) return false;
  for (const part of TAKEN) await rename(spare[part], session[part]);
  // Not for its working directory: whoever asks where that is now must not be told the old place.
  for (const part of ["config", "home"] as const) await symlink(session[part], spare[part]);
  return true;
}
