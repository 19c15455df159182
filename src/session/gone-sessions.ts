/**
 * What is left in a store of deleted sessions: the memory that there was one, for as long as anybody
 * may ask for it, and whatever a deletion that was cut short did not come to. Reads only what is due,
 * however many were deleted.
 *
 * @module
 */

import { hasCode } from "../lib/errors.ts";
import type { Pace } from "../lib/pacer.ts";
import { namesBelow } from "./stored-list.ts";
import { DELETING, GONE, type GoneSession, parseGoneName } from "./stores/names.ts";
import type { ObjectStore } from "./stores/object-store.ts";
import type { SessionLog } from "./stores/session-log.ts";
import { TOMBSTONE_AGE_MS } from "./tombstones.ts";

/** After this a deletion is not under way any more, whatever the clocks of replicas say. */
const DELETION_TIME_MS = 10 * 60 * 1000;

export interface GoneParts {
  readonly store: ObjectStore;
  readonly log: SessionLog;
}

/** Finishes deletions that were cut short. @throws {AppError} `store_unavailable` */
export async function finishDeletions(
  { store, log }: GoneParts,
  nowMs: number,
  pace: Pace,
): Promise<void> {
  const untilMs = nowMs - DELETION_TIME_MS;
  for await (const { name, session } of namesUntil(store, DELETING, untilMs, pace)) {
    const deletedAtMs = await deletionOf(log, session);
    if (deletedAtMs === "newer") continue;
    if (deletedAtMs !== null) await log.clear(session);
    await store.delete([name]);
  }
}

/** Forgets those that nobody asks for any more. @throws {AppError} `store_unavailable` */
export async function forgetOld(
  { store, log }: GoneParts,
  nowMs: number,
  pace: Pace,
): Promise<void> {
  const untilMs = nowMs - TOMBSTONE_AGE_MS;
  for await (const { name, session } of namesUntil(store, GONE, untilMs, pace)) {
    const deletedAtMs = await deletionOf(log, session);
    if (deletedAtMs === "newer") continue;
    // One that was begun and deleted anew since has a later name, too.
    if (deletedAtMs !== null && deletedAtMs <= untilMs) await log.forget(session);
    await store.delete([name]);
  }
}

/**
 * Null for a session that was not deleted, and for a damaged one: that is left for people. One that a
 * newer version has written is left to that.
 */
async function deletionOf(log: SessionLog, session: GoneSession): Promise<number | "newer" | null> {
  try {
    return (await log.read(session))?.deletedAtMs ?? null;
  } catch (thrown) {
    if (hasCode(thrown, "session_unreadable")) return null;
    if (hasCode(thrown, "session_newer")) return "newer";
    throw thrown;
  }
}

/** Names up to that time; they are in the order of time, so that later ones are not even listed. */
async function* namesUntil(
  store: ObjectStore,
  prefix: string,
  untilMs: number,
  { pacer, signal }: Pace,
): AsyncGenerator<{ readonly name: string; readonly session: GoneSession }> {
  if (signal.aborted) return;
  for await (const names of namesBelow(store, prefix)) {
    for (const name of names) {
      const session = parseGoneName(name);
      if (session === undefined) continue;
      if (signal.aborted || session.atMs > untilMs) return;
      yield { name, session };
      await pacer.pause(signal);
    }
  }
}
