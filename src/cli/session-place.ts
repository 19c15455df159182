/**
 * Where the commands `plimsoll sessions …` look: the data directory of a server, or the store that
 * its settings name. Whatever changes a data directory needs it for itself; a store is shared.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { AppError } from "../lib/errors.ts";
import { borrowDataDirectory, openDataDirectory } from "../session/data-directory.ts";
import { FileSessions } from "../session/file-sessions.ts";
import { DirectoryArchive, type SessionArchive, StoreArchive } from "../session/session-archive.ts";
import { COMMAND_GRACE_MS } from "../session/lease-clock.ts";
import { SessionLocks } from "../session/session-locks.ts";
import { SessionSweeper } from "../session/session-sweeper.ts";
import type { Sessions } from "../session/sessions.ts";
import { SharedSessions } from "../session/shared-sessions.ts";
import type { ObjectStore } from "../session/stores/object-store.ts";
import { openObjectStore } from "../session/stores/open-object-store.ts";

export interface SessionPlace extends AsyncDisposable {
  readonly archive: SessionArchive;
  readonly sessions: Sessions;
  readonly sweeper: SessionSweeper;
  /**
   * Before anything is changed; given back with the place.
   *
   * @throws {AppError} `data_directory_in_use`: a server that has the directory must be asked instead.
   */
  take(): Promise<void>;
}

/** Nothing is begun by a command, so there is nothing to limit. */
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/**
 * @throws {AppError} `usage` where no server has ever kept anything, or nothing can be read;
 *   `store_unusable`, `store_unavailable`.
 */
export async function openPlace(config: Config): Promise<SessionPlace> {
  const { store } = config.sessions;
  return store === null ? openDirectory(config) : openStore(config, store);
}

/**
 * Opens the place as an archive alone, which is copied from or to. A directory is taken either way: what
 * turns write meanwhile would be torn.
 *
 * @param isToFill It need not be there then.
 * @throws {AppError} As {@link openPlace}, and `data_directory_in_use`.
 */
export async function openArchive(
  { dataDirectory, sessions: { store, storeTimeoutMs } }: Config,
  isToFill: boolean,
): Promise<SessionArchive & AsyncDisposable> {
  if (store !== null)
    return archiveOf(await openObjectStore({ url: store, timeoutMs: storeTimeoutMs }));
  if (!isToFill) await mustBeThere(dataDirectory);
  const taken = isToFill
    ? await openDataDirectory(dataDirectory, Date.now(), true)
    : await borrowDataDirectory(dataDirectory, Date.now());
  return withDisposal(new DirectoryArchive(dataDirectory), async () => {
    await taken[Symbol.asyncDispose]();
  });
}

/** That of a store. */
export function archiveOf(store: ObjectStore): SessionArchive & AsyncDisposable {
  return withDisposal(new StoreArchive(store), async () => store[Symbol.asyncDispose]());
}

function withDisposal<Archive extends SessionArchive>(
  archive: Archive,
  dispose: () => Promise<void>,
): Archive & AsyncDisposable {
  return Object.assign(archive, { [Symbol.asyncDispose]: dispose });
}

async function openDirectory({ dataDirectory, retention: limits }: Config): Promise<SessionPlace> {
  await mustBeThere(dataDirectory);
  let taken: AsyncDisposable | null = null;
  const sessions = new FileSessions({
    dataDirectory,
    maxPerTenant: NO_LIMIT,
    locks: new SessionLocks(),
  });
  const sweeper = new SessionSweeper({ directory: dataDirectory, sessions, limits });
  return {
    archive: new DirectoryArchive(dataDirectory),
    sessions,
    sweeper,
    async take() {
      taken ??= await borrowDataDirectory(dataDirectory, Date.now());
    },
    [Symbol.asyncDispose]: async () => taken?.[Symbol.asyncDispose](),
  };
}

async function openStore({ sessions, retention }: Config, url: URL): Promise<SessionPlace> {
  const { storeTimeoutMs: timeoutMs, leaseTimeMs, outboxBytes } = sessions;
  const store = await openObjectStore({ url, timeoutMs });
  // Of copies there are none here: those of the replicas are made anew when they are outdated.
  const dataDirectory = await mkdtemp(join(tmpdir(), "plimsoll-sessions-"));
  const locks = new SessionLocks();
  const shared = new SharedSessions({
    store,
    local: new FileSessions({ dataDirectory, maxPerTenant: NO_LIMIT, locks }),
    dataDirectory,
    locks,
    holder: `command-${randomUUID()}`,
    leaseTimeMs,
    leaseGraceMs: COMMAND_GRACE_MS,
    maxPerTenant: NO_LIMIT,
    maxIdleMs: null,
    outboxBytes,
    beforeDelete: async () => {},
    onNotice: () => {},
  });
  const limits = { ...retention, keepFreeBytes: null };
  return {
    archive: new StoreArchive(store),
    sessions: shared,
    sweeper: new SessionSweeper({ directory: null, sessions: shared, limits }),
    // It is shared: each change is made as any replica makes it.
    async take() {},
    async [Symbol.asyncDispose]() {
      await shared[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      await rm(dataDirectory, { recursive: true, force: true });
    },
  };
}

async function mustBeThere(dataDirectory: string): Promise<void> {
  const tenants = join(dataDirectory, "tenants");
  const isThere = await stat(tenants).then(
    () => true,
    () => false,
  );
  if (isThere) return;
  const cure = "say by --data where the server keeps them";
  throw new AppError("usage", `Cannot find sessions in ${dataDirectory}: ${cure}`);
}
