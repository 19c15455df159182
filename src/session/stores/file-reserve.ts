/**
 * Some space that a store of files keeps, so that it can be emptied when its file system is full: what
 * takes the place of something larger must be written before that can go.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { errnoOf } from "../../lib/errno.ts";

/** More than a block of any file system, and several heads of deleted sessions. */
const RESERVE_BYTES = 64 * 1024;

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

  /** There is space now, if there was a reserve. */
  async spend(): Promise<void> {
    this.#isSpent = true;
    await rm(this.#file, { force: true });
  }
}
