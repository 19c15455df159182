/**
 * The keys of requests: how they are made from what clients send, so that the same request never
 * runs twice.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { AppError } from "../lib/errors.ts";
import type { TurnKey } from "./turn.ts";

/**
 * @param name What the client calls the request, with whatever keeps it apart from others.
 * @param asked What the request asks for, as it was decoded.
 */
export function turnKeyOf(name: readonly string[], asked: unknown): TurnKey {
  return { hash: sha256(name), inputHash: sha256(asked) };
}

/** A thread for a request that names none: the same each time the request comes. */
export function threadIdOfKey(agentName: string, key: string): string {
  return `key-${sha256([agentName, key]).slice(0, 32)}`;
}

/** JSON keeps one part from running into the next. */
function sha256(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}

export function keyReused(): AppError {
  return new AppError(
    "idempotency_key_reused",
    "Cannot take the request: its key was used for another one",
  );
}
