/**
 * The one table of errors: every failure a caller, an operator or a dashboard can meet has its
 * code here, and the same code from the first throw to the response, the log and the span.
 *
 * Three kinds of trouble, three treatments. An *outcome* (steps used up, cancelled) is a value and
 * never thrown. A *failure* is thrown as {@link AppError}. Anything else is a bug: it becomes
 * `internal`, and its text stays on our side.
 *
 * @module
 */

/** Who must act for the error to go away; decides the log level. */
export type Fault = "caller" | "load" | "agent" | "upstream" | "operator" | "bug";

export interface ErrorSpec {
  /** HTTP status while nothing of the response has been sent. */
  readonly status: number;
  readonly fault: Fault;
  /** Whether the same request can succeed later without being changed. */
  readonly retryable: boolean;
  /** Short and fixed: the `title` of the problem document. */
  readonly title: string;
  /** What the reader of the error can do. */
  readonly remedy: string;
}

export const ERRORS = {
  invalid_request: {
    status: 400,
    fault: "caller",
    retryable: false,
    title: "The request does not fit",
    remedy: "Correct what `errors` names; the shapes are in /openapi.json",
  },
  unauthorized: {
    status: 401,
    fault: "caller",
    retryable: false,
    title: "A valid key is needed",
    remedy: "Send `Authorization: Bearer <key>` with a key the server knows",
  },
  forbidden: {
    status: 403,
    fault: "caller",
    retryable: false,
    title: "This key may not do that",
    remedy: "Use a key with the role `operator`, or ask whoever runs the server",
  },
  foreign_origin: {
    status: 403,
    fault: "caller",
    retryable: false,
    title: "A web page of another origin may not do that",
    remedy: "Name the origin of the page in `http.corsOrigins`, or give the server keys",
  },
  not_found: {
    status: 404,
    fault: "caller",
    retryable: false,
    title: "There is nothing at this address",
    remedy: "See /openapi.json for the addresses there are",
  },
  agent_not_found: {
    status: 404,
    fault: "caller",
    retryable: false,
    title: "No agent has this name",
    remedy: "GET /v1/agents lists the agents served here",
  },
  session_not_found: {
    status: 404,
    fault: "caller",
    retryable: false,
    title: "No such session",
    remedy: "Start a new conversation: send the turn with a new thread id and without history",
  },
  session_gone: {
    status: 410,
    fault: "caller",
    retryable: false,
    title: "The session is gone",
    remedy: "Start a new conversation: send the turn with a new thread id and without history",
  },
  turn_not_found: {
    status: 404,
    fault: "caller",
    retryable: false,
    title: "No such turn is known",
    remedy:
      "A turn is known while it runs, and for `journal.keepTime` after it; its id is in the header `x-turn-id`",
  },
  events_expired: {
    status: 410,
    fault: "caller",
    retryable: false,
    title: "The events that come next are not held any more",
    remedy: "Read the session: what the turn has said is there; the turn itself may go on",
  },
  method_not_allowed: {
    status: 405,
    fault: "caller",
    retryable: false,
    title: "This address does not take that method",
    remedy: "Use a method named in the `Allow` header",
  },
  not_acceptable: {
    status: 406,
    fault: "caller",
    retryable: false,
    title: "None of the accepted media types can be produced",
    remedy: "Accept one of the media types that `detail` names",
  },
  session_busy: {
    status: 409,
    fault: "caller",
    retryable: true,
    title: "Another turn of this session is running",
    remedy: "Wait for that turn to end, or cancel it; a session takes one turn at a time",
  },
  transcript_too_large: {
    status: 413,
    fault: "caller",
    retryable: false,
    title: "The conversation is longer than the agent may carry",
    remedy: "Begin a new thread; `limits.transcript` of the agent file is the most that it resumes",
  },
  session_taken_over: {
    status: 409,
    fault: "operator",
    retryable: true,
    title: "Another replica has taken the session over",
    remedy:
      "Send the turn again; a replica that stands still for `sessions.leaseTime` loses its turns",
  },
  session_unreadable: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "What is kept of the session cannot be read",
    remedy: "Restore it from a backup, or delete the session",
  },
  session_newer: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "The session was written by a newer version",
    remedy: "Upgrade this replica to that version; do not delete the session, which is whole",
  },
  turn_cut_off: {
    status: 409,
    fault: "caller",
    retryable: false,
    title: "The turn of this key was cut off",
    remedy: "Read the session to see how far it came; a new key, or none, starts a new turn",
  },
  session_on_hold: {
    status: 409,
    fault: "caller",
    retryable: false,
    title: "The session is on hold",
    remedy: "Take it off hold first: `DELETE /v1/sessions/:sessionId/hold`, which is for operators",
  },
  other_session: {
    status: 421,
    fault: "caller",
    retryable: true,
    title: "The replica serves another session",
    remedy:
      "Ask the dispatcher for a replica of your session, or try another over a new connection",
  },
  payload_too_large: {
    status: 413,
    fault: "caller",
    retryable: false,
    title: "The body is too large",
    remedy: "Send less, or raise `http.bodySize` on the server",
  },
  unsupported_media_type: {
    status: 415,
    fault: "caller",
    retryable: false,
    title: "The body has a type this address does not read",
    remedy: "Send `Content-Type: application/json`",
  },
  idempotency_key_reused: {
    status: 422,
    fault: "caller",
    retryable: false,
    title: "The key was used for another request",
    remedy: "Send a new key with every new request, and the same body with the same key",
  },
  misdirected_request: {
    status: 421,
    fault: "caller",
    retryable: false,
    title: "The request is meant for another server",
    remedy: "Use the address the server printed, or add the name to `http.allowedHosts`",
  },
  headers_too_large: {
    status: 431,
    fault: "caller",
    retryable: false,
    title: "The headers are too large",
    remedy: "Send fewer or shorter headers",
  },
  request_timeout: {
    status: 408,
    fault: "caller",
    retryable: true,
    title: "The request arrived too slowly",
    remedy: "Send the whole request within `http.requestTime`",
  },
  at_capacity: {
    status: 429,
    fault: "load",
    retryable: true,
    title: "The replica carries as many turns as its memory can",
    remedy: "Come back after `Retry-After` seconds, or try another replica",
  },
  too_many_streams: {
    status: 429,
    fault: "caller",
    retryable: true,
    title: "This caller has too many turns open",
    remedy: "Let one of your turns end first; the limit is `http.streamsPerCaller`",
  },
  too_many_readers: {
    status: 429,
    fault: "caller",
    retryable: true,
    title: "It has too many readers",
    remedy:
      "Let one of its readers leave first; the limit of a turn is `journal.readers`, of the feed 16, " +
      "of the feeds of other replicas together 64, of requests for turns of other replicas 1,024, " +
      "and 256 of one caller",
  },
  too_many_logins: {
    status: 429,
    fault: "caller",
    retryable: true,
    title: "Too many keys were tried at the login",
    remedy: "Come back after `Retry-After` seconds, with a key that the server knows",
  },
  too_many_sessions: {
    status: 429,
    fault: "caller",
    retryable: false,
    title: "This tenant has too many sessions",
    remedy: "Delete sessions that are no longer needed; the limit is `sessions.maxPerTenant`",
  },
  draining: {
    status: 503,
    fault: "load",
    retryable: true,
    title: "The replica is shutting down",
    remedy: "Send the request again: another replica will take it",
  },
  too_many_bodies: {
    status: 503,
    fault: "load",
    retryable: true,
    title: "The replica receives as many bytes of bodies as it may",
    remedy: "Come back after `Retry-After` seconds; the limit is `http.bodiesSize`",
  },
  too_many_reads: {
    status: 503,
    fault: "load",
    retryable: true,
    title: "The replica reads as many transcripts as it may",
    remedy:
      "Come back after `Retry-After` seconds; the limits are `sessions.readsAtOnce` and " +
      "`sessions.readWait`",
  },
  not_ready: {
    status: 503,
    fault: "operator",
    retryable: true,
    title: "The replica cannot take turns yet",
    remedy: "See GET /readyz for the reason",
  },
  replica_not_found: {
    status: 404,
    fault: "caller",
    retryable: false,
    title: "No other replica has this name",
    remedy: "GET /v1/replicas lists those that `console.replicas` names",
  },
  replica_unavailable: {
    status: 502,
    fault: "upstream",
    retryable: true,
    title: "Another replica does not answer",
    remedy:
      "For a turn that it runs: send the request for it again with the same Idempotency-Key, or read " +
      "the session; see whether the replica runs, and compare `sessions.replicaAddress` or " +
      "`console.replicas` with its address, and `auth.keys` of both",
  },
  agent_start_failed: {
    status: 502,
    fault: "agent",
    retryable: true,
    title: "The agent process did not start",
    remedy: "See the server log of this turn for what the process wrote",
  },
  agent_crashed: {
    status: 502,
    fault: "agent",
    retryable: true,
    title: "The agent process ended before its turn did",
    remedy: "See the server log of this turn; the session can be continued",
  },
  agent_posture_mismatch: {
    status: 502,
    fault: "operator",
    retryable: false,
    title: "The agent process offers other tools than were declared",
    remedy: "Compare the tools in the server log with `tools` of the agent file",
  },
  mcp_server_unavailable: {
    status: 502,
    fault: "upstream",
    retryable: true,
    title: "An MCP server that the agent needs cannot be reached",
    remedy: "See the server log of this turn; `required: false` lets turns go on without it",
  },
  turn_out_of_memory: {
    status: 502,
    fault: "agent",
    retryable: false,
    title: "The turn was ended because memory ran out",
    remedy: "Ask for less in one turn; the session can be continued",
  },
  turn_timeout: {
    status: 504,
    fault: "agent",
    retryable: false,
    title: "The turn ran longer than it may",
    remedy: "Ask for less in one turn, or raise `limits.turnTime` of the agent",
  },
  turn_stalled: {
    status: 504,
    fault: "agent",
    retryable: true,
    title: "The agent was silent for too long",
    remedy: "Send the turn again, or raise `limits.stallTime` of the agent",
  },
  model_overloaded: {
    status: 503,
    fault: "upstream",
    retryable: true,
    title: "The model provider is overloaded",
    remedy: "Send the turn again later",
  },
  model_rate_limited: {
    status: 503,
    fault: "upstream",
    retryable: true,
    title: "The model provider refuses for its rate limit",
    remedy: "Send the turn again later, or raise the limit with the provider",
  },
  model_auth_failed: {
    status: 502,
    fault: "operator",
    retryable: false,
    title: "The model provider refused our credentials",
    remedy: "Set the credentials of `model.provider` in the environment of the server",
  },
  model_request_refused: {
    status: 502,
    fault: "operator",
    retryable: false,
    title: "The model provider refused the request",
    remedy: "Check `model.id` and what was sent; the server log has the provider's words",
  },
  model_unavailable: {
    status: 503,
    fault: "upstream",
    retryable: true,
    title: "The model provider did not answer properly",
    remedy: "Send the turn again later",
  },
  storage_full: {
    status: 507,
    fault: "operator",
    retryable: true,
    title: "The replica has no disk space left",
    remedy: "Free space under `data.directory`",
  },
  storage_failed: {
    status: 503,
    fault: "operator",
    retryable: true,
    title: "The replica cannot use its data directory",
    remedy: "Check that `data.directory` exists and can be written",
  },
  store_unavailable: {
    status: 503,
    fault: "operator",
    retryable: true,
    title: "The session store does not answer",
    remedy: "Send the request again later; check the store that `sessions.store` names",
  },
  store_unusable: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "The session store cannot be used",
    remedy: "Correct `sessions.store`, or what it names",
  },
  turn_output_too_large: {
    status: 502,
    fault: "agent",
    retryable: false,
    title: "The turn wrote more than can be held for its reader",
    remedy: "Read the stream faster, or ask for less in one turn; the limit is `journal.turnSize`",
  },
  config_invalid: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "The server file does not fit",
    remedy: "Correct what the diagnostics name; docs/server-file.md lists every setting",
  },
  agent_invalid: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "The agent file does not fit",
    remedy: "Correct what the diagnostics name; docs/agent-file.md lists every key",
  },
  profile_invalid: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "The profile does not fit",
    remedy: "Correct what the diagnostics name, or measure the agent again: `plimsoll measure`",
  },
  measure_failed: {
    status: 500,
    fault: "operator",
    retryable: true,
    title: "The agent could not be measured",
    remedy: "Mend what is named, and run `plimsoll measure` again: it goes on where it was",
  },
  limit_too_small: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "The memory limit is too small for one turn",
    remedy: "Give at least as much as is named",
  },
  claude_missing: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "Claude Code is not installed",
    remedy: "Install again, on this system and without `--omit=optional`",
  },
  cannot_listen: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "The address cannot be listened on",
    remedy: "Choose another `listen.port` or stop the process that has it",
  },
  data_directory_in_use: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "Another server uses this data directory",
    remedy: "Stop that server, or give this one its own `data.directory`",
  },
  usage: {
    status: 500,
    fault: "operator",
    retryable: false,
    title: "The command line does not fit",
    remedy: "See `plimsoll --help`",
  },
  internal: {
    status: 500,
    fault: "bug",
    retryable: false,
    title: "Something went wrong in the server",
    remedy: "Report it with the request id; the server log has the details",
  },
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

/** What may travel to the caller beside the message. Never a path, a prompt or a secret. */
export interface ErrorDetails {
  /** When to come back, in whole seconds; goes into `Retry-After` and the body. */
  readonly retryAfterSeconds?: number;
  /** Places in the request that do not fit; `pointer` is a JSON Pointer (RFC 6901). */
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
  /** Further members of the problem document. */
  readonly extensions?: Readonly<Record<string, unknown>>;
}

export interface AppErrorOptions extends ErrorDetails {
  readonly cause?: unknown;
}

/** What a caller is told: an {@link AppError}, or a plain value where refusals come in thousands. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

/**
 * A failure with a code of {@link ERRORS}. The message is for the caller to read: it says which
 * action failed, a colon, the present state, and what is needed.
 */
export class AppError extends Error implements Refusal {
  override readonly name = "AppError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    const { cause, ...details } = options;
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }

  get spec(): ErrorSpec {
    return ERRORS[this.code];
  }
}

/** Whether it is this failure. */
export function hasCode(thrown: unknown, code: ErrorCode): boolean {
  return thrown instanceof AppError && thrown.code === code;
}

/** The failure as it is, or `internal` for anything else: a bug's text never reaches a caller. */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  return new AppError("internal", "Cannot go on: an unexpected error occurred", { cause: thrown });
}
