/**
 * Files that a command makes for somebody: none is replaced unless they say so.
 *
 * @module
 */

import { mkdir, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { errnoOf } from "../lib/errno.ts";
import { AppError } from "../lib/errors.ts";
import type { Io } from "./io.ts";

/** A file by its name, with what is in it. */
export interface NamedText {
  /** Relative to the directory. */
  readonly path: string;
  readonly text: string;
}

type Place = Pick<Io, "workingDirectory">;

/**
 * Looks first whether any of them is there, so that not half of them are written.
 *
 * @param force Replaces those that are there.
 * @throws {AppError} `usage` for a file that is there already, or cannot be written.
 */
export async function writeFiles(
  directory: string,
  files: readonly NamedText[],
  force: boolean,
  io: Place,
): Promise<void> {
  if (!force) await refuseToReplace(directory, files, io);
  for (const { path: name, text } of files) {
    const path = join(directory, name);
    await writing(path, io, async () => {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
    });
  }
}

async function refuseToReplace(
  directory: string,
  files: readonly NamedText[],
  io: Place,
): Promise<void> {
  for (const { path: name } of files) {
    const path = join(directory, name);
    const isThere = await writing(path, io, () => exists(path));
    if (!isThere) continue;
    const shown = relative(io.workingDirectory, path);
    throw new AppError("usage", `Cannot write ${shown}: it is there already; --force replaces it`);
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(ifMissing)) !== null;
}

function ifMissing(thrown: unknown): null {
  if (errnoOf(thrown) === "ENOENT") return null;
  throw thrown;
}

async function writing<T>(path: string, io: Place, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const shown = relative(io.workingDirectory, path);
    const reason = errnoOf(cause) ?? "unknown";
    throw new AppError("usage", `Cannot write ${shown}: ${reason}`, { cause });
  }
}
