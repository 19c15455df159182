/**
 * Removing what tools have left, also directories that they made read-only.
 *
 * @module
 */

import { chmod, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "../lib/errno.ts";

/** @throws What the system says when even the owner cannot remove it. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (thrown) {
    const errno = errnoOf(thrown);
    if (errno !== "EACCES" && errno !== "EPERM") throw thrown;
    await openUp(path);
    await rm(path, { recursive: true, force: true });
  }
}

/** What `go build` keeps of modules, for one, is in directories that nobody may write to. */
async function openUp(directory: string): Promise<void> {
  await chmod(directory, 0o700);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await openUp(join(directory, entry.name));
  }
}
