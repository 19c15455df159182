/**
 * One reader of the feed: what waits for it, up to a limit. A reader that falls behind is not cut
 * off: what waited is dropped, and it begins anew with what there is then, as a new one would.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";

/** The most that waits for one reader; what a socket holds comes on top. */
const MAX_QUEUED_BYTES = MIB;

export class FeedReader {
  readonly #opening: () => readonly string[];
  #queue: string[] = [];
  #queuedBytes = 0;
  /** Has to begin, or to begin anew. */
  #isBehind = true;
  #isClosed = false;
  #wake = (): void => undefined;

  /** @param opening What a reader needs to go on with events, as of now. */
  constructor(opening: () => readonly string[]) {
    this.#opening = opening;
  }

  /** @param frame Shared by all readers. */
  push(frame: string): void {
    // What it will begin with has it.
    if (this.#isBehind || this.#isClosed) return;
    this.#queue.push(frame);
    this.#queuedBytes += frame.length;
    if (this.#queuedBytes > MAX_QUEUED_BYTES) {
      this.#isBehind = true;
      this.#takeQueue();
    }
    this.#wake();
  }

  /** Ends what it reads, after what waits. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  /** Ends it at once: nobody is there to read. Idempotent. */
  drop(): void {
    this.#takeQueue();
    this.#isBehind = false;
    this.close();
  }

  /** Once. Frames that have waited together come as one chunk. */
  async *chunks(): AsyncGenerator<string, void, undefined> {
    while (true) {
      if (this.#isBehind) {
        this.#isBehind = false;
        yield* this.#opening();
      } else if (this.#queue.length > 0) {
        yield this.#takeQueue();
      } else if (this.#isClosed) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #takeQueue(): string {
    const chunk = this.#queue.join("");
    this.#queue = [];
    this.#queuedBytes = 0;
    return chunk;
  }
}
