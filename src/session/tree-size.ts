/**
 * What a directory holds. Links are counted, never followed.
 *
 * @module
 */

import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

export interface TreeSize {
  /** Files of every kind but directories. */
  readonly files: number;
  readonly bytes: number;
}

export async function treeSizeOf(directory: string): Promise<TreeSize> {
  let files = 0;
  let bytes = 0;
  const open = [directory];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const entry of await readdir(next, { withFileTypes: true })) {
      const path = join(next, entry.name);
      if (entry.isDirectory()) {
        open.push(path);
        continue;
      }
      files += 1;
      bytes += (await lstat(path)).size;
    }
  }
  return { files, bytes };
}
