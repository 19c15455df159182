/**
 * An error as the problem document that a caller reads (RFC 9457). Sending it, with its headers,
 * is `http/`.
 *
 * @module
 */

import { ERRORS, type ErrorCode, type Refusal } from "../lib/errors.ts";

export const PROBLEM_MEDIA_TYPE = "application/problem+json";

export interface ProblemDocument {
  /** A URI that names the kind of problem; not an address to fetch. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** A URI reference of this very occurrence. */
  readonly instance: string;
  /** A code of the table of errors: what a program should look at. */
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly remedy: string;
  /** Whole seconds; also here because some clients cannot see the header. */
  readonly retryAfter?: number;
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
  readonly [extension: string]: unknown;
}

/** The types registered with IANA where one fits; a client may know them without knowing us. */
const REGISTERED_TYPES: Partial<Record<ErrorCode, string>> = {
  at_capacity: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
  too_many_streams: "https://iana.org/assignments/http-problem-types#quota-exceeded",
  too_many_readers: "https://iana.org/assignments/http-problem-types#quota-exceeded",
  too_many_sessions: "https://iana.org/assignments/http-problem-types#quota-exceeded",
};

/**
 * @param where.instance A URI reference, e.g. the path of the request with its id.
 * @param where.status Where a setting changes the status of the code, e.g. of a refusal for load.
 */
export function toProblem(
  error: Refusal,
  where: { readonly instance: string; readonly status?: number },
): ProblemDocument {
  const { retryAfterSeconds, errors, extensions } = error.details;
  const { status, title, retryable, remedy } = ERRORS[error.code];
  const problem: { -readonly [Member in keyof ProblemDocument]: ProblemDocument[Member] } = {
    type: REGISTERED_TYPES[error.code] ?? `urn:plimsoll:error:${error.code}`,
    title,
    status: where.status ?? status,
    detail: error.message,
    instance: where.instance,
    code: error.code,
    retryable,
    remedy,
  };
  // Assigned rather than spread: V8 makes spread objects such that they get old before they are
  // garbage, and refusals come by the thousand (see docs/benchmarks.md).
  if (retryAfterSeconds !== undefined) problem.retryAfter = retryAfterSeconds;
  if (errors !== undefined) problem.errors = errors;
  for (const [name, value] of Object.entries(extensions ?? {})) {
    // No extension can take the place of a standard member.
    if (!(name in problem)) problem[name] = value;
  }
  return problem;
}
