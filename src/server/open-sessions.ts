/**
 * Where a server keeps its sessions, as its settings say: in its data directory, or in a store that
 * it shares with other replicas. With them, what deletes those that have to go.
 *
 * @module
 */

import type { Config } from "../config/config.ts";
import type { DataDirectory } from "../session/data-directory.ts";
import { FileSessions } from "../session/file-sessions.ts";
import type { SessionRef } from "../session/session-id.ts";
import { SessionLocks } from "../session/session-locks.ts";
import { SessionSweeper, type Sweep, type SweepOptions } from "../session/session-sweeper.ts";
import type { Sessions } from "../session/sessions.ts";
import { SharedSessions } from "../session/shared-sessions.ts";
import type { SingleSession } from "../session/single-session.ts";
import type { ObjectStore } from "../session/stores/object-store.ts";
import { ReplicaAddresses } from "../session/stores/replica-addresses.ts";
import { openObjectStore } from "../session/stores/open-object-store.ts";
import type { KeptProcesses } from "../turn/kept-processes.ts";
import type { Telemetry } from "../telemetry/start.ts";
import { SharedSweeper } from "./shared-sweeper.ts";
import { tellNotice } from "./tell-notice.ts";
import { tellSweep, tellSweptCopies } from "./tell-sweep.ts";

/** Sessions that are deleted at a time from a store, which has ten calls of it for each. */
const STORED_AT_ONCE = 16;

export interface OpenSessionsOptions {
  readonly config: Pick<Config, "sessions" | "retention">;
  readonly data: Pick<DataDirectory, "path" | "serverId">;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly single: SingleSession | null;
  /** Whose processes end with their sessions. */
  readonly kept: Pick<KeptProcesses, "residents">;
  /** Forgets what can still be read of its turns. */
  readonly forgetTurns: (ref: SessionRef) => void;
}

export interface Sweeper extends AsyncDisposable {
  sweep(nowMs: number, options?: SweepOptions): Promise<Sweep>;
  /**
   * Sweeps what is on the disk of this replica, where it takes too much or too little is free; null
   * where neither is so.
   */
  makeRoom(nowMs: number, options?: SweepOptions): Promise<Sweep | null>;
}

/** Disposing ends a sweep that is under way, and leaves the store. */
export interface OpenSessions extends AsyncDisposable {
  readonly locks: SessionLocks;
  readonly sessions: Sessions;
  readonly sweeper: Sweeper;
  /** What replicas that share a store know of each other; null where they do not. */
  readonly others: ReplicaDirectory | null;
}

/** Where other replicas are, and which of them has a session or a turn. */
export interface ReplicaDirectory {
  readonly addresses: ReplicaAddresses;
  readonly elsewhere: Pick<SharedSessions, "holderOf" | "turnElsewhere">;
}

/** @throws {AppError} `store_unusable`, `store_unavailable`, `storage_failed`. */
export async function openSessions(options: OpenSessionsOptions): Promise<OpenSessions> {
  const { config, data, single, telemetry } = options;
  const beforeDelete = async (ref: SessionRef): Promise<void> => {
    options.forgetTurns(ref);
    await options.kept.residents.endOf(ref, "deleted");
  };
  const { store: url, maxPerTenant } = config.sessions;
  const locks = new SessionLocks(single);
  const dataDirectory = data.path;
  const limits = config.retention;
  const files = (most: number) =>
    new FileSessions({ dataDirectory, maxPerTenant: most, locks, beforeDelete, single });
  if (url === null) {
    const sessions = files(maxPerTenant);
    const onSwept = (sweep: Sweep) => tellSweep(sweep, telemetry);
    const sweeper = new SessionSweeper({ sessions, limits, directory: dataDirectory, onSwept });
    return {
      locks,
      sessions,
      sweeper,
      others: null,
      [Symbol.asyncDispose]: async () => sweeper[Symbol.asyncDispose](),
    };
  }
  // Of copies there are never more than of sessions, which are counted where they are.
  return openShared(url, files(Number.MAX_SAFE_INTEGER), locks, { ...options, beforeDelete });
}

interface SharedOptions extends OpenSessionsOptions {
  readonly beforeDelete: (ref: SessionRef) => Promise<void>;
}

async function openShared(
  url: URL,
  local: FileSessions,
  locks: SessionLocks,
  options: SharedOptions,
): Promise<OpenSessions> {
  const { config, telemetry } = options;
  const store = await openObjectStore({ url, timeoutMs: config.sessions.storeTimeoutMs });
  for (const warning of store.warnings) telemetry.log.warn({ warning }, "About the session store");
  const sessions = sharedSessions(store, local, locks, options);
  const limits = { ...config.retention, keepFreeBytes: null };
  const sweeper = new SharedSweeper({
    stored: new SessionSweeper({
      sessions,
      limits,
      directory: null,
      deletedAtOnce: STORED_AT_ONCE,
      onSwept: (sweep) => tellSweep(sweep, telemetry),
    }),
    copies: copySweeper(sessions, options),
    forgetGone: async (nowMs, pace) => {
      await sessions.copies.dropDeleted(nowMs, pace);
      await sessions.forgetGone(nowMs, pace);
    },
    log: telemetry.log,
  });
  const leave = async (): Promise<void> => {
    await sweeper[Symbol.asyncDispose]();
    await sessions[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  };
  try {
    await sessions.resume();
  } catch (thrown) {
    await leave();
    throw thrown;
  }
  telemetry.log.info({ store: store.place }, "Sessions are shared with other replicas");
  const addresses = new ReplicaAddresses({
    store,
    renewTimeMs: config.sessions.leaseTimeMs,
    onTrouble: (err) => telemetry.log.warn({ err }, UNTOLD),
  });
  const others = { addresses, elsewhere: sessions };
  return { locks, sessions, sweeper, others, [Symbol.asyncDispose]: leave };
}

const UNTOLD =
  "Cannot tell the other replicas where this one is: turns that run here are not found through them";

function sharedSessions(
  store: ObjectStore,
  local: FileSessions,
  locks: SessionLocks,
  { config, data, telemetry, beforeDelete }: SharedOptions,
): SharedSessions {
  const { leaseTimeMs, maxPerTenant, outboxBytes } = config.sessions;
  return new SharedSessions({
    store,
    local,
    dataDirectory: data.path,
    locks,
    holder: data.serverId,
    leaseTimeMs,
    maxPerTenant,
    maxIdleMs: config.retention.maxIdleMs,
    outboxBytes,
    beforeDelete,
    onNotice: (notice) => tellNotice(notice, telemetry),
  });
}

/** How much of what copies may take is left by a sweep, so that not each turn has all of them looked at. */
const LEFT_OF_COPIES_RATIO = 0.9;

/** The sweeper of copies: limits of the disk and of idleness hold for them, too, and one of their own. */
function copySweeper(
  { copies }: SharedSessions,
  { config, data, telemetry }: Pick<SharedOptions, "config" | "data" | "telemetry">,
): SessionSweeper {
  const { maxIdleMs, keepFreeBytes } = config.retention;
  const { copiesBytes } = config.sessions;
  const maxBytes = Math.floor(LEFT_OF_COPIES_RATIO * copiesBytes);
  const none = { maxAgeMs: null, sessionsPerTenant: null, bytesPerTenant: null };
  return new SessionSweeper({
    sessions: copies,
    limits: { ...none, maxIdleMs, keepFreeBytes, maxBytes },
    directory: data.path,
    watched: { mostBytes: copiesBytes, bytes: (pace) => copies.bytes(pace) },
    onSwept: (sweep) => tellSweptCopies(sweep, copiesBytes, telemetry),
  });
}
