/**
 * Requests to the server, same-origin, with its refusals as values: problem+json, and when to come
 * back. A 401 asks for a login, and the request is sent once more after it.
 *
 * @module
 */

import { isLoginOpen, loginNeeded } from "./session.ts";

/** A refusal in the words of the server. */
export class ApiError extends Error {
  readonly status: number;
  /** Of the server's table of errors, e.g. `at_capacity`; empty if it gave none. */
  readonly code: string;
  /** Null where the server did not say. */
  readonly retryAfterSeconds: number | null;
  /** What the reader can do, in the words of the server; null if it gave none. */
  readonly remedy: string | null;

  constructor(
    status: number,
    code: string,
    message: string,
    retryAfterSeconds: number | null,
    remedy: string | null = null,
  ) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
    this.remedy = remedy;
  }
}

export interface ApiRequest {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/**
 * The answer, whatever its body.
 * @throws ApiError for every status but 2xx; what `fetch` throws where nobody answers
 */
export async function send(path: string, request: ApiRequest = {}): Promise<Response> {
  // Whoever logs in next may be somebody else: then nothing that waits is sent.
  if (isLoginOpen.peek()) await loginNeeded();
  const response = await sendOnce(path, request);
  if (response.status === 401) await loginNeeded();
  const answer = response.status === 401 ? await sendOnce(path, request) : response;
  if (!answer.ok) throw await errorOf(answer);
  return answer;
}

/** The answer as JSON, trusted to be what the server documents. */
export async function getJson<T>(path: string, request: ApiRequest = {}): Promise<T> {
  const response = await send(path, request);
  return (await response.json()) as T;
}

/** What was thrown as a refusal: of a server that does not answer, too. */
export function toApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  const text = "Cannot reach the server: it may be restarting";
  const remedy = "Wait until it is back; nothing that was sent runs twice";
  return new ApiError(0, "unreachable", text, null, remedy);
}

async function errorOf(response: Response): Promise<ApiError> {
  const problem = await response.json().catch(() => ({}));
  const { code = "", detail, title, remedy } = problem as Record<string, string | undefined>;
  const seconds = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  const text = detail ?? title ?? `the server answers ${response.status}`;
  const places = placesText((problem as { errors?: readonly ErrorPlace[] }).errors ?? []);
  const retryAfterSeconds = Number.isNaN(seconds) ? null : seconds;
  return new ApiError(response.status, code, text + places, retryAfterSeconds, remedy ?? null);
}

interface ErrorPlace {
  readonly pointer: string;
  readonly detail: string;
}

const MOST_PLACES = 3;

/** Where the request does not fit, e.g. `; /input needs text that is not blank`. */
function placesText(places: readonly ErrorPlace[]): string {
  const shown = places.slice(0, MOST_PLACES);
  return shown.map(({ pointer, detail }) => `; ${pointer} ${detail}`).join("");
}

function sendOnce(path: string, request: ApiRequest): Promise<Response> {
  const { method = "GET", headers = {}, body, signal } = request;
  const json = { "content-type": "application/json" };
  return fetch(path, {
    method,
    headers: body === undefined ? headers : { ...json, ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  });
}
