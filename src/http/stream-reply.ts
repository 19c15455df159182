/**
 * A turn's bytes as a streaming response, and the reader's leaving as a signal.
 *
 * @module
 */

import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";

/** Aborts when the client is gone before the response is complete. */
export function clientGone(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}

/**
 * Sends the chunks as they come. Ends the response in order, whatever the source does: a reset
 * connection can kill a client that reads it.
 */
export function sendStream(
  reply: FastifyReply,
  mediaType: string,
  chunks: AsyncIterable<string | Uint8Array>,
): FastifyReply {
  return reply
    .headers({
      "content-type": mediaType,
      "cache-control": "no-cache, no-transform",
      // Tells nginx not to hold the events back.
      "x-accel-buffering": "no",
    })
    .send(Readable.from(chunks, { objectMode: true, highWaterMark: 1 }));
}
