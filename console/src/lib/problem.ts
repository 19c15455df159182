/**
 * What the server says when it refuses: a problem document (RFC 9457) as far as it is shown.
 *
 * @module
 */

export interface Problem {
  /** HTTP status; 0 where there was no answer. */
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly remedy: string | null;
  readonly isRetryable: boolean;
  /** When to come back; null where the server does not say. */
  readonly retryAfterSeconds: number | null;
}

/** Of an answer that is no success. Reads its body; never throws. */
export async function problemOf(response: Response): Promise<Problem> {
  const body = await response.json().catch(() => null);
  return problemFrom(response.status, body, response.headers.get("retry-after"));
}

/** @param retryAfter The header, whose seconds count where the body has none. */
function problemFrom(status: number, body: unknown, retryAfter: string | null): Problem {
  const fields = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const text = (key: string) => (typeof fields[key] === "string" ? fields[key] : null);
  const seconds = Number(fields["retryAfter"] ?? retryAfter ?? Number.NaN);
  return {
    status,
    code: text("code") ?? `http_${status}`,
    title: text("title") ?? `The server answered with ${status}`,
    detail: [text("detail") ?? text("title") ?? `The server answered with ${status}`]
      .concat(placesOf(fields["errors"]))
      .join("; "),
    remedy: text("remedy"),
    isRetryable: fields["retryable"] === true,
    retryAfterSeconds: Number.isFinite(seconds) && seconds >= 0 ? seconds : null,
  };
}

const MOST_PLACES = 3;

/** Where in the request it does not fit. */
function placesOf(errors: unknown): string[] {
  if (!Array.isArray(errors)) return [];
  return errors.slice(0, MOST_PLACES).map((error: { pointer?: unknown; detail?: unknown }) => {
    return `${String(error.pointer)} ${String(error.detail)}`;
  });
}

/** For a request that got no answer at all. */
export const UNREACHABLE: Problem = {
  status: 0,
  code: "unreachable",
  title: "The server does not answer",
  detail: "Cannot reach the server: it may be restarting",
  remedy: "Wait until it is back; what was sent is not lost, and never runs twice",
  isRetryable: true,
  retryAfterSeconds: null,
};
