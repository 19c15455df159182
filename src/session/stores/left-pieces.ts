/**
 * Pieces that were written, or may have been, for a head that was not, for all that is known. They go
 * with the next write of that head, unless it names them: from then on no earlier write can happen
 * any more, as each is for the version that was there before.
 *
 * @module
 */

import type { Piece } from "./session-head.ts";

/** Names that are remembered, of all sessions. What is not remembered goes with its session. */
const MAX_NAMES = 10_000;

export class LeftPieces {
  readonly #names = new Map<string, Set<string>>();
  #size = 0;

  add(headName: string, pieces: readonly Piece[]): void {
    const names = this.#names.get(headName) ?? new Set();
    for (const { name } of pieces.slice(0, MAX_NAMES - this.#size)) {
      if (names.has(name)) continue;
      names.add(name);
      this.#size += 1;
    }
    if (names.size > 0) this.#names.set(headName, names);
  }

  /** The names as they are now: what a write that is sent after this may find left. */
  of(headName: string): readonly string[] {
    return [...(this.#names.get(headName) ?? [])];
  }

  forget(headName: string, gone: readonly string[]): void {
    const names = this.#names.get(headName);
    for (const name of gone) if (names?.delete(name) === true) this.#size -= 1;
    if (names?.size === 0) this.#names.delete(headName);
  }
}
