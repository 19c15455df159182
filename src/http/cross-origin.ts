/**
 * Pages of other origins (CORS): closed, and open for exactly the origins that are configured.
 *
 * A browser asks first only for a request with a body of ours; any other it sends, and keeps just
 * the answer from the page. So without keys, where a request needs to bring nothing, what changes
 * something is refused to them here.
 *
 * @module
 */

import type { IncomingHttpHeaders } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";
import { AppError } from "../lib/errors.ts";

const EXPOSED_HEADERS =
  "Allow, Idempotent-Replayed, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, X-Turn-Id";
const PREFLIGHT_ANSWER = {
  "access-control-allow-methods": "GET, HEAD, POST, DELETE",
  "access-control-allow-headers":
    "Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, Traceparent, Tracestate",
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

  /** Checks a request that changes or holds something. @throws {AppError} `foreign_origin` */
  check({ headers }: Pick<FastifyRequest, "headers">): void {
    if (!isForeign(headers) || this.#origins.has(headers.origin ?? "")) return;
    throw FOREIGN;
  }
}

/** By what browsers say and pages cannot change; older ones say only the origin. */
function isForeign({ origin, host, ...headers }: IncomingHttpHeaders): boolean {
  const site = headers["sec-fetch-site"];
  if (site !== undefined) return site !== "same-origin" && site !== "none";
  return origin !== undefined && origin.replace(/^https?:\/\//, "") !== host?.toLowerCase();
}

/**
 * Refuses a foreign request that changes something where keys are no protection: at the login itself.
 *
 * @throws {AppError} `foreign_origin`
 */
export function refuseForeign(headers: IncomingHttpHeaders): void {
  if (isForeign(headers)) throw FOREIGN;
}

/**
 * Whether the page of this server has sent it, so that a cookie counts. Behind a proxy the Host may be
 * another, so what the browser says of the site comes first. Over plain HTTP it says nothing with a
 * read; then the read counts: its answer is for no page of another origin to see, which is why a
 * request that changes something has to say more.
 */
export function isOwnPage({ method, headers }: SentBy): boolean {
  const site = headers["sec-fetch-site"];
  if (site !== undefined) return site === "same-origin";
  if (headers.origin !== undefined) return !isForeign(headers);
  return method === "GET" || method === "HEAD";
}

interface SentBy {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
}

const FOREIGN = new AppError(
  "foreign_origin",
  "Cannot take the request: a web page of another origin has sent it",
);
