/**
 * What the small files of the system said when they could be read last. A file that was there and
 * cannot be read now, for want of a descriptor or while something is moved, has not changed its
 * mind: who takes it for empty takes a limit for none.
 *
 * @module
 */

import { join } from "node:path";
import { type ReadFile, readText } from "./cgroup.ts";

/** Remembers the files of one round, the last that began, and of the one before; no others. */
export class LastTexts {
  #before: ReadonlyMap<string, string> = new Map();
  #now = new Map<string, string>();

  /** All that is looked at will be read anew, and what is not read is forgotten. */
  beginRound(): void {
    this.#before = this.#now;
    this.#now = new Map();
  }

  readonly read: ReadFile = (directory, name) => {
    const file = readText(directory, name);
    const path = join(directory, name);
    const text = file.status === "read" ? file.text : this.#before.get(path);
    if (text === undefined) return file;
    this.#now.set(path, text);
    if (file.status === "read") return file;
    const failure = file.status === "missing" ? "is missing" : `cannot be read: ${file.reason}`;
    return { status: "read", text, failure };
  };
}
