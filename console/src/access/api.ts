/**
 * Requests to the server, same-origin, with its refusals as values: problem+json, and when to come
 * back. A 401 asks for a login, and the request is sent once more after it.
 *
 * @module
 */

import { loginNeeded } from "./session.ts";

/** A refusal in the words of the server. */
export class ApiError extends Error {
  readonly status: number;
  /** Of the server's table of errors, e.g. `at_capacity`; empty if it gave none. */
  readonly code: string;
  /** Null where the server did not say. */
  readonly retryAfterSeconds: number | null;

  constructor(status: number, code: string, message: string, retryAfterSeconds: number | null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
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

export async function errorOf(response: Response): Promise<ApiError> {
  const problem = await response.json().catch(() => ({}));
  const { code = "", detail, title } = problem as Record<string, string | undefined>;
  const seconds = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  const text = detail ?? title ?? `the server answers ${response.status}`;
  return new ApiError(response.status, code, text, Number.isNaN(seconds) ? null : seconds);
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
