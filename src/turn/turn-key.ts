/**
 * The keys of requests: how they are made from what clients send, so that the same request never
 * runs twice.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import { joinedName } from "../lib/joined-name.ts";
import { sha256 } from "../lib/sha256.ts";
import type { TurnKey } from "./turn.ts";

/**
 * @param name What the client calls the request, with whatever keeps it apart from others.
 * @param asked What the request asks for, as it was decoded.
 */
export function turnKeyOf(name: readonly string[], asked: unknown): TurnKey {
  return { hash: hashOf(name), inputHash: hashOf(asked) };
}

/** A thread for a request that names none: the same each time the request comes. */
export function threadIdOfKey(agentName: string, key: string): string {
  return `key-${sha256(joinedName(agentName, key)).slice(0, 32)}`;
}

function hashOf(value: unknown): string {
  return sha256(JSON.stringify(value));
}

export function keyReused(): AppError {
  return new AppError(
    "idempotency_key_reused",
    "Cannot take the request: its key was used for another one",
  );
}
