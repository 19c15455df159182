/**
 * Deletes the sessions that have to go, by the limits of `retention.ts`: a few at a time, and beside
 * a server with pauses, so that turns hardly feel it; with fewer of them where the disk is about to be
 * full.
 *
 * @module
 */

import { statfs } from "node:fs/promises";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { type Pace, Pacer } from "../lib/pacer.ts";
import type { RetentionReason } from "../telemetry/values.ts";
import { isInUse } from "./in-use.ts";
import type { Sessions } from "./sessions.ts";
import {
  type Expired,
  isUrgent,
  missesFree,
  planSweep,
  type RetentionLimits,
  type StoredSession,
  type SweepPlan,
} from "./retention.ts";
import { textOf } from "./session-id.ts";
import { storing } from "./storage-errors.ts";

export interface SweeperOptions {
  readonly sessions: Pick<Sessions, "scan" | "deleteUnused">;
  readonly limits: RetentionLimits;
  /** The directory whose file system `keepFree` is about; null where sessions are on none. */
  readonly directory: string | null;
  /** Has sessions go between two sweeps where they take too much; without it, only `keepFree` does. */
  readonly watched?: WatchedBytes;
  /** The most that are deleted at a time; {@link FILES_AT_ONCE} without it. */
  readonly deletedAtOnce?: number;
  /** Told once of each sweep that was no dry run, however many have asked for it. */
  readonly onSwept?: (sweep: Sweep) => void;
}

/** What the sessions take of the disk, where that is known without a look at all of them. */
export interface WatchedBytes {
  /** Above, a sweep is made; how many bytes that leaves is its limit of `maxBytes`. */
  readonly mostBytes: number;
  /** Null where they have to be looked at first. */
  readonly bytes: (pace: Pace) => Promise<number | null>;
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
   * The most of one core that the sweep takes, up to 1, which it is without it: then there are no
   * pauses. Measured: turns on two busy cores take half as long again beside such a one.
   */
  readonly loadRatio?: number;
  /** Ends the sweep between two steps; what was deleted by then is told all the same. */
  readonly signal?: AbortSignal;
}

interface Running {
  readonly pacer: Pacer;
  readonly sweep: Promise<Sweep>;
}

interface Look {
  readonly stored: readonly StoredSession[];
  readonly unreadable: number;
  readonly plan: SweepPlan;
  /** From then on it is too old to go by, where it matters how many there are. */
  readonly staleAtMs: number;
}

interface Deleting {
  readonly nowMs: number;
  readonly pacer: Pacer;
  readonly signal: AbortSignal;
}

/** So many are deleted at a time, each of which takes a dozen waits for one of the few threads. */
const FILES_AT_ONCE = 4;
/** Where the disk is about to be full: turns feel it, and would fail altogether without. */
const URGENT_LOAD_RATIO = 0.5;
/** Of what sessions may take: with more they grow faster than a gentle sweep has them go. */
const URGENT_BYTES_RATIO = 1.25;

interface Tally {
  readonly swept: SweptSession[];
  skipped: number;
  failed: number;
}

type Outcome = "deleted" | "skipped" | "failed";

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

  /**
   * A sweep at once where less of the disk is free than `keepFree` asks for, or the sessions take more
   * than they may; null where neither is so.
   *
   * @throws {AppError} As {@link sweep}.
   */
  async makeRoom(nowMs: number, options: SweepOptions = {}): Promise<Sweep | null> {
    const { directory, limits } = this.#options;
    const found = await this.#weighed(options);
    if (found === "unknown") {
      const swept = await this.sweep(nowMs, options);
      if (swept.swept.length > 0) return swept;
    } else if (found !== "fits") {
      return this.sweep(nowMs, { ...options, loadRatio: found.loadRatio });
    }
    if (limits.keepFreeBytes === null) return null;
    const freeBytes = await freeBytesOf(directory);
    // One that is under way may have begun when there was time.
    if (isUrgent(freeBytes, limits)) this.#running?.pacer.hurry(URGENT_LOAD_RATIO);
    return missesFree(freeBytes, limits) > 0 ? this.sweep(nowMs, options) : null;
  }

  /** Whether the sessions take more than they may; and how a sweep that is due for that goes on. */
  async #weighed({
    loadRatio = 1,
    signal,
  }: SweepOptions): Promise<"fits" | "unknown" | { readonly loadRatio: number }> {
    const { watched } = this.#options;
    if (watched === undefined) return "fits";
    const pace = { pacer: new Pacer(loadRatio), signal: this.#signalWith(signal) };
    const bytes = await watched.bytes(pace);
    if (bytes === null) return "unknown";
    if (bytes <= watched.mostBytes) return "fits";
    const isFar = bytes > URGENT_BYTES_RATIO * watched.mostBytes;
    return { loadRatio: isFar ? Math.max(loadRatio, URGENT_LOAD_RATIO) : loadRatio };
  }

  #signalWith(asked: AbortSignal | undefined): AbortSignal {
    const { signal } = this.#stop;
    return asked === undefined ? signal : AbortSignal.any([asked, signal]);
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
    const signal = this.#signalWith(options.signal);
    const look = async () => this.#plan(nowMs, pacer, signal);
    const first = await look();
    const { stored, unreadable } = first;
    const { plan, ...counts } =
      options.isDryRun === true
        ? { plan: first.plan, ...dryCounts(first.plan) }
        : await this.#deleteAll(first, look, { nowMs, pacer, signal });
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

  async #plan(nowMs: number, pacer: Pacer, signal: AbortSignal): Promise<Look> {
    const { directory, limits } = this.#options;
    const beganAtMs = monotonicMs();
    hurryIf(isUrgent(await freeBytesOf(directory), limits), pacer);
    const found = await storing("look at the sessions", () => this.#scan(pacer, signal));
    const freeBytes = await freeBytesOf(directory);
    const plan = planSweep(found.stored, limits, { nowMs, freeBytes });
    // Where others fill the disk, no hurry helps.
    hurryIf(isUrgent(freeBytes, limits) && plan.missingBytes === 0, pacer);
    const endedAtMs = monotonicMs();
    return { ...found, plan, staleAtMs: endedAtMs + (endedAtMs - beganAtMs) };
  }

  async #scan(pacer: Pacer, signal: AbortSignal) {
    const { sessions, limits } = this.#options;
    const stored: StoredSession[] = [];
    let unreadable = 0;
    for await (const found of sessions.scan({ withDiskUsage: hasLimitOfBytes(limits) })) {
      if (signal.aborted) break;
      stored.push(...found.filter((each) => each !== "unreadable"));
      // What is damaged may be worth a rescue: it is told, and left for people.
      unreadable += found.filter((each) => each === "unreadable").length;
      await pacer.pause(signal);
    }
    return { stored, unreadable };
  }

  /**
   * Others delete sessions, too, by hand or by sweeps of their own, and then fewer are above a limit:
   * so it looks again when it has worked for as long as the last look took, which is no more than
   * twice the work. Those that are above it only since the first look are the next sweep's: where
   * sessions begin all the time there would be no end of them.
   *
   * @returns The plan it went by at the end, and what it did.
   */
  async #deleteAll(
    first: Look,
    lookAgain: () => Promise<Look>,
    deleting: Deleting,
  ): Promise<Pick<Sweep, "swept" | "skipped" | "failed"> & { readonly plan: SweepPlan }> {
    const tally: Tally = { swept: [], skipped: 0, failed: 0 };
    let look = first;
    let left = await this.#deleteThese(first.plan.expired, look.staleAtMs, tally, deleting);
    while (left.length > 0) {
      try {
        look = await lookAgain();
      } catch {
        // What was deleted is told all the same.
        tally.failed += left.length;
        break;
      }
      const still = new Set(look.plan.expired.map(({ session }) => textOf(session)));
      left = left.filter(({ session }) => still.has(textOf(session)));
      left = await this.#deleteThese(left, look.staleAtMs, tally, deleting);
    }
    return { plan: look.plan, ...tally };
  }

  /**
   * At least one: the first alone, as nobody knows how long it takes here, and then twice as many at a
   * time as before, until they are as many as there may be.
   *
   * @returns Those that it has not come to by the time that the look is too old.
   */
  async #deleteThese(
    expired: readonly Expired[],
    staleAtMs: number,
    tally: Tally,
    { nowMs, pacer, signal }: Deleting,
  ): Promise<readonly Expired[]> {
    const { deletedAtOnce = FILES_AT_ONCE } = this.#options;
    let atOnce = 1;
    for (let first = 0; first < expired.length;) {
      await pacer.pause(signal);
      if (signal.aborted) return [];
      const next = expired.slice(first, first + atOnce);
      const isStale = first > 0 && monotonicMs() > staleAtMs;
      if (isStale && next.some(isSurplus)) return expired.slice(first);
      const due = next.every(({ reason }) => reason !== "disk")
        ? next
        : await this.#stillDue(next, pacer);
      const outcomes = await Promise.all(due.map((each) => this.#delete(each, nowMs)));
      for (const [at, each] of due.entries()) count(tally, each, outcomes[at] ?? "failed");
      first += next.length;
      atOnce = Math.min(atOnce * 2, deletedAtOnce);
    }
    return [];
  }

  /** Without those that may stay on the disk: others may have made room since. */
  async #stillDue(expired: readonly Expired[], pacer: Pacer): Promise<readonly Expired[]> {
    const { directory, limits } = this.#options;
    const missingBytes = missesFree(await freeBytesOf(directory), limits);
    if (missingBytes === 0) hurryIf(false, pacer);
    return dueFor(expired, missingBytes);
  }

  /** Deletes a session, which may have had a turn since it was looked at, or be gone. */
  async #delete({ session }: Expired, nowMs: number): Promise<Outcome> {
    try {
      return (await this.#options.sessions.deleteUnused(session, nowMs)) ? "deleted" : "skipped";
    } catch (thrown) {
      return isInUse(thrown) ? "skipped" : "failed";
    }
  }
}

/**
 * Whether it goes for a limit that may hold by now, as others have gone; `disk` is looked at each
 * time.
 */
function isSurplus({ reason }: Expired): boolean {
  return reason === "tenant_sessions" || reason === "tenant_bytes" || reason === "total_bytes";
}

function count(tally: Tally, expired: Expired, outcome: Outcome): void {
  if (outcome === "deleted") tally.swept.push(told(expired));
  else tally[outcome] += 1;
}

function dryCounts({ expired }: SweepPlan) {
  return { swept: expired.map(told), skipped: 0, failed: 0 };
}

function hasLimitOfBytes({ bytesPerTenant, maxBytes, keepFreeBytes }: RetentionLimits): boolean {
  return bytesPerTenant !== null || maxBytes !== null || keepFreeBytes !== null;
}

function hurryIf(isDue: boolean, pacer: Pacer): void {
  pacer.hurry(isDue ? URGENT_LOAD_RATIO : 0);
}

/** Those of some that go together without which so many bytes would not become free. */
function dueFor(expired: readonly Expired[], missingBytes: number): readonly Expired[] {
  let leftBytes = missingBytes;
  return expired.filter(({ session, reason }) => {
    const isDue = reason !== "disk" || leftBytes > 0;
    if (isDue) leftBytes -= session.bytes;
    return isDue;
  });
}

function told({ session, reason }: Expired): SweptSession {
  const { tenant, sessionId, lastUseAtMs, bytes } = session;
  return { tenant, sessionId, lastUseAtMs, bytes, reason };
}

/** Null where there is no directory, or it cannot be told. Never rejects. */
async function freeBytesOf(directory: string | null): Promise<number | null> {
  if (directory === null) return null;
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch {
    return null;
  }
}
