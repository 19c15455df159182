/**
 * Agent processes that are started ahead, each waiting for the first turn of some session: as many
 * for each agent as its file says, and only in memory that nobody else needs.
 *
 *     (room, an idle start slot) ─▶ booked ─▶ starting ─▶ waiting ─┬─ take ─▶ claimed by a turn
 *                                      └──────────┴──────────────────┴─ evicted, died ─▶ replaced later
 *
 * @module
 */

import type { StartSlot } from "../capacity/start-lane.ts";
import { MIB } from "../lib/byte-units.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { KeptEndReason } from "../telemetry/values.ts";
import { type Evictions, sumOfBytes } from "./evictions.ts";
import type { TurnProcess } from "./turn-process.ts";

/** What a spare is taken to need before one was seen: 83 to 105 MiB measured. */
const PRESUMED_BYTES = 112 * MIB;
/** How often it is looked whether there is room for one that is missing. */
const LOOK_MS = 250;
/** The pause after a start of an agent that failed; doubled with each one more. */
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 60_000;

export interface SparesOptions {
  /** How many are wanted, by the name of the agent. */
  readonly wanted: ReadonlyMap<string, number>;
  /**
   * Makes a process that waits for its session; rejects when none can be started.
   *
   * @param slot Its own now.
   */
  readonly start: (agentName: string, slot: StartSlot) => Promise<StartingSpare>;
  /** A slot to start in; null where there is no room for what nobody waits for, or others wait. */
  readonly tryEnter: (bytes: number) => StartSlot | null;
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

/** A spare that may start. */
interface Booking {
  /** The process; null until it is made, which may have to wait for the disk. */
  process: TurnProcess | null;
}

interface FailedStart {
  /** When the next start may be. */
  readonly notBeforeMs: number;
  /** How long that was put off. */
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
  /** Spares that can be claimed, in the order of their starts. */
  readonly #waiting = new Set<TurnProcess>();
  readonly #watched = new WeakSet<TurnProcess>();
  /** The last start of an agent, where it failed: another agent need not wait for it. */
  readonly #failed = new Map<string, FailedStart>();
  /** The spare that starts; null also when it was given up. */
  #booking: Booking | null = null;
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
    const starting = this.#booking?.process ?? null;
    return starting === null ? [...this.#waiting] : [...this.#waiting, starting];
  }

  /** Private memory of all of them: any may be evicted. */
  evictableBytes(): number {
    return sumOfBytes(this.all);
  }

  /** What the one that starts will hold, and does not hold yet: from the moment that it may. */
  promisedBytes(): number {
    if (this.#booking === null) return 0;
    return Math.max(0, this.#bytesOfOne - (this.#booking.process?.currentBytes ?? 0));
  }

  /** Starts those that are missing, as room allows, until closed. */
  open(): void {
    if (this.#isClosed || this.#options.wanted.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#startOne().then(() => this.open());
    }, LOOK_MS).unref();
  }

  /** A spare that waits for a session of the agent, which is then the caller's. */
  take(agentName: string): TurnProcess | null {
    for (const process of this.#waiting) {
      if (process.agentName !== agentName || !process.connection.isAlive) continue;
      this.#waiting.delete(process);
      return process;
    }
    return null;
  }

  /** Keeps the spare again of a turn that was not admitted after all. */
  putBack(process: TurnProcess): void {
    this.#keep(process);
  }

  /** Has them go until so many bytes will be free. @returns How many will be. */
  evict(bytes: number): number {
    let freed = 0;
    if (bytes > 0 && this.#booking !== null) {
      freed += this.promisedBytes() + (this.#booking.process?.currentBytes ?? 0);
      this.#giveUp("evicted");
    }
    for (const process of [...this.#waiting].toReversed()) {
      if (freed >= bytes) break;
      freed += process.currentBytes ?? 0;
      this.#drop(process, "evicted");
    }
    return freed;
  }

  /** Has the one go whose process has this id. */
  evictOne(processId: string): void {
    const found = this.all.find(({ connection }) => connection.process?.processId === processId);
    if (found !== undefined) this.#drop(found, "evicted");
  }

  /** Keeps and starts none any more. Resolves when all are gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#giveUp("draining");
    for (const process of this.#waiting) this.#drop(process, "draining");
    await this.#looking;
    await this.#options.evictions.settled();
  }

  async #startOne(): Promise<void> {
    const agentName = this.#missing(monotonicMs());
    if (agentName === null) return;
    // Without a wait: a turn that comes next finds the room and the slot taken.
    const slot = this.#options.tryEnter(this.#bytesOfOne);
    if (slot === null) return;
    const booking: Booking = { process: null };
    this.#booking = booking;
    try {
      const { process, ready } = await this.#options.start(agentName, slot);
      booking.process = process;
      // It was given up before there was anything to end.
      if (this.#booking !== booking) this.#end(process);
      await ready;
      this.#failed.delete(agentName);
      if (this.#booking !== booking) return;
      this.#booking = null;
      this.#keep(process);
    } catch (error) {
      // One that was given up as it started has not failed.
      if (this.#booking !== booking) return;
      this.#putOff(agentName);
      if (booking.process !== null) this.#giveUp("died");
      this.#options.onFailed(agentName, error);
    } finally {
      if (this.#booking === booking) this.#booking = null;
    }
  }

  /** The one that starts, if there is one; if it is not made yet it ends when it is. */
  #giveUp(reason: KeptEndReason): void {
    if (this.#booking === null) return;
    const { process } = this.#booking;
    this.#booking = null;
    this.#options.onEnded(reason);
    if (process !== null) this.#end(process);
  }

  #end(process: TurnProcess): void {
    void this.#options.evictions.end(process, () => {});
  }

  #putOff(agentName: string): void {
    const earlier = this.#failed.get(agentName);
    const pauseMs =
      earlier === undefined ? RETRY_MIN_MS : Math.min(2 * earlier.pauseMs, RETRY_MAX_MS);
    this.#failed.set(agentName, { pauseMs, notBeforeMs: monotonicMs() + pauseMs });
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

  /** Watches a process once, however often it is put back: a full replica does so for each refusal. */
  #watch(process: TurnProcess): void {
    if (this.#watched.has(process)) return;
    this.#watched.add(process);
    void process.connection.process?.processExited.then(() => this.#drop(process, "died"));
  }

  /** Ends one that is kept here; one that is not, any more, is somebody else's. */
  #drop(process: TurnProcess, reason: KeptEndReason): void {
    if (process === this.#booking?.process) return this.#giveUp(reason);
    if (!this.#waiting.delete(process)) return;
    this.#options.onEnded(reason);
    this.#end(process);
  }
}
