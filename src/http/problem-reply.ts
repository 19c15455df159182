/**
 * Refusals as responses: a problem document with the headers that go with its code.
 *
 * @module
 */

import type { FastifyReply, FastifyRequest } from "fastify";
import { rateLimitHeaders } from "../capacity/rate-limit-fields.ts";
import type { Config } from "../config/config.ts";
import { AppError, toAppError, type ErrorCode } from "../lib/errors.ts";
import { PROBLEM_MEDIA_TYPE, toProblem } from "../protocol/problem.ts";

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
  FST_ERR_CTP_EMPTY_TYPE: ["unsupported_media_type", "Cannot read the body: it has no type"],
  FST_ERR_BAD_URL: ["invalid_request", "Cannot read the address: it is malformed"],
  FST_ERR_MAX_PARAM_LENGTH: ["invalid_request", "Cannot read the address: a part is too long"],
};

export function toRefusal(thrown: unknown): AppError {
  const code = (thrown as { code?: unknown } | null)?.code;
  const known = typeof code === "string" ? FASTIFY_ERRORS[code] : undefined;
  if (known === undefined) return toAppError(thrown);
  return new AppError(known[0], known[1], { cause: thrown });
}

export function sendProblem(
  error: AppError,
  request: FastifyRequest,
  reply: FastifyReply,
  capacity: Pick<Config["capacity"], "shedStatus">,
): FastifyReply {
  const status = error.code === "at_capacity" ? capacity.shedStatus : error.spec.status;
  const { retryAfterSeconds } = error.details;
  if (retryAfterSeconds !== undefined) void reply.header("retry-after", retryAfterSeconds);
  if (error.code === "unauthorized") void reply.header("www-authenticate", "Bearer");
  if (error.code === "at_capacity") void reply.headers(rateLimitOf(error));
  closeUnlessRead(request, reply);
  const body = JSON.stringify(toProblem(error, { instance: `urn:uuid:${request.id}`, status }));
  return reply.status(status).type(PROBLEM_MEDIA_TYPE).send(body);
}

function rateLimitOf({ details }: AppError): Record<string, string> {
  const { capacity, inflight } = details.extensions as { capacity: number; inflight: number };
  return rateLimitHeaders({
    capacity,
    inflight,
    retryAfterSeconds: details.retryAfterSeconds ?? 1,
  });
}

/** Largest unread body that is worth swallowing to keep the connection. */
const MAX_SWALLOWED_BYTES = 64 * 1024;

/**
 * A refusal that comes before the body was read leaves it in the connection. A small one is
 * swallowed by Node; for a large one, closing is cheaper for both sides.
 */
function closeUnlessRead(request: FastifyRequest, reply: FastifyReply): void {
  const length = Number(request.headers["content-length"] ?? 0);
  const isChunked = request.headers["transfer-encoding"] !== undefined;
  if (request.raw.complete || (!isChunked && length <= MAX_SWALLOWED_BYTES)) return;
  void reply.header("connection", "close");
}
