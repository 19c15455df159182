/**
 * How many transcripts are read at once: each takes memory, and time of the one loop that answers
 * everybody, by the size of the session and not of the request. Further ones wait their turn.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";

export interface TranscriptReadLimits {
  readonly maxReadsAtOnce: number;
  /** Longest wait for a read to begin. */
  readonly readWaitMs: number;
}

export class TranscriptReads {
  readonly #limits: TranscriptReadLimits;
  /** In the order in which they came. */
  readonly #waiting = new Set<() => void>();
  #reading = 0;

  constructor(limits: TranscriptReadLimits) {
    this.#limits = limits;
  }

  /**
   * Resolves when the read may begin; it ends when what is returned is disposed of.
   *
   * @param gone Of the client: then nobody waits any more.
   * @throws {AppError} `too_many_reads` when it could not begin in time; `invalid_request` for a
   *   client that left.
   */
  async begin(gone: AbortSignal): Promise<Disposable> {
    if (this.#reading < this.#limits.maxReadsAtOnce) this.#reading += 1;
    else if (!(await this.#turnCame(gone))) throw gone.aborted ? clientLeft() : tooManyReads();
    let isOver = false;
    return {
      [Symbol.dispose]: () => {
        if (!isOver) this.#end();
        isOver = true;
      },
    };
  }

  /** Whoever waits longest has the place at once: nobody who comes meanwhile can take it. */
  #end(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#reading -= 1;
    else next();
  }

  #turnCame(gone: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (hasPlace: boolean): void => {
        clearTimeout(timer);
        gone.removeEventListener("abort", giveUp);
        this.#waiting.delete(take);
        resolve(hasPlace);
      };
      const take = () => settle(true);
      const giveUp = () => settle(false);
      const timer = setTimeout(giveUp, this.#limits.readWaitMs);
      gone.addEventListener("abort", giveUp, { once: true });
      this.#waiting.add(take);
      if (gone.aborted) giveUp();
    });
  }
}

function tooManyReads(): AppError {
  const state = "as many transcripts are being read as may be";
  return new AppError("too_many_reads", `Cannot read the session: ${state}`, {
    retryAfterSeconds: 1,
  });
}

/** For the metrics: nobody is left to read it. */
function clientLeft(): AppError {
  return new AppError("invalid_request", "Cannot answer: the client left");
}
