/**
 * A client that asks and does not read the answer: what waits for it is held in memory, long after
 * whatever made it has ended.
 *
 * @module
 */

import type { ServerResponse } from "node:http";

/**
 * Cuts the connection when nothing of the answer has been read for so long while bytes of it wait.
 * Silence alone is no fault: an answer may be long in coming.
 */
export function cutOffUnread(response: ServerResponse, unreadTimeoutMs: number): void {
  response.setTimeout(unreadTimeoutMs, () => {
    const waiting = response.writableLength + (response.socket?.writableLength ?? 0);
    if (waiting > 0) response.destroy();
  });
}
