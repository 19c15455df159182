/**
 * Request bodies that are being received: each is bounded, and so are all of them together, as
 * there may be many connections that are slow with them.
 *
 * @module
 */

import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { KIB } from "../lib/byte-units.ts";
import type { Refusal } from "../lib/errors.ts";

/**
 * A body this small is always taken: it comes with its headers, in what is read of a connection at
 * once. So clients that are slow with large ones keep no turn from being asked for.
 */
const ALWAYS_TAKEN_BYTES = 16 * KIB;

/** Whether the request says that its body is small enough to be taken always. */
export function isAlwaysTaken(headers: IncomingHttpHeaders): boolean {
  if (headers["transfer-encoding"] !== undefined) return false;
  return Number(headers["content-length"] ?? 0) <= ALWAYS_TAKEN_BYTES;
}

export interface BodyLimits {
  readonly bodyLimitBytes: number;
  readonly bodiesLimitBytes: number;
}

export class BodiesInFlight {
  readonly #limits: BodyLimits;
  #bytes = 0;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  /**
   * Whether the body may be received; if so, it counts until it is there, its client is gone or it
   * is answered, after which Node drops what still comes. One that does not say how long it is
   * counts as one of the largest. One alone always may, and one of a method that has none is not
   * received at all.
   */
  take(response: ServerResponse): boolean {
    const { req: request } = response;
    if (request.method === "GET" || request.method === "HEAD") return true;
    const { bodyLimitBytes, bodiesLimitBytes } = this.#limits;
    const isChunked = request.headers["transfer-encoding"] !== undefined;
    const bytes = isChunked ? bodyLimitBytes : Number(request.headers["content-length"] ?? 0);
    const fits = this.#bytes === 0 || this.#bytes + bytes <= bodiesLimitBytes;
    if (!fits && bytes > ALWAYS_TAKEN_BYTES) return false;
    this.#bytes += bytes;
    let isOver = false;
    const giveBack = (): void => {
      if (!isOver) this.#bytes -= bytes;
      isOver = true;
    };
    request.once("end", giveBack).once("close", giveBack);
    // Of a request that is answered Node tells neither.
    response.once("close", giveBack);
    return true;
  }
}

export const TOO_MANY_BODIES: Refusal = {
  code: "too_many_bodies",
  message: "Cannot take the body: too many are being received",
  details: { retryAfterSeconds: 1 },
};
