/**
 * Errors as the Messages API words them.
 *
 * @module
 */

export interface ApiError {
  readonly status: number;
  readonly type: string;
  readonly message: string;
  /** Value of the header `retry-after`. */
  readonly retryAfterSeconds?: number | undefined;
}

/** The API's own name for the error of a status, and what it says. */
const USUAL: Readonly<Record<number, readonly [type: string, message: string]>> = {
  400: ["invalid_request_error", "The request is not valid"],
  401: ["authentication_error", "invalid x-api-key"],
  403: ["permission_error", "The key may not use this resource"],
  404: ["not_found_error", "Not found"],
  413: ["request_too_large", "The request is too large"],
  429: ["rate_limit_error", "The rate limit was exceeded"],
  500: ["api_error", "Internal server error"],
  529: ["overloaded_error", "Overloaded"],
};

interface Wording {
  readonly type?: string | undefined;
  readonly message?: string | undefined;
  readonly retryAfterSeconds?: number | undefined;
}

/** The error of a status, in the usual words where `wording` has none. */
export function apiError(status: number, wording: Wording = {}): ApiError {
  const [type, message] = USUAL[status] ?? ["api_error", "Error"];
  return {
    status,
    type: wording.type ?? type,
    message: wording.message ?? message,
    retryAfterSeconds: wording.retryAfterSeconds,
  };
}

export function encodeApiError(error: ApiError): string {
  return JSON.stringify({ type: "error", error: { type: error.type, message: error.message } });
}
