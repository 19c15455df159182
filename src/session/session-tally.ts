/**
 * How many sessions there are, of all tenants, and what their transcripts take: counted by whoever
 * looks at all of them anyway, and gone on with from there. Asking costs nothing.
 *
 * What this replica begins and deletes is counted at once, also while somebody looks. What others do
 * in a store that several share is not known before the next look.
 *
 * @module
 */

import type { StoredSession } from "./retention.ts";
import type { SessionRef } from "./session-id.ts";

export interface Tallied {
  readonly sessions: number;
  /** What their transcripts take, without those of sub-agents. */
  readonly transcriptBytes: number;
  /** When the last look at all of them was over. */
  readonly countedAtMs: number;
}

/** One that was looked at. */
export interface SeenSession extends StoredSession {
  readonly transcriptBytes: number;
}

/** A look that is under way: what it has seen by now, and what it may see and is gone. */
interface Look {
  readonly seen: Map<string, number>;
  readonly gone: Set<string>;
}

export class SessionTally {
  readonly #looks = new Set<Look>();
  #known: Tallied | null = null;

  /** Null before the first look is over. */
  get known(): Tallied | null {
    return this.#known;
  }

  begun({ sessionId }: SessionRef): void {
    for (const { seen } of this.#looks) seen.set(sessionId, 0);
    this.#add(1, 0);
  }

  /** @param bytes By how much its transcript has grown; less than 0 where it was shortened. */
  grew({ sessionId }: SessionRef, bytes: number): void {
    for (const { seen } of this.#looks) {
      const before = seen.get(sessionId);
      if (before !== undefined) seen.set(sessionId, before + bytes);
    }
    this.#add(0, bytes);
  }

  /** @param bytes What its transcript took. */
  removed({ sessionId }: SessionRef, bytes: number): void {
    for (const { seen, gone } of this.#looks) {
      seen.delete(sessionId);
      gone.add(sessionId);
    }
    this.#add(-1, -bytes);
  }

  /** Passes on what a look finds. One that is left before its end counts for nothing. */
  async *counting(
    found: AsyncIterable<readonly (SeenSession | "unreadable")[]>,
  ): AsyncGenerator<readonly (SeenSession | "unreadable")[]> {
    const look: Look = { seen: new Map(), gone: new Set() };
    this.#looks.add(look);
    try {
      for await (const some of found) {
        for (const each of some) if (each !== "unreadable") see(look, each);
        yield some;
      }
      let transcriptBytes = 0;
      for (const bytes of look.seen.values()) transcriptBytes += bytes;
      this.#known = { sessions: look.seen.size, transcriptBytes, countedAtMs: Date.now() };
    } finally {
      this.#looks.delete(look);
    }
  }

  #add(sessions: number, bytes: number): void {
    if (this.#known === null) return;
    this.#known = {
      ...this.#known,
      // Others may have begun what is deleted here, and not yet be counted.
      sessions: Math.max(0, this.#known.sessions + sessions),
      transcriptBytes: Math.max(0, this.#known.transcriptBytes + bytes),
    };
  }
}

/** In a store a session may be found twice. */
function see({ seen, gone }: Look, { sessionId, transcriptBytes }: SeenSession): void {
  if (!gone.has(sessionId) && !seen.has(sessionId)) seen.set(sessionId, transcriptBytes);
}
