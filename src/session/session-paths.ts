/**
 * Where things lie under the data directory. No part of a path is ever client text: tenants are
 * hashed, session ids are checked UUIDs.
 *
 *     <data>/server.lock  server-id     who has the directory; see directory-lock.ts
 *     <data>/footprints.json            what turns were seen to hold; see server/footprint-file.ts
 *     <data>/run/                       emptied at every start: sockets, scratch, ephemeral turns
 *     <data>/trash/                     on its way out; emptied at every start
 *     <data>/tenants/<hash>/sessions/<2 hex>/<session id>/{session.json,work,config,home}
 *     <data>/tenants/<hash>/tombstones/<session id>
 *     <data>/held/<time>/tenants/…      on hold, and in the way of another session of the thread
 *
 * @module
 */

import { join } from "node:path";
import { joinedName } from "../lib/joined-name.ts";
import { sha256 } from "../lib/sha256.ts";
import type { SessionRef } from "./session-id.ts";

export interface DataPaths {
  readonly lock: string;
  readonly serverId: string;
  readonly run: string;
  readonly trash: string;
  readonly tenants: string;
}

/** What an agent process is given; the same for every turn of a session. */
export interface SessionDirectories {
  /** Its working directory. */
  readonly work: string;
  /** Its CLAUDE_CONFIG_DIR: one for each session, as processes that share one corrupt it. */
  readonly config: string;
  /** Its HOME. */
  readonly home: string;
  /** Its TMPDIR: scratch for one turn. Short, see {@link MAX_TMP_PATH_BYTES}. */
  readonly tmp: string;
}

/** A data directory of its own, for what lies there: `plimsoll sessions` can look into it. */
export function heldDirectoryOf(dataDirectory: string, createdAtMs: number): string {
  return join(dataDirectory, "held", String(createdAtMs));
}

export interface SessionPaths extends SessionDirectories {
  readonly directory: string;
  readonly record: string;
  readonly tombstone: string;
}

/**
 * Longest TMPDIR that keeps the sockets of an agent process inside it. Claude Code puts
 * `cc-socks/<pid>.sock` there, and beyond 103 bytes in all falls back to a directory under /tmp
 * that every session shares.
 */
export const MAX_TMP_PATH_BYTES = 103 - "/cc-socks/4194304.sock".length;

/** The file in a session's directory that says what it is; without it there is no session. */
export const RECORD_NAME = "session.json";

export function dataPathsOf(dataDirectory: string): DataPaths {
  return {
    lock: join(dataDirectory, "server.lock"),
    serverId: join(dataDirectory, "server-id"),
    run: join(dataDirectory, "run"),
    trash: join(dataDirectory, "trash"),
    tenants: join(dataDirectory, "tenants"),
  };
}

export function tenantDirectoryOf(dataDirectory: string, tenant: string): string {
  return join(dataPathsOf(dataDirectory).tenants, hashOf(tenant, 32));
}

/** The directories of a session, one name each, below `tenants`. */
export function sessionSegmentsOf({ tenant, sessionId }: SessionRef): {
  readonly session: readonly string[];
  readonly tombstones: readonly string[];
} {
  const tenantName = hashOf(tenant, 32);
  return {
    session: [tenantName, "sessions", sessionId.slice(0, 2), sessionId],
    tombstones: [tenantName, "tombstones"],
  };
}

/** The paths of a session. Its id must have passed `parseSessionRef`. */
export function sessionPathsOf(dataDirectory: string, ref: SessionRef): SessionPaths {
  const { tenants } = dataPathsOf(dataDirectory);
  const segments = sessionSegmentsOf(ref);
  const directory = join(tenants, ...segments.session);
  const scratch = hashOf(joinedName(ref.tenant, ref.sessionId), 16);
  return {
    directory,
    record: join(directory, RECORD_NAME),
    work: join(directory, "work"),
    config: join(directory, "config"),
    home: join(directory, "home"),
    tmp: join(dataPathsOf(dataDirectory).run, "tmp", scratch),
    tombstone: join(tenants, ...segments.tombstones, ref.sessionId),
  };
}

function hashOf(text: string, hexDigits: number): string {
  return sha256(text).slice(0, hexDigits);
}
