/**
 * Some space that a store of files keeps, so that it can be emptied when its file system is full: what
 * takes the place of something larger must be written before that can go.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KIB } from "../../lib/byte-units.ts";
import { errnoOf } from "../../lib/errno.ts";
import { ifPresent, isFull } from "../storage-errors.ts";

/** More than a block of any file system, and several heads of deleted sessions. */
const RESERVE_BYTES = 64 * KIB;

export class FileReserve {
  readonly #file: string;
  #isSpent = false;

  constructor(file: string) {
    this.#file = file;
  }

  /** Never rejects: a store that is full already has none, until something of it is deleted. */
  async keep(): Promise<void> {
    try {
      // Zeros take no space where files are compressed.
      await writeFile(this.#file, randomBytes(RESERVE_BYTES), { flag: "wx", mode: 0o600 });
      this.#isSpent = false;
    } catch (thrown) {
      this.#isSpent = errnoOf(thrown) !== "EEXIST";
      if (this.#isSpent) await rm(this.#file, { force: true }).catch(() => {});
    }
  }

  /** Where it was spent, and there may be space again. */
  async restore(): Promise<void> {
    if (this.#isSpent) await this.keep();
  }

  /** Does this once more with the space of the reserve, where there is no other and that may be used. */
  async lend<T>(work: () => Promise<T>, mayUse: () => Promise<boolean>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      if (!isFull(errnoOf(thrown)) || !(await mayUse())) throw thrown;
      this.#isSpent = true;
      await rm(this.#file, { force: true });
      return work();
    }
  }
}

/** How many bytes an object has in this version, as far as that can be told. */
export async function bytesOfVersion(directory: string, version: string): Promise<number> {
  const entries = (await ifPresent(readdir(directory))) ?? [];
  const name = entries.find((entry) => entry.endsWith(`.${version}`));
  const found = name === undefined ? undefined : await ifPresent(stat(join(directory, name)));
  return found?.size ?? 0;
}
