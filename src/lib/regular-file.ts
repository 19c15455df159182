/**
 * Opening files in directories that others write to, who may have put anything in their place. To
 * open a pipe waits for its other end, in one of the few threads that all files share.
 *
 * @module
 */

import { constants, type FileHandle, open } from "node:fs/promises";
import { errnoOf } from "./errno.ts";

/** What opening says of a link, of a pipe without a reader or a socket, and of a directory. */
const NOT_REGULAR: readonly (string | undefined)[] = ["ELOOP", "ENXIO", "EISDIR"];

/**
 * Undefined where there is something else than a regular file.
 *
 * @param flags How to open it; to read without them.
 * @throws what the file system throws, e.g. when there is nothing at all.
 */
export async function openRegularFile(
  path: string,
  flags: number = constants.O_RDONLY,
): Promise<FileHandle | undefined> {
  const file = await openAtOnce(path, flags);
  if (file === undefined || (await file.stat()).isFile()) return file;
  await file.close();
  return undefined;
}

/** The text of a small file; undefined where there is something else, or more than that. */
export async function readRegularFile(path: string, maxBytes: number): Promise<string | undefined> {
  await using file = await openRegularFile(path);
  if (file === undefined || (await file.stat()).size > maxBytes) return undefined;
  return file.readFile("utf8");
}

async function openAtOnce(path: string, flags: number): Promise<FileHandle | undefined> {
  try {
    return await open(path, flags | constants.O_NONBLOCK | constants.O_NOFOLLOW, 0o600);
  } catch (thrown) {
    if (NOT_REGULAR.includes(errnoOf(thrown))) return undefined;
    throw thrown;
  }
}
