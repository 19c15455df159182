/**
 * How many transcripts are read at once: each takes memory, and time of the one loop that answers
 * everybody, by the size of the session and not of the request. Further ones wait their turn, those of
 * one tenant behind each other and not before those of the others.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";

export interface TranscriptReadLimits {
  readonly maxReadsAtOnce: number;
  /** Longest wait for a read to begin. */
  readonly readWaitMs: number;
}

/** Far more than can begin in the time that they wait. */
const MAX_WAITING_OF_TENANT = 100;

/** A tenant that reads, or waits to. */
interface Readers {
  reading: number;
  /** Which read of all its last one was; 0 for none. */
  lastBegun: number;
  /** In the order in which they came. */
  readonly waiting: Set<() => void>;
}

export class TranscriptReads {
  readonly #limits: TranscriptReadLimits;
  /** By tenant. */
  readonly #readers = new Map<string, Readers>();
  #reading = 0;
  #begun = 0;

  constructor(limits: TranscriptReadLimits) {
    this.#limits = limits;
  }

  /**
   * Resolves when the read may begin; it ends when what is returned is disposed of.
   *
   * @param gone Of the client: then nobody waits any more.
   * @throws {AppError} `too_many_reads` when it could not begin in time, or too many of the tenant wait;
   *   `invalid_request` for a client that left.
   */
  async begin(tenant: string, gone: AbortSignal): Promise<Disposable> {
    const readers = this.#readers.get(tenant) ?? { reading: 0, lastBegun: 0, waiting: new Set() };
    this.#readers.set(tenant, readers);
    if (this.#reading < this.#limits.maxReadsAtOnce) this.#begin(readers);
    else if (!(await this.#turnCame(readers, gone))) {
      this.#forget(tenant, readers);
      throw gone.aborted ? clientLeft() : tooManyReads();
    }
    let isOver = false;
    return {
      [Symbol.dispose]: () => {
        if (!isOver) this.#end(tenant, readers);
        isOver = true;
      },
    };
  }

  #begin(readers: Readers): void {
    this.#reading += 1;
    this.#begun += 1;
    readers.reading += 1;
    readers.lastBegun = this.#begun;
  }

  /** The tenant that has least has the place at once: nobody who comes meanwhile can take it. */
  #end(tenant: string, readers: Readers): void {
    this.#reading -= 1;
    readers.reading -= 1;
    const next = nextOf([...this.#readers.values()]);
    const [take] = next?.waiting ?? [];
    if (next !== undefined && take !== undefined) {
      this.#begin(next);
      take();
    }
    this.#forget(tenant, readers);
  }

  #forget(tenant: string, readers: Readers): void {
    const isDone = readers.reading === 0 && readers.waiting.size === 0;
    // Others of the tenant may have come since it was forgotten before.
    if (isDone && this.#readers.get(tenant) === readers) this.#readers.delete(tenant);
  }

  async #turnCame({ waiting }: Readers, gone: AbortSignal): Promise<boolean> {
    if (waiting.size >= MAX_WAITING_OF_TENANT) return false;
    return new Promise((resolve) => {
      const settle = (hasPlace: boolean): void => {
        clearTimeout(timer);
        gone.removeEventListener("abort", giveUp);
        waiting.delete(take);
        resolve(hasPlace);
      };
      const take = () => settle(true);
      const giveUp = () => settle(false);
      const timer = setTimeout(giveUp, this.#limits.readWaitMs);
      gone.addEventListener("abort", giveUp, { once: true });
      waiting.add(take);
      if (gone.aborted) giveUp();
    });
  }
}

/**
 * Who is next of those that wait: the one with the fewest reads; of equals, whose last one began
 * first.
 */
function nextOf(all: readonly Readers[]): Readers | undefined {
  const [next] = all
    .filter(({ waiting }) => waiting.size > 0)
    .toSorted((one, other) => one.reading - other.reading || one.lastBegun - other.lastBegun);
  return next;
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
