/**
 * What a directory holds. Links are counted, never followed.
 *
 * @module
 */

import type { Stats } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

export interface TreeSize {
  /** Files of every kind but directories. */
  readonly files: number;
  readonly bytes: number;
  /** What it takes of the disk, directories included: more for small files, little for a sparse one. */
  readonly diskBytes: number;
}

/** A block as stat(2) counts them, whatever the file system has. */
const BLOCK_BYTES = 512;

/** What vanishes meanwhile, or may not be looked at, counts for nothing. Never rejects. */
export async function treeSizeOf(directory: string): Promise<TreeSize> {
  let files = 0;
  let bytes = 0;
  let diskBytes = 0;
  const open = [directory];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    diskBytes += diskBytesOf(await ifTold(lstat(next)));
    for (const entry of (await ifTold(readdir(next, { withFileTypes: true }))) ?? []) {
      const path = join(next, entry.name);
      if (entry.isDirectory()) {
        open.push(path);
        continue;
      }
      const stats = await ifTold(lstat(path));
      files += 1;
      bytes += stats?.size ?? 0;
      diskBytes += diskBytesOf(stats);
    }
  }
  return { files, bytes, diskBytes };
}

function diskBytesOf(stats: Stats | undefined): number {
  return (stats?.blocks ?? 0) * BLOCK_BYTES;
}

async function ifTold<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch {
    return undefined;
  }
}
