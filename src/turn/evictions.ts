/**
 * Agent processes on their way out that nobody waits for in particular: ended politely, killed a
 * moment later, and counted until nothing of them is left.
 *
 * @module
 */

import { settlesWithin } from "../lib/settles-within.ts";
import type { TurnProcess } from "./turn-process.ts";

/** How long a process without a turn may take for each polite step. It has nothing to finish. */
const POLITE_MS = 250;
/** The longest that whoever needs the room waits for it. */
const WAIT_MS = 5_000;

export class Evictions {
  readonly #leaving = new Map<TurnProcess, Promise<void>>();

  /** What those hold that are not gone yet. */
  leavingBytes(): number {
    return sumOfBytes(this.#leaving.keys());
  }

  /** Ends a process. @param after What is to be done when it is gone; may fail. */
  end(process: TurnProcess, after: () => Promise<void> | void): Promise<void> {
    const known = this.#leaving.get(process);
    if (known !== undefined) return known;
    const gone = this.#end(process, after);
    this.#leaving.set(process, gone);
    return gone;
  }

  /** Resolves when all that are leaving now are gone; bounded, never rejects. */
  async settled(): Promise<void> {
    await settlesWithin(Promise.all(this.#leaving.values()), WAIT_MS);
  }

  async #end(process: TurnProcess, after: () => Promise<void> | void): Promise<void> {
    try {
      await process.end(POLITE_MS);
      await after();
    } catch {
      // Scratch that cannot be removed now is removed when the server starts again.
    } finally {
      this.#leaving.delete(process);
    }
  }
}

export function sumOfBytes(processes: Iterable<TurnProcess>): number {
  let bytes = 0;
  for (const process of processes) bytes += process.currentBytes ?? 0;
  return bytes;
}
