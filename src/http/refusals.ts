/**
 * Refusals as responses: a problem document with the headers that go with its code, whoever
 * refuses: a gate, a route, or Fastify by itself.
 *
 * @module
 */

import type { FastifyReply, FastifyRequest } from "fastify";
import { rateLimitHeaders } from "../capacity/rate-limit-fields.ts";
import { AppError, ERRORS, type ErrorCode, type Refusal, toAppError } from "../lib/errors.ts";
import { PROBLEM_MEDIA_TYPE, toProblem } from "../protocol/problem.ts";
import { isLeaving, type ServerParts } from "./server-parts.ts";
import { discardRest, isUnread } from "./unread-body.ts";

/** Answers of turns that have begun: what these fail with is counted with the turns. */
const OF_TURNS = new WeakSet<FastifyReply>();

/** No error of this answer is a refusal any more. */
export function turnHasBegun(reply: FastifyReply): void {
  OF_TURNS.add(reply);
}

export class Refusals {
  readonly #parts: Pick<ServerParts, "config" | "telemetry" | "readiness">;

  constructor(parts: Pick<ServerParts, "config" | "telemetry" | "readiness">) {
    this.#parts = parts;
  }

  /** Whatever was thrown on the way of a request. */
  refuse(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const error = toRefusal(thrown);
    const { log } = this.#parts.telemetry;
    const place = { requestId: request.id, route: request.routeOptions.url };
    if (error.spec.fault === "bug") log.error({ err: thrown, ...place }, "Request failed");
    else if (error.spec.fault === "operator") log.warn({ err: error, ...place }, "Request refused");
    return this.send(error, request, reply);
  }

  /** Answers past Fastify: refusals are what there may be thousands of, just when it is busy. */
  send(refusal: Refusal, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const { config, telemetry } = this.#parts;
    if (!OF_TURNS.has(reply)) telemetry.metrics.requestRefused(refusal.code);
    const { shedStatus } = config.capacity;
    const status = refusal.code === "at_capacity" ? shedStatus : ERRORS[refusal.code].status;
    const problem = toProblem(refusal, { instance: `urn:uuid:${request.id}`, status });
    const body = JSON.stringify(problem);
    const { raw } = reply;
    const headers = headersOf(refusal);
    if (isLeaving(this.#parts)) headers["connection"] = "close";
    addMissing(headers, reply.getHeaders());
    headers["content-type"] = PROBLEM_MEDIA_TYPE;
    headers["content-length"] = Buffer.byteLength(body);
    reply.hijack();
    const isLast = !raw.shouldKeepAlive || headers["connection"] === "close";
    const rest = isUnread(request.raw, isLast) ? discardRest(request.raw) : null;
    // All at once: Node checks and keeps what is set one by one, for a third of the whole cost.
    raw.writeHead(status, headers);
    if (rest === null || request.method === "HEAD") raw.end(body);
    else {
      raw.write(body);
      void rest.then(() => raw.end());
    }
    return reply;
  }
}

/** What Fastify refuses by itself, in our words. */
const FASTIFY_ERRORS: Readonly<Record<string, readonly [code: ErrorCode, message: string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ["payload_too_large", "Cannot take the body: it is too large"],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    "unsupported_media_type",
    "Cannot read the body: its type is not application/json",
  ],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [
    "invalid_request",
    "Cannot read the body: its length is not the one announced",
  ],
  FST_ERR_BAD_URL: ["invalid_request", "Cannot read the address: it is malformed"],
  FST_ERR_MAX_PARAM_LENGTH: ["invalid_request", "Cannot read the address: a part is too long"],
  // From the connection itself: nobody is left to read the answer, but the metrics want its code.
  ECONNRESET: ["invalid_request", "Cannot read the body: the client broke off"],
  ERR_STREAM_PREMATURE_CLOSE: ["invalid_request", "Cannot answer: the client left"],
};

function toRefusal(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const code = (thrown as { code?: unknown } | null)?.code;
  const known = typeof code === "string" ? FASTIFY_ERRORS[code] : undefined;
  if (known === undefined) return toAppError(thrown);
  return new AppError(known[0], known[1], { cause: thrown });
}

type Headers = Record<string, string | number | string[] | undefined>;

/**
 * Assigned one by one: objects spread from one another get old before they are garbage, and
 * collecting them stopped the server for 20 ms and more at 3,300 refusals a second.
 */
function addMissing(headers: Headers, others: Readonly<Headers>): void {
  for (const name in others) headers[name] ??= others[name];
}

function headersOf({ code, details }: Refusal): Headers {
  const { retryAfterSeconds, extensions } = details;
  const headers: Headers = { "cache-control": "no-store" };
  if (retryAfterSeconds !== undefined) headers["retry-after"] = String(retryAfterSeconds);
  if (code === "unauthorized") headers["www-authenticate"] = "Bearer";
  // The connection leads to this replica for ever: the next one may lead to the right one.
  if (code === "other_session") headers["connection"] = "close";
  if (code !== "at_capacity") return headers;
  const { capacity } = extensions as { capacity: number };
  const limits = rateLimitHeaders({ capacity, retryAfterSeconds: retryAfterSeconds ?? 1 });
  return Object.assign(headers, limits);
}
