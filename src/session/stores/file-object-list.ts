/**
 * Pages of the objects that are files, in the order of their names. A directory is read only if the
 * page can have names below it.
 *
 * @module
 */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "../../lib/errno.ts";
import type { Page } from "./object-store.ts";

/** Ends the name of a directory that is an object; no name of an object has it. */
export const OBJECT_MARK = "@";

/** @throws What the system says, but of a directory that is gone. */
export async function listObjectFiles(root: string, page: Page): Promise<string[]> {
  const found: string[] = [];
  await collect(root, "", page, found);
  return found;
}

/** @param above What all names below the directory begin with. */
async function collect(
  directory: string,
  above: string,
  page: Page,
  found: string[],
): Promise<void> {
  for (const key of await keysIn(directory)) {
    if (found.length === page.limit) return;
    const name = above + key;
    if (!name.endsWith("/")) {
      if (name.startsWith(page.prefix) && isAfter(name, page)) found.push(name);
    } else if (canHaveNames(name, page)) {
      await collect(join(directory, key), name, page, found);
    }
  }
}

/**
 * The entries as names begin by them: with a `/` at the end of what is not an object, since the
 * names below `a` come after `a-b`.
 */
async function keysIn(directory: string): Promise<string[]> {
  try {
    const names = await readdir(directory);
    return names
      .map((name) => (name.endsWith(OBJECT_MARK) ? name.slice(0, -1) : `${name}/`))
      .sort();
  } catch (thrown) {
    const errno = errnoOf(thrown);
    if (errno === "ENOENT" || errno === "ENOTDIR") return [];
    throw thrown;
  }
}

function canHaveNames(above: string, page: Page): boolean {
  const { prefix, after = "" } = page;
  const isWithin = above.startsWith(prefix) || prefix.startsWith(above);
  return isWithin && (isAfter(above, page) || after.startsWith(above));
}

function isAfter(name: string, { after }: Page): boolean {
  return after === undefined || name > after;
}
