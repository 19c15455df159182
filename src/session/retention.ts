/**
 * Which sessions have to go. Pure; what is done about it is `session-sweeper.ts`. The limits are
 * those of a journal: each holds for itself, and whichever is reached first counts.
 *
 *     1  by time       what is older, or was idle for longer, than it may be
 *     2  of a tenant   what is over its number or its bytes
 *     3  of all        what is over the bytes of all, or leaves too little of the disk free
 *
 * In 2 and 3 those go first that were idle the longest, until the limit holds. A session in use, or on
 * hold, stays; what it takes counts all the same, and others go for it. But where no deletion of
 * sessions can leave enough of the disk free, others fill it: then none goes for that.
 *
 * @module
 */

import type { RetentionReason } from "../telemetry/values.ts";
import type { SessionRef } from "./session-id.ts";

export interface StoredSession extends SessionRef {
  readonly createdAtMs: number;
  /** When its last turn ended, or one began that never ended. */
  readonly lastUseAtMs: number;
  /** What it takes of the disk. */
  readonly bytes: number;
  /** Must not be deleted, whatever the limits say. */
  readonly isOnHold: boolean;
  /** A turn of it is running, or something else has it. */
  readonly isBusy: boolean;
  /** It may be all that is left of the session: it goes by time, and never to make room. */
  readonly goesByTimeAlone?: boolean;
}

/** Null where there is no limit. */
export interface RetentionLimits {
  /** From the start of the session. */
  readonly maxAgeMs: number | null;
  /** From the end of its last turn. */
  readonly maxIdleMs: number | null;
  readonly sessionsPerTenant: number | null;
  readonly bytesPerTenant: number | null;
  readonly maxBytes: number | null;
  /** What stays free of the file system that the sessions are on; null for no limit. */
  readonly keepFreeBytes: number | null;
}

export interface Expired {
  readonly session: StoredSession;
  readonly reason: RetentionReason;
}

export interface Surroundings {
  readonly nowMs: number;
  /** Free on the disk; null where it cannot be told. */
  readonly freeBytes: number | null;
}

export interface SweepPlan {
  /** In the order in which they are to go; none twice, and none that is in use or on hold. */
  readonly expired: readonly Expired[];
  /** What is missing of `keepFree` that no deletion of sessions can free; 0 if nothing is. */
  readonly missingBytes: number;
}

export function planSweep(
  sessions: readonly StoredSession[],
  limits: RetentionLimits,
  { nowMs, freeBytes }: Surroundings,
): SweepPlan {
  const idleLongestFirst = sessions.toSorted(
    (one, other) =>
      one.lastUseAtMs - other.lastUseAtMs || (one.sessionId < other.sessionId ? -1 : 1),
  );
  const gone = new Map<StoredSession, RetentionReason>();
  for (const session of idleLongestFirst) {
    const reason = reasonOfTime(session, limits, nowMs);
    if (reason !== null && mayGo(session)) gone.set(session, reason);
  }
  const isKept = (session: StoredSession) => !gone.has(session);
  const letGo = (surplus: readonly StoredSession[], reason: RetentionReason) => {
    for (const session of surplus) gone.set(session, reason);
  };
  for (const ofTenant of byTenant(idleLongestFirst)) {
    const { sessionsPerTenant, bytesPerTenant } = limits;
    letGo(
      surplusOf(ofTenant.filter(isKept), sessionsPerTenant, () => 1),
      "tenant_sessions",
    );
    letGo(surplusOf(ofTenant.filter(isKept), bytesPerTenant, bytesOf), "tenant_bytes");
  }
  letGo(surplusOf(idleLongestFirst.filter(isKept), limits.maxBytes, bytesOf), "total_bytes");
  const freedBytes = sumOf([...gone.keys()], bytesOf);
  const wantedBytes = Math.max(0, missesFree(freeBytes, limits) - freedBytes);
  const kept = idleLongestFirst.filter(isKept);
  const missingBytes = Math.max(0, wantedBytes - sumOf(kept.filter(mayMakeRoom), bytesOf));
  if (missingBytes === 0) {
    letGo(surplusOf(kept, sumOf(kept, bytesOf) - wantedBytes, bytesOf), "disk");
  }
  return { expired: Array.from(gone, ([session, reason]) => ({ session, reason })), missingBytes };
}

function reasonOfTime(
  { createdAtMs, lastUseAtMs }: StoredSession,
  { maxAgeMs, maxIdleMs }: RetentionLimits,
  nowMs: number,
): RetentionReason | null {
  if (maxAgeMs !== null && nowMs - createdAtMs > maxAgeMs) return "age";
  if (maxIdleMs !== null && nowMs - lastUseAtMs > maxIdleMs) return "idle";
  return null;
}

type Size = (session: StoredSession) => number;

/** The sessions to let go, from the first on, for no more than `most` to be left; null for no limit. */
function surplusOf(
  sessions: readonly StoredSession[],
  most: number | null,
  sizeOf: Size,
): readonly StoredSession[] {
  if (most === null) return [];
  let size = sumOf(sessions, sizeOf);
  return sessions.filter((session) => {
    if (size <= most || !mayMakeRoom(session)) return false;
    size -= sizeOf(session);
    return true;
  });
}

function byTenant(sessions: readonly StoredSession[]): Iterable<readonly StoredSession[]> {
  const tenants = new Map<string, StoredSession[]>();
  for (const session of sessions) {
    const others = tenants.get(session.tenant);
    if (others === undefined) tenants.set(session.tenant, [session]);
    else others.push(session);
  }
  return tenants.values();
}

function sumOf(sessions: readonly StoredSession[], sizeOf: Size): number {
  return sessions.reduce((sum, session) => sum + sizeOf(session), 0);
}

function mayGo({ isOnHold, isBusy }: StoredSession): boolean {
  return !isOnHold && !isBusy;
}

function mayMakeRoom(session: StoredSession): boolean {
  return mayGo(session) && session.goesByTimeAlone !== true;
}

function bytesOf({ bytes }: StoredSession): number {
  return bytes;
}

/** By how much `keepFree` is missed; 0 where it cannot be told what is free. */
export function missesFree(freeBytes: number | null, { keepFreeBytes }: RetentionLimits): number {
  if (freeBytes === null || keepFreeBytes === null) return 0;
  return Math.max(0, keepFreeBytes - freeBytes);
}

/** The part of what must be free below which it is urgent. Above, there is time to make room gently. */
const URGENT_FREE_RATIO = 0.5;

/** Whether the disk is about to be full; not where that cannot be told. */
export function isUrgent(freeBytes: number | null, { keepFreeBytes }: RetentionLimits): boolean {
  if (freeBytes === null || keepFreeBytes === null) return false;
  return freeBytes < URGENT_FREE_RATIO * keepFreeBytes;
}
