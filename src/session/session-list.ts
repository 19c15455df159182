/**
 * Pages of a tenant's sessions, the newest first, and looks at all of them. A page opens only the
 * records that it shows.
 *
 * @module
 */

import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { errnoOf } from "../lib/errno.ts";
import { AppError } from "../lib/errors.ts";
import { isSessionId, sessionIdOf } from "./session-id.ts";
import { newestFirst, type Position, type SessionOrder } from "./session-order.ts";
import { dataPathsOf, RECORD_NAME, sessionPathsOf, tenantDirectoryOf } from "./session-paths.ts";
import {
  type ListedRecord,
  listedRecordOf,
  readAnyRecord,
  readRecord,
  recordUnreadable,
  type SessionRecord,
} from "./session-record.ts";
import { ifPresent } from "./storage-errors.ts";

export const DEFAULT_PAGE_LIMIT = 50;
export const MAX_PAGE_LIMIT = 200;
/** Records opened for one page. With a filter that few fit, a page may end early for it. */
const MAX_RECORDS_READ = 2_000;

/** Shards looked at side by side; more gains nothing over the four threads that do the work. */
const SHARDS_AT_ONCE = 8;

export interface SessionQuery {
  readonly tenant: string;
  readonly agentName?: string;
  readonly threadId?: string;
  /** 1 to {@link MAX_PAGE_LIMIT}; {@link DEFAULT_PAGE_LIMIT} if absent. */
  readonly limit?: number;
  /** `nextCursor` of the page before. */
  readonly cursor?: string;
}

export interface SessionPage<Session> {
  readonly sessions: readonly Session[];
  /** Null on the last page. A page may be short, or empty, and still not be the last. */
  readonly nextCursor: string | null;
  /** Records that could not be read, and are missing from this page. */
  readonly unreadable: number;
}

/** What a list of a data directory is read from. */
export interface FileListParts {
  readonly dataDirectory: string;
  readonly order: SessionOrder;
}

/** @throws {AppError} `invalid_request` for a limit or a cursor that does not fit. */
export async function listSessions(
  { dataDirectory, order }: FileListParts,
  query: SessionQuery,
): Promise<SessionPage<SessionRecord>> {
  const limit = limitOf(query);
  const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
  if (query.agentName !== undefined && query.threadId !== undefined) {
    return onlyOne(dataDirectory, query);
  }
  const sessions: SessionRecord[] = [];
  let unreadable = 0;
  let last: Position | undefined;
  // One more than is read tells whether there are more.
  const positions = await order.page(query.tenant, MAX_RECORDS_READ + 1, after);
  for (const [index, position] of positions.entries()) {
    if (last !== undefined && (index === MAX_RECORDS_READ || sessions.length === limit)) {
      return { sessions, nextCursor: encodeCursor(last), unreadable };
    }
    const record = await tryReadRecord(dataDirectory, query.tenant, position.sessionId);
    if (record === "unreadable") unreadable += 1;
    else if (record !== undefined && fits(record, query)) sessions.push(record);
    last = position;
  }
  return { sessions, nextCursor: null, unreadable };
}

/** Directories of sessions, also of one whose start was cut short. */
export async function countSessions(dataDirectory: string, tenant: string): Promise<number> {
  const root = join(tenantDirectoryOf(dataDirectory, tenant), "sessions");
  let sessions = 0;
  for (const shard of await namesIn(root)) sessions += (await namesIn(join(root, shard))).length;
  return sessions;
}

/** All that a tenant has, in no order. */
export async function positionsOf(dataDirectory: string, tenant: string): Promise<Position[]> {
  const root = join(tenantDirectoryOf(dataDirectory, tenant), "sessions");
  const shards = await namesIn(root);
  const positions: Position[] = [];
  for (let first = 0; first < shards.length; first += SHARDS_AT_ONCE) {
    const some = shards.slice(first, first + SHARDS_AT_ONCE).map((shard) => join(root, shard));
    positions.push(...(await Promise.all(some.map(positionsIn))).flat());
  }
  return positions;
}

async function positionsIn(shard: string): Promise<Position[]> {
  const names = await namesIn(shard);
  return (await Promise.all(names.map((name) => positionOf(join(shard, name), name)))).flat();
}

/** None for a directory whose session was never begun, or is just being deleted. */
async function positionOf(directory: string, sessionId: string): Promise<Position[]> {
  const found = await ifPresent(stat(join(directory, RECORD_NAME)));
  return found === undefined ? [] : [{ sessionId, lastTurnAtMs: Math.round(found.mtimeMs) }];
}

/**
 * Sessions of all tenants, in no order; looks no further than `limit`.
 *
 * @throws {AppError} `storage_failed`
 */
export async function anySessions(dataDirectory: string, limit: number): Promise<SessionRecord[]> {
  const found: SessionRecord[] = [];
  for await (const directories of sessionDirectories(dataDirectory)) {
    for (const directory of directories) {
      if (found.length === limit) return found;
      const record = await readAnyRecord(join(directory, RECORD_NAME));
      if (record !== undefined) found.push(record);
    }
  }
  return found;
}

/** Sessions of all tenants, the newest first, and the ids of those whose record cannot be read. */
export async function allSessions(dataDirectory: string): Promise<{
  readonly records: readonly ListedRecord[];
  readonly unreadable: readonly string[];
}> {
  const records: ListedRecord[] = [];
  const unreadable: string[] = [];
  const read = async (directory: string): Promise<void> => {
    try {
      const record = await recordIn(dataDirectory, directory);
      if (record !== undefined) records.push(listedRecordOf(record));
    } catch {
      const name = basename(directory);
      // What else lies there is no session.
      if (isSessionId(name)) unreadable.push(name);
    }
  };
  for await (const directories of sessionDirectories(dataDirectory)) {
    await Promise.all(directories.map(read));
  }
  return { records: records.toSorted(newestFirst), unreadable };
}

/** Whoever's it is; undefined if there is none. @param sessionId That `isSessionId`. */
export async function findSession(
  dataDirectory: string,
  sessionId: string,
): Promise<SessionRecord | undefined> {
  const { tenants } = dataPathsOf(dataDirectory);
  for (const tenant of await namesIn(tenants)) {
    const directory = join(tenants, tenant, "sessions", sessionId.slice(0, 2), sessionId);
    const record = await recordIn(dataDirectory, directory);
    if (record !== undefined) return record;
  }
  return undefined;
}

/**
 * The record of the session that this directory is; undefined if it was never begun, or is gone.
 *
 * @throws {AppError} `session_unreadable` for one that is damaged, or speaks of another session: tools run
 *   as the server's user, and may copy a session or write what they like beside it.
 */
export async function recordIn(
  dataDirectory: string,
  directory: string,
): Promise<SessionRecord | undefined> {
  const record = await readAnyRecord(join(directory, RECORD_NAME));
  if (record === undefined) return undefined;
  const { tenant, sessionId } = record;
  const own = sessionPathsOf(dataDirectory, { tenant, sessionId });
  if (own.directory !== directory) throw recordUnreadable();
  return record;
}

/** Looked at side by side: more would keep turns from the few threads that do the work. */
const DIRECTORIES_AT_ONCE = 16;

/** A few at a time, of all tenants, in no order; also of a session whose start was cut short. */
export async function* sessionDirectories(
  dataDirectory: string,
): AsyncGenerator<readonly string[]> {
  const { tenants } = dataPathsOf(dataDirectory);
  for (const tenant of await namesIn(tenants)) {
    const root = join(tenants, tenant, "sessions");
    for (const shard of await namesIn(root)) {
      const names = await namesIn(join(root, shard));
      for (let first = 0; first < names.length; first += DIRECTORIES_AT_ONCE) {
        const some = names.slice(first, first + DIRECTORIES_AT_ONCE);
        yield some.map((name) => join(root, shard, name));
      }
    }
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (thrown) {
    // A stray file among the directories holds no session.
    if (["ENOENT", "ENOTDIR"].includes(errnoOf(thrown) ?? "")) return [];
    throw thrown;
  }
}

/** A thread of an agent is one session. */
async function onlyOne(
  dataDirectory: string,
  { tenant, agentName = "", threadId = "" }: SessionQuery,
): Promise<SessionPage<SessionRecord>> {
  const sessionId = sessionIdOf({ tenant, agentName, threadId });
  const record = await tryReadRecord(dataDirectory, tenant, sessionId);
  const isUnreadable = record === "unreadable";
  const sessions = record === undefined || isUnreadable ? [] : [record];
  return { sessions, nextCursor: null, unreadable: isUnreadable ? 1 : 0 };
}

/** Undefined when the session was deleted since its directory was read. */
async function tryReadRecord(
  dataDirectory: string,
  tenant: string,
  sessionId: string,
): Promise<SessionRecord | "unreadable" | undefined> {
  const ref = { tenant, sessionId };
  try {
    return await readRecord(sessionPathsOf(dataDirectory, ref).record, ref);
  } catch {
    // One damaged record must not hide all the others; it is counted in the page.
    return "unreadable";
  }
}

/** Whether it is one of those that were asked for. */
export function fits(record: SessionRecord, { agentName, threadId }: SessionQuery): boolean {
  return (
    (agentName === undefined || record.agentName === agentName) &&
    (threadId === undefined || record.threadId === threadId)
  );
}

/** @throws {AppError} `invalid_request` */
export function limitOf({ limit = DEFAULT_PAGE_LIMIT }: SessionQuery): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_PAGE_LIMIT) return limit;
  const state = `the limit must be 1 to ${MAX_PAGE_LIMIT}`;
  throw new AppError("invalid_request", `Cannot list the sessions: ${state}`);
}

/** Where the next page goes on. */
export function encodeCursor({ lastTurnAtMs, sessionId }: Position): string {
  return Buffer.from(`${lastTurnAtMs}.${sessionId}`).toString("base64url");
}

/** @throws {AppError} `invalid_request` */
export function decodeCursor(cursor: string): Position {
  const text = Buffer.from(cursor, "base64url").toString("utf8");
  const [, time, sessionId] = /^(\d{1,15})\.([0-9a-f-]{36})$/.exec(text) ?? [];
  if (time === undefined || sessionId === undefined) {
    throw new AppError(
      "invalid_request",
      "Cannot list the sessions: the cursor is not one of ours",
    );
  }
  return { lastTurnAtMs: Number(time), sessionId };
}
