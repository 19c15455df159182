/**
 * The header `Idempotency-Key`: a quoted string, as the draft of the IETF has it, or a bare word, as
 * most clients send it.
 *
 * @module
 */

import type { IncomingHttpHeaders } from "node:http";
import { parseItem } from "structured-headers";
import { AppError } from "../lib/errors.ts";
import { turnKeyOf } from "../turn/turn-key.ts";

const MAX_LENGTH = 255;

/**
 * Null without one.
 *
 * @throws {AppError} `invalid_request` for one that is neither, empty or too long.
 */
export function idempotencyKeyOf(headers: IncomingHttpHeaders): string | null {
  const text = headers["idempotency-key"];
  if (text === undefined) return null;
  const key = typeof text === "string" ? parseKey(text.trim()) : undefined;
  if (key !== undefined && key.length >= 1 && key.length <= MAX_LENGTH) return key;
  const needed = `it needs 1 to ${MAX_LENGTH} characters, as a quoted string or one word`;
  throw new AppError("invalid_request", `Cannot read the Idempotency-Key: ${needed}`);
}

/** Names of requests, apart from those of other protocols. */
export function keyNameOf(key: string): readonly string[] {
  return ["Idempotency-Key", key];
}

/** The hash of the key that the turn would have; null without one that can be read. */
export function keyHashOf(headers: IncomingHttpHeaders): string | null {
  if (headers["idempotency-key"] === undefined) return null;
  try {
    return turnKeyOf(keyNameOf(idempotencyKeyOf(headers) ?? ""), null).hash;
  } catch {
    return null; // The route says what is wrong with it.
  }
}

function parseKey(text: string): string | undefined {
  if (!text.startsWith('"')) return /^[\x21-\x7e]+$/.test(text) ? text : undefined;
  try {
    const [key] = parseItem(text);
    return typeof key === "string" ? key : undefined;
  } catch {
    return undefined;
  }
}
