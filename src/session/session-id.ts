/**
 * The name of a session: computed from what the client calls its conversation, so that no table
 * maps one to the other and every replica comes to the same answer.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { AppError } from "../lib/errors.ts";
import { joinedName } from "../lib/joined-name.ts";
import type { SessionTarget } from "../turn/turn.ts";

/** Which session, seen by its owner: the same id under another tenant is another session. */
export interface SessionRef {
  readonly tenant: string;
  /** UUIDv5 in lower case. */
  readonly sessionId: string;
}

/** What a turn says about its session. */
export interface SessionInput {
  readonly tenant: string;
  readonly agentName: string;
  readonly target: SessionTarget;
}

/** Longest thread id taken from a client, in UTF-16 code units. */
export const MAX_THREAD_ID_LENGTH = 256;

/** The namespace of our ids (RFC 9562 section 5.5). Changing it would lose every session. */
const NAMESPACE = Buffer.from("5f0c6f2e8d3a4b7e9a41c2d7e05b9e13", "hex");

const UUID_V5 = /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

export interface SessionName {
  readonly tenant: string;
  readonly agentName: string;
  readonly threadId: string;
}

/** UUIDv5 of the three parts (RFC 9562 section 5.5). */
export function sessionIdOf({ tenant, agentName, threadId }: SessionName): string {
  // JSON also escapes lone surrogates, which UTF-8 would make equal.
  const name = joinedName(tenant, agentName, threadId);
  const bytes = createHash("sha1").update(NAMESPACE).update(name).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/**
 * The session a turn is about. Pure: whether it exists is the store's to say.
 *
 * @throws {AppError} `session_not_found` for a session id that is none of ours;
 *   `invalid_request` for a thread id that is empty or too long.
 */
export function sessionRefOf({ tenant, agentName, target }: SessionInput): SessionRef {
  if (target.by === "session") return parseSessionRef({ tenant, sessionId: target.sessionId });
  const { threadId } = target;
  if (threadId.length === 0 || threadId.length > MAX_THREAD_ID_LENGTH) {
    const state = `it must have 1 to ${MAX_THREAD_ID_LENGTH} characters`;
    throw new AppError("invalid_request", `Cannot use the thread id: ${state}`);
  }
  return { tenant, sessionId: sessionIdOf({ tenant, agentName, threadId }) };
}

/**
 * A reference with an id that is safe to put into a path.
 *
 * @throws {AppError} `session_not_found` for anything that is not one of our ids.
 */
export function parseSessionRef({ tenant, sessionId }: SessionRef): SessionRef {
  const canonical = sessionId.toLowerCase();
  if (!UUID_V5.test(canonical)) throw sessionNotFound();
  return { tenant, sessionId: canonical };
}

/** One text for each session: of another tenant it is another. */
export function textOf({ tenant, sessionId }: SessionRef): string {
  return joinedName(tenant, sessionId);
}

/** Whether it is one of our ids as we write them. */
export function isSessionId(text: string): boolean {
  return UUID_V5.test(text);
}

/** One message for unknown, foreign and malformed ids: a caller cannot tell them apart. */
export function sessionNotFound(): AppError {
  return new AppError("session_not_found", "Cannot find the session: there is none with this id");
}
