/**
 * A refusal that comes before the body was read leaves the client sending. Were the connection
 * closed then, the client's system would throw our answer away with it (RFC 9112, section 9.6).
 * So the answer is written at once, and what still comes is read and dropped before it is ended.
 *
 * @module
 */

import type { IncomingMessage } from "node:http";
import { KIB, MIB } from "../lib/byte-units.ts";

/**
 * Most that is dropped before the connection is cut after all. How long it may take is the limit
 * of every request, `http.requestTime`.
 */
const MAX_DISCARDED_BYTES = 64 * MIB;

/**
 * Node reads past a body this small by itself, where the connection is kept: the answer need not wait
 * for it.
 */
const READ_PAST_BYTES = 64 * KIB;

/**
 * Whether the answer has to wait for the body.
 *
 * @param isLast Whether the connection is closed after the answer.
 */
export function isUnread(request: IncomingMessage, isLast: boolean): boolean {
  if (request.complete || request.destroyed) return false;
  if (request.headers["transfer-encoding"] !== undefined) return true;
  const bytes = Number(request.headers["content-length"] ?? 0);
  return bytes > (isLast ? 0 : READ_PAST_BYTES);
}

/** Resolves when the body has come, when it is too much, or when the client has gone. */
export function discardRest(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_DISCARDED_BYTES) resolve();
    });
    for (const event of ["end", "error", "close"]) request.once(event, () => resolve());
    if (request.readableEnded) resolve();
  });
}
