/**
 * A turn's bytes as a streaming response.
 *
 * @module
 */

import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";

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

/**
 * The chunks, with the head of the response sent before the first of them, which may be long in
 * coming: who comes back to a silent turn learns at once that it is there.
 */
export async function* afterHead<Chunk>(
  { raw }: FastifyReply,
  chunks: AsyncIterable<Chunk>,
): AsyncGenerator<Chunk, void, undefined> {
  // Asked for its first chunk only when Fastify has set all headers.
  raw.flushHeaders();
  yield* chunks;
}
