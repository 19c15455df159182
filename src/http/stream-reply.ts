/**
 * A turn's bytes as a streaming response.
 *
 * @module
 */

import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import type { Config } from "../config/config.ts";

/**
 * Sends the chunks as they come. Ends the response in order, whatever the source does: a reset
 * connection can kill a client that reads it. Only a client that does not read is cut off, because
 * what waits for it is held in memory long after its turn has ended.
 */
export function sendStream(
  reply: FastifyReply,
  mediaType: string,
  chunks: AsyncIterable<string | Uint8Array>,
  { unreadTimeoutMs }: Pick<Config["http"], "unreadTimeoutMs">,
): FastifyReply {
  const { raw } = reply;
  // Fires when nothing has been read or written for so long; silence alone is no fault.
  raw.setTimeout(unreadTimeoutMs, () => {
    if (raw.writableLength > 0 || (raw.socket?.writableLength ?? 0) > 0) raw.destroy();
  });
  return reply
    .headers({
      "content-type": mediaType,
      "cache-control": "no-cache, no-transform",
      // Tells nginx not to hold the events back.
      "x-accel-buffering": "no",
    })
    .send(Readable.from(chunks, { objectMode: true, highWaterMark: 1 }));
}
