/**
 * Lists of the sessions in a store, by its index: the newest first, and only the records that are
 * shown are read. An index name that was left behind by a write that was cut short is passed over.
 *
 * @module
 */

import {
  decodeCursor,
  encodeCursor,
  fits,
  limitOf,
  type SessionPage,
  type SessionQuery,
} from "./session-list.ts";
import { sessionIdOf } from "./session-id.ts";
import { recordFrom, type SessionRecord } from "./session-record.ts";
import {
  INDEX,
  INDEX_OF_TENANTS,
  indexNameOf,
  type LogKey,
  ownerOf,
  parseIndexName,
} from "./stores/names.ts";
import type { ObjectStore } from "./stores/object-store.ts";
import { isUnreadable, unreadable } from "./stores/readable.ts";
import { hasSession, type SessionHead } from "./stores/session-head.ts";
import type { SessionLog } from "./stores/session-log.ts";

/** Heads opened for one page. With a filter that few fit, a page may end early for it. */
const MAX_HEADS_READ = 2_000;
const HEADS_AT_ONCE = 64;
/** Also where fewer are missing: of those that are read few may fit. */
const LEAST_AT_ONCE = 8;
const NAMES_AT_ONCE = 1_000;

export interface ListedSession {
  readonly head: SessionHead;
  readonly record: SessionRecord;
}

/** What a list of a store is read from. */
export interface StoredListParts {
  readonly store: ObjectStore;
  readonly log: SessionLog;
}

/** @throws {AppError} `invalid_request` for a limit or a cursor that does not fit; `store_unavailable`. */
export async function listStored(
  parts: StoredListParts,
  query: SessionQuery,
): Promise<SessionPage<ListedSession>> {
  const limit = limitOf(query);
  const owner = ownerOf("tenant", query.tenant);
  if (query.agentName !== undefined && query.threadId !== undefined) {
    return onlyOne(parts, owner, query);
  }
  const found = { sessions: [] as ListedSession[], unreadable: 0 };
  let after = startOf(owner, query.cursor);
  for (let read = 0; read < MAX_HEADS_READ;) {
    const prefix = `${INDEX}${owner}/`;
    // About as many as are missing: a page costs little more than what it shows.
    const most = Math.min(HEADS_AT_ONCE, Math.max(limit - found.sessions.length, LEAST_AT_ONCE));
    // One more than is read tells whether there are more.
    const asked = { prefix, limit: most + 1, ...(after !== null && { after }) };
    const names = await parts.store.list(asked);
    for (const { name, stored } of await readAll(parts.log, names.slice(0, most))) {
      if (found.sessions.length === limit) return { ...found, nextCursor: cursorOf(after) };
      after = name;
      if (stored === "unreadable") found.unreadable += 1;
      else if (stored !== null && fits(stored.record, query)) found.sessions.push(stored);
    }
    if (names.length <= most) return { ...found, nextCursor: null };
    if (found.sessions.length === limit) break;
    read += most;
  }
  return { ...found, nextCursor: cursorOf(after) };
}

/** Names of the index, of one tenant or of all tenants. A session may be there twice. */
export function storedNames(
  store: ObjectStore,
  tenant?: string,
): AsyncGenerator<readonly string[]> {
  const prefix = tenant === undefined ? INDEX_OF_TENANTS : `${INDEX}${ownerOf("tenant", tenant)}/`;
  return namesBelow(store, prefix);
}

/** All names that begin like that, in their order, some at a time. */
export async function* namesBelow(
  store: ObjectStore,
  prefix: string,
): AsyncGenerator<readonly string[]> {
  for (let after: string | undefined; ;) {
    const limit = NAMES_AT_ONCE;
    const names = await store.list({ prefix, limit, ...(after !== undefined && { after }) });
    for (let first = 0; first < names.length; first += HEADS_AT_ONCE) {
      yield names.slice(first, first + HEADS_AT_ONCE);
    }
    if (names.length < limit) return;
    after = names.at(-1);
  }
}

/** Null for a name that tells of no session any more; one that belongs elsewhere is unreadable. */
export async function storedAt(
  log: SessionLog,
  name: string,
): Promise<ListedSession | "unreadable" | null> {
  const key = parseIndexName(name);
  if (key === undefined) return null;
  try {
    const head = await log.read(key);
    // Its place is another one by now.
    if (head === null || head.listedAtMs !== key.atMs) return null;
    return listedSession(head, key);
  } catch (thrown) {
    if (isUnreadable(thrown)) return "unreadable";
    throw thrown;
  }
}

/** @throws {AppError} `session_unreadable`, `session_newer`. */
export function listedSession(head: SessionHead, { owner, sessionId }: LogKey): ListedSession {
  const record = recordFrom(head.record);
  const isOwn = record?.sessionId === sessionId && ownerOf("tenant", record.tenant) === owner;
  if (isOwn) return { head, record };
  throw unreadable("its record");
}

async function readAll(log: SessionLog, names: readonly string[]) {
  return Promise.all(names.map(async (name) => ({ name, stored: await storedAt(log, name) })));
}

async function onlyOne(
  { log }: StoredListParts,
  owner: string,
  query: SessionQuery,
): Promise<SessionPage<ListedSession>> {
  const { tenant, agentName = "", threadId = "" } = query;
  const sessionId = sessionIdOf({ tenant, agentName, threadId });
  const key = { owner, sessionId };
  try {
    const head = await log.read(key);
    const sessions = head !== null && hasSession(head) ? [listedSession(head, key)] : [];
    return { sessions, nextCursor: null, unreadable: 0 };
  } catch (thrown) {
    if (!isUnreadable(thrown)) throw thrown;
    return { sessions: [], nextCursor: null, unreadable: 1 };
  }
}

function startOf(owner: string, cursor: string | undefined): string | null {
  if (cursor === undefined) return null;
  const { lastTurnAtMs, sessionId } = decodeCursor(cursor);
  return indexNameOf({ owner, sessionId }, lastTurnAtMs);
}

function cursorOf(name: string | null): string | null {
  const key = name === null ? undefined : parseIndexName(name);
  return key === undefined ? null : encodeCursor({ ...key, lastTurnAtMs: key.atMs });
}
