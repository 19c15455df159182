/**
 * Agent processes that stay between the turns of their session, one for each session: those that
 * linger while there is room, and those of long-running sessions, whose memory stays committed.
 * One that was started ahead of a turn lingers as well, from the moment its start is decided.
 *
 *     park ─▶ (at rest) ─┬─ take ─▶ a turn, or put back if that was shed
 *                        └─ time over, evicted, died, session deleted, draining ─▶ ended
 *
 * Whoever calls for a session holds its lock; but for who parks a process that is started ahead. He
 * has seen that nobody holds it, and nobody is refused: who takes the session takes the process with
 * it, and waits until that has left the session's files alone.
 *
 * @module
 */

import type { Permit } from "../capacity/permit.ts";
import { AppError } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { settlesWithin } from "../lib/settles-within.ts";
import { type SessionRef, textOf } from "../session/session-id.ts";
import { clearScratch, lastMessageIdOf } from "../session/session-process.ts";
import type { KeptEndReason } from "../telemetry/values.ts";
import { type Evictions, sumOfBytes } from "./evictions.ts";
import type { TurnProcess } from "./turn-process.ts";

/** How long a turn waits for the process of its session that is on its way out. */
const CLOSING_WAIT_MS = 5_000;
/** How long a session is not warmed again after it was in vain: who asks in a loop starts nothing. */
const IN_VAIN_PAUSE_MS = 10_000;
/** How often it may be in vain for one tenant in that time: who asks for many sessions starts little. */
export const MAX_IN_VAIN = 8;

/** A start ahead of a turn. */
export interface Warming {
  /** Settles when the process can have its turn; rejects when it could not be started. Bounded. */
  readonly ready: Promise<void>;
  /** What it will hold in its turn. */
  readonly predictedBytes: number;
}

export interface Resident {
  readonly ref: SessionRef;
  readonly process: TurnProcess;
  /** The permit of a long-running session: its memory stays committed. Null for one that lingers. */
  readonly permit: Permit | null;
  /** When it is ended, unless it has a turn before. */
  readonly leavesAtMs: number;
  /** The start of a process that was started ahead; null for one that has had a turn. */
  readonly warming: Warming | null;
}

/** What speaks for starting a process ahead for a session, or against it. */
export interface SessionHeat {
  /** A process of the session is there, or is starting. */
  readonly isKept: boolean;
  /** Its last process is on its way out. */
  readonly isLeaving: boolean;
  /** One was started ahead, and ended without a turn, a moment ago; or several of its tenant. */
  readonly wasInVain: boolean;
  /** One more may be started ahead, if need be for the least recently used of its tenant. */
  readonly hasPlace: boolean;
}

export interface ResidentsOptions {
  readonly dataDirectory: string;
  readonly maxResidents: number;
  /** How long a process may take to start. */
  readonly startTimeoutMs: number;
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
  /** Sessions whose processes are on their way out, each until nothing is left of that. */
  readonly #closing = new Map<string, Promise<void>>();
  readonly #watched = new WeakSet<TurnProcess>();
  /** Processes that were started ahead and ended without a turn, the longest ago first. */
  readonly #inVain = new Map<string, { readonly tenant: string; readonly atMs: number }>();
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

  /** Private memory of those that may be evicted. */
  evictableBytes(): number {
    return sumOfBytes(this.#lingering().map(({ process }) => process));
  }

  /** What those that wait for their first turn will hold, and do not hold yet. */
  promisedBytes(): number {
    let bytes = 0;
    for (const resident of this.#parked.values()) bytes += promisedBytesOf(resident);
    return bytes;
  }

  heatOf(ref: SessionRef): SessionHeat {
    const key = textOf(ref);
    this.#forgetOldInVain();
    const inVain = [...this.#inVain.values()].filter(({ tenant }) => tenant === ref.tenant);
    return {
      isKept: this.#parked.has(key),
      isLeaving: this.#closing.has(key),
      wasInVain: this.#inVain.has(key) || inVain.length >= MAX_IN_VAIN,
      hasPlace: this.size < this.#options.maxResidents || this.#lingering(ref.tenant).length > 0,
    };
  }

  /** The resident of the session, which is then the caller's: to use, put back or end. */
  take(ref: SessionRef): Resident | null {
    const resident = this.#parked.get(textOf(ref));
    if (resident === undefined) return null;
    this.#forget(resident);
    return resident;
  }

  /** Keeps the resident again of a turn that was not admitted after all. */
  putBack(resident: Resident): void {
    this.#keep(resident);
  }

  /**
   * Keeps a process after a turn, or ahead of one; if there are too many, the least recently used
   * one goes. A mere hint takes no place from another tenant.
   */
  park(resident: Resident): void {
    const { permit, warming, ref, leavesAtMs } = resident;
    permit?.rest(Math.max(0, leavesAtMs - monotonicMs()));
    this.#keep(resident);
    if (this.#parked.size <= this.#options.maxResidents) return;
    const [oldest] =
      warming === null
        ? [...this.#lingering(), ...this.#parked.values()]
        : this.#lingering(ref.tenant);
    if (oldest !== undefined) this.#drop(oldest, "evicted");
  }

  /**
   * Why a process cannot have the session's next turn; null if it can. One that is starting is
   * ahead of any that would be started now, so it is given the time that its start may take.
   *
   * @param stop Ends that wait.
   */
  async whyUnfit(
    { ref, process, warming }: Resident,
    stop: AbortSignal,
  ): Promise<"died" | "outdated" | null> {
    if (warming !== null) await settlesWithin(warming.ready, this.#options.startTimeoutMs, stop);
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
    const closing = this.#closing.get(textOf(ref));
    if (closing === undefined || (await settlesWithin(closing, CLOSING_WAIT_MS))) return;
    throw new AppError("session_busy", "Cannot use the session: its last process is not yet gone");
  }

  /** Has the least recently used of those that linger go until so many bytes will be free. */
  evict(bytes: number): void {
    let freed = 0;
    for (const resident of this.#lingering()) {
      if (freed >= bytes) return;
      freed += (resident.process.currentBytes ?? 0) + promisedBytesOf(resident);
      this.#drop(resident, "evicted");
    }
  }

  /** Has the one go whose process has this id, be its memory committed or not. */
  evictOne(processId: string): void {
    const found = this.all.find(
      ({ process }) => process.connection.process?.processId === processId,
    );
    if (found !== undefined) this.#drop(found, "evicted");
  }

  /** Keeps none any more. Resolves when all are gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const resident of this.all) this.#drop(resident, "draining");
    await this.#options.evictions.settled();
  }

  #keep(resident: Resident): void {
    const key = textOf(resident.ref);
    this.#parked.set(key, resident);
    const leftMs = resident.leavesAtMs - monotonicMs();
    const timer = setTimeout(() => this.#drop(resident, "expired"), Math.max(0, leftMs)).unref();
    this.#timers.set(key, timer);
    if (this.#isClosed) this.#drop(resident, "draining");
    else if (resident.warming === null) this.#mustLive(resident);
    else {
      const dropIt = () => this.#drop(resident, "died");
      void resident.warming.ready.then(() => this.#mustLive(resident), dropIt);
    }
  }

  #mustLive(resident: Resident): void {
    this.#watch(resident.process);
    if (!resident.process.connection.isAlive) this.#drop(resident, "died");
  }

  /** Once for each process, however many turns it has. */
  #watch(process: TurnProcess): void {
    if (this.#watched.has(process)) return;
    this.#watched.add(process);
    void process.connection.process?.processExited.then(() => {
      const found = this.all.find((resident) => resident.process === process);
      if (found !== undefined) this.#drop(found, "died");
      return found;
    });
  }

  /** Ends one that is parked; one that is not, any more, is somebody else's. */
  #drop(resident: Resident, reason: KeptEndReason): void {
    if (this.#parked.get(textOf(resident.ref)) !== resident) return;
    this.#forget(resident);
    this.#close(resident, reason);
  }

  #forget({ ref }: Resident): void {
    const key = textOf(ref);
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
    this.#parked.delete(key);
  }

  #close({ ref, process, permit, warming }: Resident, reason: KeptEndReason): void {
    const key = textOf(ref);
    this.#options.onEnded(reason);
    if (warming !== null) {
      this.#inVain.delete(key); // A Map keeps the order of coming.
      this.#inVain.set(key, { tenant: ref.tenant, atMs: monotonicMs() });
    }
    const closing = this.#options.evictions
      .end(process, async () => {
        // Until then a start that was given up may have to do with the session's files.
        await warming?.ready.catch(() => {});
        await clearScratch(this.#options.dataDirectory, ref);
      })
      // One that outlives SIGKILL still has its memory, and may still write to the session.
      .then(() => process.connection.process?.treeGone)
      .finally(() => {
        permit?.[Symbol.dispose]();
        if (this.#closing.get(key) === closing) this.#closing.delete(key);
      });
    this.#closing.set(key, closing);
  }

  #forgetOldInVain(): void {
    const nowMs = monotonicMs();
    for (const [key, { atMs }] of this.#inVain) {
      if (nowMs - atMs < IN_VAIN_PAUSE_MS) break;
      this.#inVain.delete(key);
    }
  }

  /** @param tenant Whose; everybody's without it. */
  #lingering(tenant?: string): readonly Resident[] {
    return this.all.filter(
      ({ permit, ref }) => permit === null && (tenant === undefined || ref.tenant === tenant),
    );
  }
}

/** What a resident will hold and does not yet: only one that was started ahead has still to grow. */
function promisedBytesOf({ process, warming }: Resident): number {
  return Math.max(0, (warming?.predictedBytes ?? 0) - (process.currentBytes ?? 0));
}
