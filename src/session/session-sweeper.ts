/**
 * Deletes the sessions that have to go, by the limits of `retention.ts`: one after the other, and
 * beside a server with pauses, so that turns hardly feel it.
 *
 * @module
 */

import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "../lib/errors.ts";
import { Pacer } from "../lib/pacer.ts";
import type { RetentionReason } from "../telemetry/values.ts";
import type { FileSessions } from "./file-sessions.ts";
import {
  expiredSessions,
  type Expired,
  type RetentionLimits,
  type StoredSession,
} from "./retention.ts";
import { sessionDirectories } from "./session-list.ts";
import type { SessionLocks } from "./session-locks.ts";
import { RECORD_NAME } from "./session-paths.ts";
import { readAnyRecord } from "./session-record.ts";
import { ifPresent, storing } from "./storage-errors.ts";
import { treeSizeOf } from "./tree-size.ts";

export interface SweeperOptions {
  readonly dataDirectory: string;
  readonly sessions: Pick<FileSessions, "deleteUnused">;
  readonly locks: Pick<SessionLocks, "isLocked">;
  readonly limits: RetentionLimits;
  /**
   * The most of the time that a sweep works, up to 1. Measured: without pauses, turns on two busy
   * cores take half as long again (see docs/benchmarks.md).
   */
  readonly loadRatio: number;
}

export interface SweptSession {
  readonly tenant: string;
  readonly sessionId: string;
  readonly lastTurnAtMs: number;
  readonly bytes: number;
  readonly reason: RetentionReason;
}

export interface Sweep {
  /** Sessions looked at. */
  readonly seen: number;
  /** What they take of the disk: all files where a limit is of bytes, else transcripts alone. */
  readonly seenBytes: number;
  /** On hold, and so kept whatever the limits say. */
  readonly onHold: number;
  /** Records that could not be read: their sessions are left alone. */
  readonly unreadable: number;
  /** What went; or, of a dry run, what would. */
  readonly swept: readonly SweptSession[];
  /** Had to go, and had a turn meanwhile or could not be deleted: the next sweep looks again. */
  readonly skipped: number;
}

export interface SweepOptions {
  /** Says what would go, and deletes nothing. */
  readonly isDryRun?: boolean;
  /** Ends the sweep between two sessions; what was deleted by then is told all the same. */
  readonly signal?: AbortSignal;
}

/** Disposing ends a sweep that is under way, and waits for no more than the session it deletes. */
export class SessionSweeper implements AsyncDisposable {
  readonly #options: SweeperOptions;
  readonly #stop = new AbortController();
  /** One at a time: two would delete the same sessions, and both tell of them. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  /**
   * One look at all sessions, after any that is under way.
   *
   * @throws {AppError} `storage_failed` when the sessions cannot be looked at.
   */
  sweep(nowMs: number, { isDryRun = false, signal }: SweepOptions = {}): Promise<Sweep> {
    const { signal: stop } = this.#stop;
    const either = signal === undefined ? stop : AbortSignal.any([signal, stop]);
    const next = this.#last.then(() => this.#sweep(nowMs, isDryRun, either));
    this.#last = next.catch(() => {});
    return next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#last;
  }

  async #sweep(nowMs: number, isDryRun: boolean, signal: AbortSignal): Promise<Sweep> {
    const { dataDirectory, limits, loadRatio } = this.#options;
    const pacer = new Pacer(loadRatio);
    const look = () => this.#look(pacer, signal);
    const { stored, unreadable } = await storing("look at the sessions", look);
    const freeBytes = await freeBytesOf(dataDirectory);
    const expired = expiredSessions(stored, limits, { nowMs, freeBytes });
    const swept: SweptSession[] = [];
    let skipped = 0;
    for (const each of expired) {
      if (!isDryRun) await pacer.pause(signal);
      if (signal.aborted) break;
      if (isDryRun || (await this.#delete(each, nowMs))) swept.push(told(each));
      else skipped += 1;
    }
    return {
      seen: stored.length,
      seenBytes: stored.reduce((sum, { bytes }) => sum + bytes, 0),
      onHold: stored.filter(({ isOnHold }) => isOnHold).length,
      unreadable,
      swept,
      skipped,
    };
  }

  async #look(pacer: Pacer, signal: AbortSignal) {
    const stored: StoredSession[] = [];
    let unreadable = 0;
    for await (const directories of sessionDirectories(this.#options.dataDirectory)) {
      await pacer.pause(signal);
      if (signal.aborted) break;
      const found = await Promise.all(directories.map((directory) => this.#lookAt(directory)));
      stored.push(...found.filter((each) => each !== "unreadable" && each !== undefined));
      unreadable += found.filter((each) => each === "unreadable").length;
    }
    return { stored, unreadable };
  }

  /** Undefined when it is gone by now, or was never begun. */
  async #lookAt(directory: string): Promise<StoredSession | "unreadable" | undefined> {
    const { limits, locks } = this.#options;
    try {
      const record = await readAnyRecord(join(directory, RECORD_NAME));
      if (record === undefined) return undefined;
      const needsSize = hasLimitOfBytes(limits);
      const size = needsSize ? await ifPresent(treeSizeOf(directory)) : undefined;
      const { tenant, sessionId, createdAtMs, lastTurnAtMs, onHoldSinceMs } = record;
      return {
        tenant,
        sessionId,
        createdAtMs,
        lastTurnAtMs,
        bytes: size?.bytes ?? record.transcriptBytes,
        isOnHold: onHoldSinceMs !== undefined,
        isBusy: locks.isLocked({ tenant, sessionId }),
      };
    } catch {
      // What is damaged may be worth a rescue: it is told, and left for people.
      return "unreadable";
    }
  }

  /** Whether it is gone. It may have had a turn since it was looked at. */
  async #delete({ session }: Expired, nowMs: number): Promise<boolean> {
    try {
      return await this.#options.sessions.deleteUnused(session, nowMs);
    } catch (thrown) {
      if (thrown instanceof AppError) return false;
      throw thrown;
    }
  }
}

function hasLimitOfBytes({ bytesPerTenant, maxBytes, keepFreeBytes }: RetentionLimits): boolean {
  return bytesPerTenant !== null || maxBytes !== null || keepFreeBytes !== null;
}

function told({ session, reason }: Expired): SweptSession {
  const { tenant, sessionId, lastTurnAtMs, bytes } = session;
  return { tenant, sessionId, lastTurnAtMs, bytes, reason };
}

async function freeBytesOf(directory: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch {
    return null;
  }
}
