/**
 * What is left in a store of deleted sessions: the memory that there was one, for as long as anybody
 * may ask for it, and whatever a deletion that was cut short did not come to. Reads only what is due,
 * however many were deleted.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { hasCode } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { Pace } from "../lib/pacer.ts";
import { namesBelow } from "./stored-list.ts";
import {
  DELETING,
  GONE,
  goneNameOf,
  type GoneSession,
  parseGoneName,
  prefixOf,
} from "./stores/names.ts";
import type { ObjectStore } from "./stores/object-store.ts";
import { deleted, hasSession, type SessionHead, taken } from "./stores/session-head.ts";
import type { KnownHead, SessionLog } from "./stores/session-log.ts";
import { TOMBSTONE_AGE_MS } from "./tombstones.ts";

/** After this a deletion is not under way any more, whatever the clocks of replicas say. */
const DELETION_TIME_MS = 10 * 60 * 1000;
/** After this a copy of one session to the store is not under way any more. */
const COPY_TIME_MS = 24 * 60 * 60 * 1000;
/** Each has several calls of the store, one after the other. */
const SESSIONS_AT_ONCE = 16;

interface NamedSession {
  readonly name: string;
  readonly session: GoneSession;
}

export interface GoneParts {
  readonly store: ObjectStore;
  readonly log: SessionLog;
}

/**
 * Finishes deletions that were cut short, and deletes what is left of copies to the store that were.
 *
 * @throws {AppError} `store_unavailable`
 */
export async function finishDeletions(
  { store, log }: GoneParts,
  nowMs: number,
  pace: Pace,
): Promise<void> {
  const untilMs = nowMs - DELETION_TIME_MS;
  const finish = async ({ name, session }: NamedSession): Promise<void> => {
    let known = await knownOf(log, session);
    if (known === "newer") return;
    if (known !== null && wasNeverBegun(known.head)) {
      if (session.atMs > nowMs - COPY_TIME_MS) return;
      await store.put(goneNameOf(session, nowMs), Buffer.alloc(0), "any");
      // A copy that is at it after all finds it deleted, and says so.
      const end = (now: SessionHead) => (wasNeverBegun(now) ? deletedAt(now, nowMs) : now);
      known = await log.update(session, end, known);
    }
    if (known?.head.deletedAtMs !== undefined) await log.clear(session);
    await store.delete([name]);
  };
  for await (const due of namesUntil(store, DELETING, untilMs, pace)) {
    await Promise.all(due.map(finish));
  }
}

/** What a copy to the store leaves of the head until the session is whole. */
function wasNeverBegun(head: SessionHead): boolean {
  return !hasSession(head) && head.deletedAtMs === undefined;
}

function deletedAt(head: SessionHead, nowMs: number): SessionHead {
  return deleted(head, { holder: "", nowMs, leaseTimeMs: 0 });
}

/** Forgets those that nobody asks for any more. @throws {AppError} `store_unavailable` */
export async function forgetOld(parts: GoneParts, nowMs: number, pace: Pace): Promise<void> {
  const untilMs = nowMs - TOMBSTONE_AGE_MS;
  let some = new Forgetting(parts);
  for await (const due of namesUntil(parts.store, GONE, untilMs, pace)) {
    const forgetting = some;
    await Promise.all(due.map(({ name, session }) => forgetting.add(name, session, untilMs)));
    if (some.size < SESSIONS_AT_ONCE) continue;
    await some.end();
    some = new Forgetting(parts);
  }
  await some.end();
}

/** Some that are forgotten together, under leases: each has fewer calls of the store for it. */
class Forgetting {
  readonly #parts: GoneParts;
  /**
   * The name of no other sweep, on this replica or another: two could not tell who of them is the
   * last.
   */
  readonly #holder = `forget-${randomUUID()}`;
  readonly #beganAtMs = monotonicMs();
  readonly #names: string[] = [];
  readonly #sessions: GoneSession[] = [];

  constructor(parts: GoneParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#names.length;
  }

  async add(name: string, session: GoneSession, untilMs: number): Promise<void> {
    const { log } = this.#parts;
    const known = await knownOf(log, session);
    if (known === "newer") return;
    // One that was begun and deleted anew since has a later name, too.
    const isOld = ({ deletedAtMs = Infinity }: SessionHead) => deletedAtMs <= untilMs;
    if (known !== null && isOld(known.head)) {
      const terms = { holder: this.#holder, nowMs: Date.now(), leaseTimeMs: DELETION_TIME_MS };
      const take = (now: SessionHead) => (isOld(now) ? taken(now, terms, this.#holder) : now);
      const { head } = await log.update(session, take, known).catch(unlessBusy);
      if (head === null) return;
      if (head.lease?.holder === this.#holder) {
        await log.clear(session);
        this.#sessions.push(session);
      }
    }
    this.#names.push(name);
  }

  async end(): Promise<void> {
    // Stood still for long: the leases may be over soon. A later sweep begins again.
    if (monotonicMs() - this.#beganAtMs > DELETION_TIME_MS / 2) return;
    await this.#parts.log.forget(this.#sessions);
    // Last: what is not named here is never looked for.
    if (this.size > 0) await this.#parts.store.delete(this.#names);
  }
}

/**
 * Null for a damaged one, which is left for people. One that a newer version has written is left to
 * that.
 */
async function knownOf(log: SessionLog, session: GoneSession): Promise<KnownHead | "newer" | null> {
  try {
    return await log.know(session);
  } catch (thrown) {
    if (hasCode(thrown, "session_unreadable")) return null;
    if (hasCode(thrown, "session_newer")) return "newer";
    throw thrown;
  }
}

/** Another sweep is forgetting it. */
function unlessBusy(thrown: unknown): { readonly head: null } {
  if (hasCode(thrown, "session_busy")) return { head: null };
  throw thrown;
}

/**
 * Names up to that time, some at a time, each session but once in each; they are in the order of time,
 * so that later ones are not even listed.
 */
async function* namesUntil(
  store: ObjectStore,
  prefix: string,
  untilMs: number,
  { pacer, signal }: Pace,
): AsyncGenerator<readonly NamedSession[]> {
  if (signal.aborted) return;
  // The first alone, then twice as many as before: one that is slow holds up nobody who stops it.
  let atOnce = 1;
  let due = new Map<string, NamedSession>();
  for await (const { name, session } of namedBelow(store, prefix)) {
    if (signal.aborted) return;
    if (session.atMs > untilMs) break;
    const key = prefixOf(session);
    if (due.size === atOnce || due.has(key)) {
      yield [...due.values()];
      await pacer.pause(signal);
      if (signal.aborted) return;
      atOnce = Math.min(atOnce * 2, SESSIONS_AT_ONCE);
      due = new Map();
    }
    due.set(key, { name, session });
  }
  if (due.size > 0 && !signal.aborted) yield [...due.values()];
}

async function* namedBelow(store: ObjectStore, prefix: string): AsyncGenerator<NamedSession> {
  for await (const names of namesBelow(store, prefix)) {
    for (const name of names) {
      const session = parseGoneName(name);
      if (session !== undefined) yield { name, session };
    }
  }
}
