/**
 * What the copies of a replica take of its disk, known at any time without a look at all of them: each
 * is weighed by a sweep, and then only while it may have grown. Copies that hold a turn of which the
 * store has not heard are left out: the outbox has a limit of its own, and none of them can go.
 *
 * @module
 */

import type { Pace } from "../lib/pacer.ts";
import type { StoredSession } from "./retention.ts";
import { type SessionRef, textOf } from "./session-id.ts";
import type { SessionLocks } from "./session-locks.ts";
import { sessionPathsOf } from "./session-paths.ts";
import { treeSizeOf } from "./tree-size.ts";

export interface CopiesSizeOptions {
  readonly dataDirectory: string;
  /** Says which copies are in a turn: they may grow all the time. */
  readonly locks: Pick<SessionLocks, "isLocked">;
  /** Whether a copy holds a turn of which the store has not heard. */
  readonly isNeeded: (ref: SessionRef) => boolean;
}

interface Weighed {
  readonly ref: SessionRef;
  readonly bytes: number;
}

type Looked = readonly (StoredSession | "unreadable")[];

export class CopiesSize {
  readonly #options: CopiesSizeOptions;
  /** Null until all were looked at once. */
  #weighed: Map<string, Weighed> | null = null;
  /** Copies that are, or may be, of another size than they were weighed with. */
  readonly #changed = new Map<string, SessionRef>();

  constructor(options: CopiesSizeOptions) {
    this.#options = options;
  }

  /** Something of the copy was, or is about to be, made or removed. */
  changed({ tenant, sessionId }: SessionRef): void {
    const ref = { tenant, sessionId };
    this.#changed.set(textOf(ref), ref);
  }

  /** Passes on a look at all copies with their bytes, and learns these. */
  async *learning(look: AsyncIterable<Looked>): AsyncGenerator<Looked> {
    const weighed = new Map<string, Weighed>();
    for await (const some of look) {
      for (const each of some) {
        if (each === "unreadable") continue;
        const { tenant, sessionId, bytes } = each;
        weighed.set(textOf(each), { ref: { tenant, sessionId }, bytes });
      }
      yield some;
    }
    this.#weighed = weighed;
  }

  /** What all copies take; null until all were looked at. */
  async bytes({ pacer, signal }: Pace): Promise<number | null> {
    const weighed = this.#weighed;
    if (weighed === null) return null;
    const { dataDirectory, locks, isNeeded } = this.#options;
    // What changes while it is weighed is for the next time.
    const changed = new Map(this.#changed);
    for (const [name, ref] of changed) {
      if (signal.aborted) break;
      // Before it is weighed: what changes meanwhile is weighed again.
      if (!locks.isLocked(ref)) this.#changed.delete(name);
      const { diskBytes } = await treeSizeOf(sessionPathsOf(dataDirectory, ref).directory);
      if (diskBytes === 0) weighed.delete(name);
      else weighed.set(name, { ref, bytes: diskBytes });
      await pacer.pause(signal);
    }
    let sum = 0;
    for (const { ref, bytes } of weighed.values()) if (!isNeeded(ref)) sum += bytes;
    return sum;
  }
}
