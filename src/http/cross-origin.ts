/**
 * Pages of other origins (CORS): closed, and open for exactly the origins that are configured.
 *
 * @module
 */

import type { FastifyReply, FastifyRequest } from "fastify";

const EXPOSED_HEADERS =
  "Allow, Idempotent-Replayed, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, X-Turn-Id";
const PREFLIGHT_ANSWER = {
  "access-control-allow-methods": "GET, HEAD, POST, DELETE",
  "access-control-allow-headers":
    "Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Traceparent, Tracestate",
  "access-control-max-age": "600",
};

export class CrossOrigin {
  readonly #origins: ReadonlySet<string>;

  constructor(origins: readonly string[]) {
    this.#origins = new Set(origins);
  }

  /** Adds what a browser needs to let the page read the answer, also when it is a refusal. */
  allow(request: FastifyRequest, reply: FastifyReply): void {
    if (this.#origins.size === 0) return;
    // The answer differs by origin, so a cache must not give one page that of another.
    void reply.header("vary", "Origin");
    const { origin } = request.headers;
    if (origin === undefined || !this.#origins.has(origin)) return;
    void reply.headers({
      "access-control-allow-origin": origin,
      "access-control-expose-headers": EXPOSED_HEADERS,
    });
    const isPreflight =
      request.method === "OPTIONS" &&
      request.headers["access-control-request-method"] !== undefined;
    if (isPreflight) void reply.headers(PREFLIGHT_ANSWER);
  }
}
