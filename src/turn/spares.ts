/**
 * Agent processes that are started ahead, each waiting for the first turn of some session: as many
 * for each agent as its file says, and only in memory that nobody else needs.
 *
 *     (room, an idle start slot) ─▶ starting ─▶ waiting ─┬─ take ─▶ claimed by a turn
 *                                                        └─ evicted, died ─▶ replaced later
 *
 * @module
 */

import type { KeptEndReason } from "../telemetry/values.ts";
import { type Evictions, sumOfBytes } from "./evictions.ts";
import type { TurnProcess } from "./turn-process.ts";

/** What a spare is taken to need before one was seen: 83 to 105 MiB measured. */
const PRESUMED_BYTES = 112 * 1024 * 1024;
/** How often it is looked whether there is room for one that is missing. */
const LOOK_MS = 250;
/** After a start of an agent that failed; doubled with each one more. */
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 60_000;

export interface SparesOptions {
  /** How many are wanted, by the name of the agent. */
  readonly wanted: ReadonlyMap<string, number>;
  /** Makes a process that waits for its session; rejects when none can be started. */
  readonly start: (agentName: string) => Promise<StartingSpare>;
  /** Whether there is room for one that nobody waits for, and nobody is waiting to start. */
  readonly mayStart: (bytes: number) => boolean;
  readonly evictions: Evictions;
  readonly onEnded: (reason: KeptEndReason) => void;
  /** Told of each start that failed. */
  readonly onFailed: (agentName: string, error: unknown) => void;
}

export interface StartingSpare {
  readonly process: TurnProcess;
  /** Settles when it can be claimed; rejects when it could not be started. */
  readonly ready: Promise<void>;
}

interface FailedStart {
  /** By `performance.now()`: the next start. */
  readonly notBeforeMs: number;
  /** Until then. */
  readonly pauseMs: number;
}

/**
 * Holds, between any two calls:
 * - of an agent there are at most as many as wanted, and one starts at a time;
 * - one that was taken is nobody else's;
 * - after {@link close} none is kept or started.
 */
export class Spares {
  readonly #options: SparesOptions;
  /** In the order of their starts. */
  readonly #waiting = new Set<TurnProcess>();
  readonly #watched = new WeakSet<TurnProcess>();
  /** The last start of an agent, where it failed: another agent need not wait for it. */
  readonly #failed = new Map<string, FailedStart>();
  #starting: TurnProcess | null = null;
  #looking: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #bytesOfOne = PRESUMED_BYTES;
  #isClosed = false;

  constructor(options: SparesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  get all(): readonly TurnProcess[] {
    return this.#starting === null ? [...this.#waiting] : [...this.#waiting, this.#starting];
  }

  /** Private memory of all of them. */
  heldBytes(): number {
    return sumOfBytes(this.all);
  }

  /** What the one that starts will hold, and does not hold yet. */
  promisedBytes(): number {
    return this.#starting === null ? 0 : this.#promisedBytesOf(this.#starting);
  }

  /** Starts those that are missing, as room allows, until closed. */
  open(): void {
    if (this.#isClosed || this.#options.wanted.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#startOne().then(() => this.open());
    }, LOOK_MS).unref();
  }

  /** One that waits for a session of the agent, which is then the caller's. */
  take(agentName: string): TurnProcess | null {
    for (const process of this.#waiting) {
      if (process.agentName !== agentName || !process.connection.isAlive) continue;
      this.#waiting.delete(process);
      return process;
    }
    return null;
  }

  /** One whose turn was not admitted after all. */
  putBack(process: TurnProcess): void {
    this.#keep(process);
  }

  /** Has them go until so many bytes will be free. @returns How many will be. */
  evict(bytes: number): number {
    let freed = 0;
    for (const process of this.all.toReversed()) {
      if (freed >= bytes) break;
      freed += (process.currentBytes ?? 0) + this.#promisedBytesOf(process);
      this.#drop(process, "evicted");
    }
    return freed;
  }

  /** Has the one go whose process tree has this id. */
  evictOne(id: string): void {
    const found = this.all.find(({ connection }) => connection.process?.turnId === id);
    if (found !== undefined) this.#drop(found, "evicted");
  }

  /** Keeps and starts none any more. Resolves when all are gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const process of this.all) this.#drop(process, "draining");
    await this.#looking;
    await this.#options.evictions.settled();
  }

  async #startOne(): Promise<void> {
    const agentName = this.#missing(performance.now());
    const { start, mayStart, onFailed } = this.#options;
    if (agentName === null || !mayStart(this.#bytesOfOne)) return;
    let process: TurnProcess | null = null;
    try {
      const { process: started, ready } = await start(agentName);
      process = started;
      this.#starting = started;
      if (this.#isClosed) this.#drop(started, "draining");
      await ready;
      this.#failed.delete(agentName);
      if (this.#starting === started) this.#keep(started);
    } catch (error) {
      // One that was evicted as it started has not failed.
      if (process !== null && process !== this.#starting) return;
      this.#putOff(agentName);
      if (process !== null) this.#drop(process, "died");
      onFailed(agentName, error);
    } finally {
      this.#starting = null;
    }
  }

  /** One that waits for its session grows no more until it has one, and then by a turn's leave. */
  #promisedBytesOf(process: TurnProcess): number {
    if (process !== this.#starting) return 0;
    return Math.max(0, this.#bytesOfOne - (process.currentBytes ?? 0));
  }

  #putOff(agentName: string): void {
    const earlier = this.#failed.get(agentName);
    const pauseMs =
      earlier === undefined ? RETRY_MIN_MS : Math.min(2 * earlier.pauseMs, RETRY_MAX_MS);
    this.#failed.set(agentName, { pauseMs, notBeforeMs: performance.now() + pauseMs });
  }

  /** The agent that lacks most of what it wants, of those that may be started now. */
  #missing(nowMs: number): string | null {
    let most: { readonly agentName: string; readonly count: number } | null = null;
    for (const [agentName, wanted] of this.#options.wanted) {
      if (nowMs < (this.#failed.get(agentName)?.notBeforeMs ?? 0)) continue;
      const there = [...this.#waiting].filter((process) => process.agentName === agentName).length;
      const count = wanted - there;
      if (count > (most?.count ?? 0)) most = { agentName, count };
    }
    return most?.agentName ?? null;
  }

  #keep(process: TurnProcess): void {
    this.#waiting.add(process);
    this.#bytesOfOne = Math.max(this.#bytesOfOne, process.currentBytes ?? 0);
    this.#watch(process);
    if (this.#isClosed) this.#drop(process, "draining");
    else if (!process.connection.isAlive) this.#drop(process, "died");
  }

  /** Once for each process, however often it is put back: a full replica does so for each refusal. */
  #watch(process: TurnProcess): void {
    if (this.#watched.has(process)) return;
    this.#watched.add(process);
    void process.connection.process?.gone.then(() => this.#drop(process, "died"));
  }

  /** Ends one that is kept here; one that is not, any more, is somebody else's. */
  #drop(process: TurnProcess, reason: KeptEndReason): void {
    if (process === this.#starting) this.#starting = null;
    else if (!this.#waiting.delete(process)) return;
    this.#options.onEnded(reason);
    void this.#options.evictions.end(process, () => {});
  }
}
