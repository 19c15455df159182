/**
 * The data directory of a server: made, taken for this process alone, and asked how the last run
 * ended.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type DirectoryLock, takeDirectoryLock } from "./directory-lock.ts";
import { KIB } from "../lib/byte-units.ts";
import { readRegularFile } from "../lib/regular-file.ts";
import { makeDirectory, makeDirectoryDeep, writeDurably } from "./durable-file.ts";
import { removeTree } from "./remove-tree.ts";
import { dataPathsOf } from "./session-paths.ts";
import { ifPresent, storing } from "./storage-errors.ts";

/** The most that the file with the id of the server may have. */
const MAX_ID_BYTES = KIB;

export interface DataDirectory extends AsyncDisposable {
  /** Absolute. */
  readonly path: string;
  /** For what need not outlive this process; empty at first. */
  readonly runDirectory: string;
  /** UUID, the same for every run on this directory. */
  readonly serverId: string;
  readonly lastRun: LastRun;
}

export type LastRun =
  | { readonly ended: "first" }
  | { readonly ended: "clean" }
  /** Killed, crashed, or the machine went down: turns may have been cut off. */
  | {
      readonly ended: "unclean";
      /** Null when the mark it left cannot be read. */
      readonly startedAtMs: number | null;
      readonly pid: number | null;
    };

/**
 * Takes the directory, making it if need be. Disposing gives it back and marks the end as clean,
 * so it must come last.
 *
 * @param isBorrowed For a command, as {@link borrowDataDirectory}, of a directory that need not be there yet.
 * @throws {AppError} `data_directory_in_use`, `storage_full`, `storage_failed`.
 */
export async function openDataDirectory(
  path: string,
  nowMs: number,
  isBorrowed = false,
): Promise<DataDirectory> {
  return storing("open the data directory", async () => {
    await makeDirectoryDeep(path);
    const paths = dataPathsOf(path);
    const lock = await takeDirectoryLock(paths.lock, nowMs, isBorrowed);
    try {
      const known = await ifPresent(readRegularFile(paths.serverId, MAX_ID_BYTES));
      const serverId = known?.trim() ?? randomUUID();
      if (known === undefined) await writeDurably(paths.serverId, `${serverId}\n`);

      for (const directory of [paths.run, paths.trash]) {
        if (!(await makeDirectory(directory))) await emptyDirectory(directory);
      }
      await makeDirectory(paths.tenants);
      return {
        path,
        runDirectory: paths.run,
        serverId,
        lastRun: lastRunOf(known !== undefined, lock.abandonedBy),
        [Symbol.asyncDispose]: () =>
          storing("close the data directory", async () => lock[Symbol.asyncDispose]()),
      };
    } catch (thrown) {
      await lock[Symbol.asyncDispose]();
      throw thrown;
    }
  });
}

/**
 * Takes the directory for a command while no server has it, and leaves it as it was: what a run
 * that was killed left behind is for the next server to find.
 *
 * @throws {AppError} `data_directory_in_use`, `storage_failed`.
 */
export async function borrowDataDirectory(path: string, nowMs: number): Promise<AsyncDisposable> {
  return storing("take the data directory", () =>
    takeDirectoryLock(dataPathsOf(path).lock, nowMs, true),
  );
}

function lastRunOf(isKnown: boolean, abandonedBy: DirectoryLock["abandonedBy"]): LastRun {
  if (abandonedBy === null) return { ended: isKnown ? "clean" : "first" };
  if (abandonedBy === "unknown") return { ended: "unclean", startedAtMs: null, pid: null };
  return { ended: "unclean", startedAtMs: abandonedBy.takenAtMs, pid: abandonedBy.pid };
}

/** The directory itself stays: an operator may have mounted it. */
async function emptyDirectory(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    await removeTree(join(directory, name));
  }
}
