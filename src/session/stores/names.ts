/**
 * Where things lie in a session store. As in the data directory, no part of a name is client text:
 * tenants are hashed, session ids are checked, the rest is ours.
 *
 *     meta/layout                                   version of all this
 *     sessions/<owner>/<session id>/head            what the session is now: session-head.ts
 *     sessions/<owner>/<session id>/<uuid>          a piece of its transcript, never changed
 *     index/<owner>/<time>-<session id>             empty; names in the order of a list
 *     gone/<time>-<owner>-<session id>              empty; heads of deleted sessions, oldest first
 *     deleting/<time>-<owner>-<session id>          empty; deletions and copies under way, or cut short
 *     replicas/<tag>                                where a replica is reached: replica-addresses.ts
 *
 * An owner is a tenant of this server, or a project of a program that uses the SDK's own store.
 *
 * @module
 */

import { joinedName } from "../../lib/joined-name.ts";
import { sha256 } from "../../lib/sha256.ts";

/** Session of an owner: both parts are safe in a name. */
export interface LogKey {
  /** The owner, as {@link ownerOf} makes it. */
  readonly owner: string;
  /** A UUID in lower case. */
  readonly sessionId: string;
}

/** @param kind Keeps a tenant and a project of the same name apart. */
export function ownerOf(kind: "tenant" | "project", name: string): string {
  return `${kind[0]}${sha256(joinedName(kind, name)).slice(0, 32)}`;
}

export function prefixOf({ owner, sessionId }: LogKey): string {
  return `sessions/${owner}/${sessionId}/`;
}

export function headNameOf(key: LogKey): string {
  return `${prefixOf(key)}head`;
}

/** The object that says which layout a store has: `{"version":1}`. */
export const LAYOUT_NAME = "meta/layout";
export const INDEX = "index/";
/** The part of the index that is of tenants: sessions of projects are no server's. */
export const INDEX_OF_TENANTS = `${INDEX}t`;
export const GONE = "gone/";
export const DELETING = "deleting/";
export const REPLICAS = "replicas/";

/** Milliseconds have 13 digits until the year 2286. */
const TIME_DIGITS = 14;
const LAST_MS = 10 ** TIME_DIGITS - 1;

/** The later the time, the earlier the name. */
export function indexNameOf({ owner, sessionId }: LogKey, atMs: number): string {
  return `${INDEX}${owner}/${digits(LAST_MS - atMs)}-${sessionId}`;
}

/** Undefined for a name that is none of these. */
export function parseIndexName(name: string): (LogKey & { readonly atMs: number }) | undefined {
  const [, owner, time, sessionId] = /^index\/([^/]+)\/(\d{14})-([0-9a-f-]{36})$/.exec(name) ?? [];
  if (owner === undefined || time === undefined || sessionId === undefined) return undefined;
  return { owner, sessionId, atMs: LAST_MS - Number(time) };
}

export interface GoneSession extends LogKey {
  /** When its deletion began. */
  readonly atMs: number;
}

/** The earlier the time, the earlier the name. */
export function goneNameOf({ owner, sessionId }: LogKey, atMs: number): string {
  return `${GONE}${digits(atMs)}-${owner}-${sessionId}`;
}

/** The name of a deletion, or of a copy to the store, that is not finished. */
export function deletingNameOf({ owner, sessionId }: LogKey, atMs: number): string {
  return `${DELETING}${digits(atMs)}-${owner}-${sessionId}`;
}

/** Undefined for a name that is none of these. */
export function parseGoneName(name: string): GoneSession | undefined {
  const [, time, owner, sessionId] =
    /^(?:gone|deleting)\/(\d{14})-([^-]+)-([0-9a-f-]{36})$/.exec(name) ?? [];
  if (owner === undefined || time === undefined || sessionId === undefined) return undefined;
  return { owner, sessionId, atMs: Number(time) };
}

function digits(ms: number): string {
  return String(Math.round(ms)).padStart(TIME_DIGITS, "0");
}
