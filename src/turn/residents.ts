/**
 * Agent processes that stay between the turns of their session, one for each session: those that
 * linger while there is room, and those of long-running sessions, whose memory stays committed.
 *
 *     park ─▶ (at rest) ─┬─ take ─▶ a turn, or put back if that was shed
 *                        └─ time over, evicted, died, session deleted, draining ─▶ ended
 *
 * Whoever calls for a session holds its lock.
 *
 * @module
 */

import type { Permit } from "../capacity/permit.ts";
import { AppError } from "../lib/errors.ts";
import { settlesWithin } from "../lib/settles-within.ts";
import type { SessionRef } from "../session/session-id.ts";
import { clearScratch, lastMessageIdOf } from "../session/session-process.ts";
import type { KeptEndReason } from "../telemetry/values.ts";
import { type Evictions, sumOfBytes } from "./evictions.ts";
import type { TurnProcess } from "./turn-process.ts";

/** How long a turn waits for the process of its session that is on its way out. */
const CLOSING_WAIT_MS = 5_000;

export interface Resident {
  readonly ref: SessionRef;
  readonly process: TurnProcess;
  /** Of a long-running session: its memory stays committed. Null for one that lingers. */
  readonly permit: Permit | null;
  /** By `performance.now()`. */
  readonly leavesAtMs: number;
}

export interface ResidentsOptions {
  readonly dataDirectory: string;
  readonly maxResidents: number;
  readonly evictions: Evictions;
  readonly onEnded: (reason: KeptEndReason) => void;
}

/**
 * Holds, between any two calls:
 * - a session has at most one resident, and nobody else uses its process;
 * - a permit of a resident is given back once, when its process is gone or a turn has taken it;
 * - after {@link close} none is kept.
 */
export class Residents {
  readonly #options: ResidentsOptions;
  /** The least recently used first. */
  readonly #parked = new Map<string, Resident>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  /** Until nothing is left of their processes. */
  readonly #closing = new Map<string, Promise<void>>();
  readonly #watched = new WeakSet<TurnProcess>();
  #isClosed = false;

  constructor(options: ResidentsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#parked.size;
  }

  get all(): readonly Resident[] {
    return [...this.#parked.values()];
  }

  evictableBytes(): number {
    return sumOfBytes(this.#lingering().map(({ process }) => process));
  }

  /** The resident of the session, which is then the caller's: to use, put back or end. */
  take(ref: SessionRef): Resident | null {
    const resident = this.#parked.get(keyOf(ref));
    if (resident === undefined) return null;
    this.#forget(resident);
    return resident;
  }

  /** Of a turn that was not admitted after all. */
  putBack(resident: Resident): void {
    this.#keep(resident);
  }

  /** Keeps a process after a turn; if there are too many, the least recently used one goes. */
  park(resident: Resident): void {
    resident.permit?.rest();
    this.#keep(resident);
    if (this.#parked.size <= this.#options.maxResidents) return;
    const [oldest] = [...this.#lingering(), ...this.#parked.values()];
    if (oldest !== undefined) this.#drop(oldest, "evicted");
  }

  /** Why a process cannot have the session's next turn; null if it can. */
  async whyUnfit({ ref, process }: Resident): Promise<"died" | "outdated" | null> {
    const { connection } = process;
    const [answers, lastId] = await Promise.all([
      connection.answers(),
      lastMessageIdOf(this.#options.dataDirectory, ref),
    ]);
    if (!answers) return "died";
    return lastId !== null && lastId === connection.lastMessageId ? null : "outdated";
  }

  /** Ends one that was taken. Resolves when it is gone, as {@link whenClosed} says. */
  async end(resident: Resident, reason: KeptEndReason): Promise<void> {
    this.#close(resident, reason);
    await this.whenClosed(resident.ref);
  }

  /** Ends that of a session, if there is one. @throws {AppError} `session_busy` */
  async endOf(ref: SessionRef, reason: KeptEndReason): Promise<void> {
    const resident = this.take(ref);
    if (resident !== null) this.#close(resident, reason);
    await this.whenClosed(ref);
  }

  /**
   * Resolves when no process of the session is on its way out.
   *
   * @throws {AppError} `session_busy` when one does not go: it may still write to the session.
   */
  async whenClosed(ref: SessionRef): Promise<void> {
    const closing = this.#closing.get(keyOf(ref));
    if (closing === undefined || (await settlesWithin(closing, CLOSING_WAIT_MS))) return;
    throw new AppError("session_busy", "Cannot use the session: its last process is not yet gone");
  }

  /** Has the least recently used of those that linger go until so many bytes will be free. */
  evict(bytes: number): void {
    let freed = 0;
    for (const resident of this.#lingering()) {
      if (freed >= bytes) return;
      freed += resident.process.currentBytes ?? 0;
      this.#drop(resident, "evicted");
    }
  }

  /** Has the one go whose process tree has this id, be its memory committed or not. */
  evictOne(id: string): void {
    const found = this.all.find(({ process }) => process.connection.process?.turnId === id);
    if (found !== undefined) this.#drop(found, "evicted");
  }

  /** Keeps none any more. Resolves when all are gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const resident of this.all) this.#drop(resident, "draining");
    await this.#options.evictions.settled();
  }

  #keep(resident: Resident): void {
    const key = keyOf(resident.ref);
    const { connection } = resident.process;
    this.#parked.set(key, resident);
    const leftMs = resident.leavesAtMs - performance.now();
    const timer = setTimeout(() => this.#drop(resident, "expired"), Math.max(0, leftMs)).unref();
    this.#timers.set(key, timer);
    this.#watch(resident.process);
    if (this.#isClosed) this.#drop(resident, "draining");
    else if (!connection.isAlive) this.#drop(resident, "died");
  }

  /** Once for each process, however many turns it has. */
  #watch(process: TurnProcess): void {
    if (this.#watched.has(process)) return;
    this.#watched.add(process);
    void process.connection.process?.gone.then(() => {
      const found = this.all.find((resident) => resident.process === process);
      if (found !== undefined) this.#drop(found, "died");
      return found;
    });
  }

  /** Ends one that is parked; one that is not, any more, is somebody else's. */
  #drop(resident: Resident, reason: KeptEndReason): void {
    if (this.#parked.get(keyOf(resident.ref)) !== resident) return;
    this.#forget(resident);
    this.#close(resident, reason);
  }

  #forget({ ref }: Resident): void {
    const key = keyOf(ref);
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
    this.#parked.delete(key);
  }

  #close({ ref, process, permit }: Resident, reason: KeptEndReason): void {
    const key = keyOf(ref);
    this.#options.onEnded(reason);
    const closing = this.#options.evictions
      .end(process, () => clearScratch(this.#options.dataDirectory, ref))
      // One that outlives SIGKILL still has its memory, and may still write to the session.
      .then(() => process.connection.process?.treeGone)
      .finally(() => {
        permit?.[Symbol.dispose]();
        if (this.#closing.get(key) === closing) this.#closing.delete(key);
      });
    this.#closing.set(key, closing);
  }

  #lingering(): readonly Resident[] {
    return this.all.filter(({ permit }) => permit === null);
  }
}

function keyOf({ tenant, sessionId }: SessionRef): string {
  return JSON.stringify([tenant, sessionId]);
}
