/**
 * Deletes the sessions that have to go, by the limits of `retention.ts`: one after the other, and
 * beside a server with pauses, so that turns hardly feel it.
 *
 * @module
 */

import { statfs } from "node:fs/promises";
import { AppError } from "../lib/errors.ts";
import { Pacer } from "../lib/pacer.ts";
import type { RetentionReason } from "../telemetry/values.ts";
import type { Sessions } from "./sessions.ts";
import {
  type Expired,
  planSweep,
  type RetentionLimits,
  type StoredSession,
  type SweepPlan,
} from "./retention.ts";
import { storing } from "./storage-errors.ts";

export interface SweeperOptions {
  readonly sessions: Pick<Sessions, "look" | "deleteUnused">;
  readonly limits: RetentionLimits;
  /** The directory whose file system `keepFree` is about; null where sessions are on none. */
  readonly directory: string | null;
  /** Told once of each sweep that was no dry run, however many have asked for it. */
  readonly onSwept?: (sweep: Sweep) => void;
}

export interface SweptSession {
  readonly tenant: string;
  readonly sessionId: string;
  readonly lastUseAtMs: number;
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
  /** Had to go, and was used meanwhile: the next sweep looks again. */
  readonly skipped: number;
  /** Had to go, and could not be deleted. */
  readonly failed: number;
  /** By how much `keepFree` is missed that no deletion of sessions can help; 0 if it is not. */
  readonly missingBytes: number;
}

export const NOTHING_SWEPT: Sweep = {
  seen: 0,
  seenBytes: 0,
  onHold: 0,
  unreadable: 0,
  swept: [],
  skipped: 0,
  failed: 0,
  missingBytes: 0,
};

export interface SweepOptions {
  /** Says what would go, and deletes nothing. */
  readonly isDryRun?: boolean;
  /**
   * The most of the time that the sweep works, up to 1, which it is without it. Measured: turns on
   * two busy cores take half as long again beside one without pauses (see docs/benchmarks.md).
   */
  readonly loadRatio?: number;
  /** Ends the sweep between two steps; what was deleted by then is told all the same. */
  readonly signal?: AbortSignal;
}

interface Running {
  readonly pacer: Pacer;
  readonly sweep: Promise<Sweep>;
}

/** Disposing ends a sweep that is under way, between two of its steps. */
export class SessionSweeper implements AsyncDisposable {
  readonly #options: SweeperOptions;
  readonly #stop = new AbortController();
  /** The one that deletes, if there is one: a second would only get in its way. */
  #running: Running | null = null;

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  /**
   * One look at all sessions. Who asks for a sweep while one is under way gets what that one finds,
   * which goes on at the faster pace of the two.
   *
   * @throws {AppError} `storage_failed` when the sessions cannot be looked at.
   */
  async sweep(nowMs: number, options: SweepOptions = {}): Promise<Sweep> {
    const { isDryRun = false, loadRatio = 1 } = options;
    if (isDryRun) return this.#sweep(nowMs, options, new Pacer(loadRatio));
    this.#running?.pacer.atLeast(loadRatio);
    this.#running ??= this.#start(nowMs, options, new Pacer(loadRatio));
    return this.#running.sweep;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running?.sweep.catch(() => {});
  }

  #start(nowMs: number, options: SweepOptions, pacer: Pacer): Running {
    const work = this.#sweep(nowMs, options, pacer).finally(() => (this.#running = null));
    const sweep = work.then((swept) => {
      this.#options.onSwept?.(swept);
      return swept;
    });
    return { pacer, sweep };
  }

  async #sweep(nowMs: number, options: SweepOptions, pacer: Pacer): Promise<Sweep> {
    const { directory, limits } = this.#options;
    const { signal: stop } = this.#stop;
    const signal = options.signal === undefined ? stop : AbortSignal.any([options.signal, stop]);
    const look = () => this.#look(pacer, signal);
    const { stored, unreadable } = await storing("look at the sessions", look);
    const freeBytes = await freeBytesOf(directory);
    const plan = planSweep(stored, limits, { nowMs, freeBytes });
    const counts =
      options.isDryRun === true
        ? dryCounts(plan)
        : await this.#deleteAll(plan, nowMs, pacer, signal);
    return {
      ...counts,
      seen: stored.length,
      seenBytes: stored.reduce((sum, { bytes }) => sum + bytes, 0),
      onHold: stored.filter(({ isOnHold }) => isOnHold).length,
      unreadable,
      // Who has not seen all of them cannot tell.
      missingBytes: signal.aborted ? 0 : plan.missingBytes,
    };
  }

  async #look(pacer: Pacer, signal: AbortSignal) {
    const { sessions, limits } = this.#options;
    const stored: StoredSession[] = [];
    let unreadable = 0;
    for await (const found of sessions.look(hasLimitOfBytes(limits))) {
      if (signal.aborted) break;
      stored.push(...found.filter((each) => each !== "unreadable"));
      // What is damaged may be worth a rescue: it is told, and left for people.
      unreadable += found.filter((each) => each === "unreadable").length;
      await pacer.pause(signal);
    }
    return { stored, unreadable };
  }

  async #deleteAll({ expired }: SweepPlan, nowMs: number, pacer: Pacer, signal: AbortSignal) {
    const { directory, limits } = this.#options;
    const swept: SweptSession[] = [];
    let [skipped, failed] = [0, 0];
    for (const each of expired) {
      await pacer.pause(signal);
      if (signal.aborted) break;
      // Others may have made room since.
      if (each.reason === "disk" && hasFree(await freeBytesOf(directory), limits)) continue;
      const outcome = await this.#delete(each, nowMs);
      if (outcome === "deleted") swept.push(told(each));
      else if (outcome === "skipped") skipped += 1;
      else failed += 1;
    }
    return { swept, skipped, failed };
  }

  /** It may have had a turn since it was looked at, or be gone. */
  async #delete({ session }: Expired, nowMs: number): Promise<"deleted" | "skipped" | "failed"> {
    try {
      return (await this.#options.sessions.deleteUnused(session, nowMs)) ? "deleted" : "skipped";
    } catch (thrown) {
      return isInUse(thrown) ? "skipped" : "failed";
    }
  }
}

function isInUse(thrown: unknown): boolean {
  if (!(thrown instanceof AppError)) return false;
  return ["session_busy", "session_gone", "session_not_found"].includes(thrown.code);
}

function dryCounts({ expired }: SweepPlan) {
  return { swept: expired.map(told), skipped: 0, failed: 0 };
}

function hasLimitOfBytes({ bytesPerTenant, maxBytes, keepFreeBytes }: RetentionLimits): boolean {
  return bytesPerTenant !== null || maxBytes !== null || keepFreeBytes !== null;
}

function hasFree(freeBytes: number | null, { keepFreeBytes }: RetentionLimits): boolean {
  return freeBytes !== null && keepFreeBytes !== null && freeBytes >= keepFreeBytes;
}

function told({ session, reason }: Expired): SweptSession {
  const { tenant, sessionId, lastUseAtMs, bytes } = session;
  return { tenant, sessionId, lastUseAtMs, bytes, reason };
}

async function freeBytesOf(directory: string | null): Promise<number | null> {
  if (directory === null) return null;
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch {
    return null;
  }
}
