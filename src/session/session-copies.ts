/**
 * The copies that a replica has of sessions in a store: made what the store has before a turn,
 * dropped when nobody needs them, and when they must not be there any more.
 *
 * @module
 */

import { hasCode } from "../lib/errors.ts";
import type { Pace } from "../lib/pacer.ts";
import { CopiesSize } from "./copies-size.ts";
import type { FileSessions } from "./file-sessions.ts";
import { isInUse } from "./in-use.ts";
import type { LeaseClock } from "./lease-clock.ts";
import { isMarkOf, type LoadPath, LocalCopy, type Mark } from "./local-copy.ts";
import type { StoredSession } from "./retention.ts";
import { parseSessionRef, type SessionRef, textOf } from "./session-id.ts";
import type { SessionLocks } from "./session-locks.ts";
import type { SessionRecord } from "./session-record.ts";
import type { ScanOptions, Sessions } from "./sessions.ts";
import { storing } from "./storage-errors.ts";
import { createdAtMsOf, logKeyOf, recordOf } from "./stored-record.ts";
import { hasSession, type SessionHead } from "./stores/session-head.ts";
import { isUnreadable } from "./stores/readable.ts";
import type { SessionLog } from "./stores/session-log.ts";

export interface SessionCopiesOptions {
  readonly dataDirectory: string;
  readonly local: FileSessions;
  readonly log: SessionLog;
  readonly clock: LeaseClock;
  readonly locks: SessionLocks;
  /** How long after its last use one stays of which the store knows nothing; null for ever. */
  readonly maxIdleMs: number | null;
  /** Whether the store has yet to hear of a turn that only the copy has. */
  readonly isNeeded: (ref: SessionRef) => boolean;
  /** Ends what is kept in memory for a session whose lock is held. */
  readonly beforeDelete: (ref: SessionRef) => Promise<void>;
  /** Told of one on hold that was in the way of the store's, and lies in `held/` now. */
  readonly onMovedToHeld: (ref: SessionRef) => void;
}

export class SessionCopies implements Pick<Sessions, "scan" | "deleteUnused"> {
  readonly #options: SessionCopiesOptions;
  /** Sessions of which the store, when it was last asked, knew nothing that can be read. */
  readonly #unknown = new Set<string>();
  readonly #size: CopiesSize;

  constructor(options: SessionCopiesOptions) {
    this.#options = options;
    this.#size = new CopiesSize(options);
  }

  /** What they take of the disk, but for what waits for the store; null until all were looked at. */
  async bytes(pace: Pace): Promise<number | null> {
    return this.#size.bytes(pace);
  }

  /** @param ref Whose id has passed `parseSessionRef`. */
  of(ref: SessionRef): LocalCopy {
    return new LocalCopy(this.#options.dataDirectory, ref);
  }

  /** The mark of a copy; null where it has none that can be read. @throws {AppError} `storage_failed` */
  async markOf(ref: SessionRef): Promise<Mark | null> {
    return storing("read the session", () => this.of(ref).readMark());
  }

  /**
   * Whether {@link download} has to make the copy anew, which no process may see that works with
   * it: others had turns of the session, or a file of the copy was removed since, or lost its end.
   *
   * @param mark As it was before the session was taken.
   * @throws {AppError} As {@link download}.
   */
  async hasMovedOn(ref: SessionRef, mark: Mark | null, head: SessionHead): Promise<boolean> {
    if (!isMarkOf(mark, head)) return true;
    const record = recordOf(head, ref, Date.now());
    const load = this.#loadOf(ref, head);
    return storing("read the session", () => this.of(ref).hasLostAnEnd(record, head, load));
  }

  /**
   * Makes the copy that of the store, where it is not.
   *
   * @param processStayed A process works with its files, which `claim` has found to be the store's:
   *   whatever has become of them since, they are not taken from it.
   * @returns Whether it had something that the store has not, and that is in `superseded/` now.
   * @throws {AppError} `session_gone`, `session_not_found`, `storage_failed`, `store_unavailable`.
   */
  async download(ref: SessionRef, head: SessionHead, processStayed = false): Promise<boolean> {
    this.#size.changed(ref);
    // A sweep may have weighed it when half of it was there.
    return this.#download(ref, head, processStayed).finally(() => this.#size.changed(ref));
  }

  async #download(ref: SessionRef, head: SessionHead, processStayed: boolean): Promise<boolean> {
    const nowMs = Date.now();
    const record = recordOf(head, ref, nowMs);
    const copy = this.of(ref);
    return storing("bring the session here", async () => {
      if (processStayed) {
        await copy.keep(record);
        return false;
      }
      // It was deleted and began anew: nothing of before may come into it, nor of who knows when.
      const isOfIt = (await copy.createdAtMs()) === record.createdAtMs;
      if (!isOfIt) await this.discard(ref, record.createdAtMs, nowMs);
      return copy.matchStore(record, head, this.#loadOf(ref, head));
    });
  }

  /**
   * Takes away what there is here of a session, whose lock is held. What is on hold, and not the session
   * of the store, is only moved: the store cannot know that it must not go.
   *
   * @param createdAtMs Of the session in the store, or the one that was deleted there.
   */
  async discard(ref: SessionRef, createdAtMs: number | undefined, nowMs: number): Promise<void> {
    const record = await this.of(ref).record();
    const isHeld = record?.onHoldSinceMs !== undefined && record.createdAtMs !== createdAtMs;
    if (isHeld) {
      await this.#options.local.moveToHeld({ ...ref, createdAtMs: record.createdAtMs });
      this.#options.onMovedToHeld(ref);
    } else await this.#options.local.discard(ref, nowMs);
    this.#unknown.delete(textOf(ref));
    this.#size.changed(ref);
  }

  /** Whether the store has all that the copy's transcript says. */
  async isKnown(ref: SessionRef, head: SessionHead): Promise<boolean> {
    const copy = this.of(ref);
    const record = await copy.record();
    if (record === undefined || createdAtMsOf(head) !== record.createdAtMs) return false;
    return copy.isWithin(record, this.#loadOf(ref, head));
  }

  async *scan(options: ScanOptions): AsyncGenerator<readonly (StoredSession | "unreadable")[]> {
    const local = this.#options.local.scan(options);
    for await (const some of options.withDiskUsage ? this.#size.learning(local) : local) {
      yield some.map((each) => (each === "unreadable" ? each : this.#asCopy(each)));
    }
  }

  #asCopy(each: StoredSession): StoredSession {
    // Of no limit but that of the outbox: else an outage would have all the others go.
    if (this.#options.isNeeded(each)) return { ...each, isBusy: true, bytes: 0 };
    return this.#unknown.has(textOf(each)) ? { ...each, goesByTimeAlone: true } : each;
  }

  async deleteUnused(
    seen: SessionRef & { readonly lastUseAtMs: number },
    nowMs: number,
  ): Promise<boolean> {
    const own = parseSessionRef(seen);
    const { locks, isNeeded, beforeDelete } = this.#options;
    using _lock = locks.lock(own);
    if (isNeeded(own)) return false;
    const fate = await storing("read the session", () => this.#fateOf(seen, nowMs));
    if (fate === "stays") return false;
    await beforeDelete(own);
    await this.discard(own, fate.createdAtMs, nowMs);
    return true;
  }

  /**
   * Drops the copies of sessions that were deleted on any replica, and brings the hold flag of the
   * others up to date. A copy that the store knows nothing of stays until it is idle for long: a store
   * that has lost everything must not empty the replicas.
   *
   * @returns How many were dropped.
   */
  async dropDeleted(nowMs: number, { pacer, signal }: Pace): Promise<number> {
    let dropped = 0;
    for await (const some of this.scan({ withDiskUsage: false })) {
      await pacer.pause(signal);
      if (signal.aborted) return dropped;
      const copies = some.filter((each) => each !== "unreadable");
      const wereDropped = await Promise.all(copies.map((each) => this.#dropIfDeleted(each, nowMs)));
      dropped += wereDropped.filter(Boolean).length;
    }
    return dropped;
  }

  /** @returns Whether it was dropped. */
  async #dropIfDeleted(seen: StoredSession, nowMs: number): Promise<boolean> {
    if (seen.isBusy) return false;
    const stored = await this.#storedOf(seen);
    // If the store cannot say, the copy may be worth a rescue.
    if (stored === "unknown") return false;
    const work = isOf(stored, seen) ? this.#learn(seen, stored) : this.deleteUnused(seen, nowMs);
    return work.catch(falseIfInUse);
  }

  /** What the store has of it; unknown where that is nothing, or nothing that can be read. */
  async #storedOf(ref: SessionRef): Promise<SessionRecord | "deleted" | "unknown"> {
    const { log, clock } = this.#options;
    const known = async (): Promise<SessionRecord | "deleted" | "unknown"> => {
      const head = await clock.asked(() => log.read(logKeyOf(ref)));
      if (head === null) return "unknown";
      return hasSession(head) ? recordOf(head, ref, Date.now()) : "deleted";
    };
    const stored = await known().catch(unknownIfUnreadable);
    if (stored === "unknown") this.#unknown.add(textOf(ref));
    else this.#unknown.delete(textOf(ref));
    return stored;
  }

  /** Has the copy know whether the session is on hold: for when the store is away. */
  async #learn(seen: StoredSession, { onHoldSinceMs }: SessionRecord): Promise<false> {
    const isOnHold = onHoldSinceMs !== undefined;
    if (isOnHold !== seen.isOnHold) {
      await this.#options.local.hold(seen, isOnHold, onHoldSinceMs ?? 0);
    }
    return false;
  }

  /**
   * What becomes of a copy, if it had no turn since it was seen: it stays, or makes room for, or goes with,
   * the session that the store has, or had.
   */
  async #fateOf(
    seen: SessionRef & { readonly lastUseAtMs: number },
    nowMs: number,
  ): Promise<"stays" | { readonly createdAtMs: number | undefined }> {
    const copy = this.of(seen);
    const record = await copy.record();
    if (record === undefined || (await copy.lastUseAtMs(record)) !== seen.lastUseAtMs)
      return "stays";
    const stored = await this.#storedOf(seen).catch(awayIfSilent);
    // What was never there was not deleted there, either.
    if (stored === "deleted") return { createdAtMs: (await copy.readMark())?.createdAtMs };
    if (stored === "unknown" || stored === "away") {
      // While the store is away, as far as is known here: the disk fills up all the same.
      const isDue =
        !this.#unknown.has(textOf(seen)) || this.#isIdleForLong(seen.lastUseAtMs, nowMs);
      return isDue && record.onHoldSinceMs === undefined ? record : "stays";
    }
    return isOf(stored, record) && stored.onHoldSinceMs !== undefined ? "stays" : stored;
  }

  #isIdleForLong(lastUseAtMs: number, nowMs: number): boolean {
    const { maxIdleMs } = this.#options;
    return maxIdleMs !== null && nowMs - lastUseAtMs > maxIdleMs;
  }

  #loadOf(ref: SessionRef, head: SessionHead): LoadPath {
    return (path) => this.#options.log.load(logKeyOf(ref), head, path);
  }
}

/** Whether it is the session that the copy is of, and not one that was begun anew, or deleted. */
function isOf(
  stored: SessionRecord | "deleted",
  { createdAtMs }: Pick<SessionRecord, "createdAtMs">,
): stored is SessionRecord {
  return stored !== "deleted" && stored.createdAtMs === createdAtMs;
}

function unknownIfUnreadable(thrown: unknown): "unknown" {
  if (isUnreadable(thrown)) return "unknown";
  throw thrown;
}

function awayIfSilent(thrown: unknown): "away" {
  if (hasCode(thrown, "store_unavailable")) return "away";
  throw thrown;
}

/** A turn that has begun meanwhile finds out by itself. */
function falseIfInUse(thrown: unknown): false {
  if (isInUse(thrown)) return false;
  throw thrown;
}
