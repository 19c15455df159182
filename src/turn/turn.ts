/**
 * The words of a turn. Every protocol decodes to a {@link TurnRequest} and encodes
 * {@link TurnEvent}s; nothing else crosses that border. Imports nothing but error codes.
 *
 * @module
 */

import type { ErrorCode } from "../lib/errors.ts";

/** Who asks: an authenticated key, or `anonymous` where authentication is off. */
export interface Caller {
  /** The key's id; `anonymous` without authentication. */
  readonly id: string;
  /** Sessions belong to a tenant; those of another tenant do not exist for this caller. */
  readonly tenant: string;
  readonly role: "caller" | "operator";
  /** Whether its turns may use the memory reserved for priority. */
  readonly priority: "normal" | "high";
}

/** One part of what the user says. */
export type InputPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image"; readonly mediaType: string; readonly base64: string }
  | { readonly type: "document"; readonly mediaType: string; readonly base64: string };

/**
 * Which conversation the turn belongs to. A thread id is the client's own name for it, and starts
 * the session if there is none yet; a session id is ours, and must exist.
 */
export type SessionTarget =
  | {
      readonly by: "thread";
      readonly threadId: string;
      /** The client shows that it had a conversation before: an unknown session is then an error. */
      readonly expectsHistory: boolean;
    }
  | { readonly by: "session"; readonly sessionId: string };

/**
 * The client's own name for a request, so that the same one never runs twice. Both are SHA-256 in
 * hex: what a client chose stands in no file as it is.
 */
export interface TurnKey {
  readonly hash: string;
  /** Of what was asked: another request under the same name is refused. */
  readonly inputHash: string;
}

export interface TurnRequest {
  /** UUID, made by the server. */
  readonly turnId: string;
  readonly agentName: string;
  readonly caller: Caller;
  readonly session: SessionTarget;
  /** One part or more. */
  readonly input: readonly InputPart[];
  readonly key?: TurnKey;
  /** Runs to its end without a reader; else its agent says what becomes of a turn nobody reads. */
  readonly outlivesReaders?: boolean;
  /** W3C trace context of the request, when it had one. */
  readonly traceparent?: string;
  readonly tracestate?: string;
}

/**
 * What happens during a turn, in order: `turn_started` first, exactly one `turn_ended` last.
 *
 * Between them the started/ended pairs of one id never nest in themselves, and every text,
 * reasoning and tool call that was started is ended before `turn_ended`, also when the turn fails.
 * Ids are the model provider's where it has some, so that they are the same in the transcript.
 */
export type TurnEvent =
  | {
      readonly type: "turn_started";
      readonly turnId: string;
      readonly sessionId: string;
      readonly threadId: string;
      readonly agentName: string;
    }
  | { readonly type: "text_started"; readonly messageId: string }
  | { readonly type: "text_delta"; readonly messageId: string; readonly delta: string }
  | { readonly type: "text_ended"; readonly messageId: string }
  | { readonly type: "reasoning_started"; readonly messageId: string }
  | { readonly type: "reasoning_delta"; readonly messageId: string; readonly delta: string }
  | { readonly type: "reasoning_ended"; readonly messageId: string }
  | {
      readonly type: "tool_call_started";
      readonly toolCallId: string;
      /** As the agent file names it, without the `mcp__server__` prefix. */
      readonly toolName: string;
      /** The MCP server the tool belongs to; absent for built-in tools. */
      readonly serverName?: string;
      /** The message that makes the call. */
      readonly messageId: string;
    }
  /** A piece of the JSON text of the call's input; the pieces joined are the whole. */
  | { readonly type: "tool_call_input_delta"; readonly toolCallId: string; readonly delta: string }
  | { readonly type: "tool_call_ended"; readonly toolCallId: string }
  | {
      readonly type: "tool_result";
      readonly toolCallId: string;
      readonly content: string;
      readonly isError: boolean;
    }
  /** Something worth showing that is not content, e.g. that the model is asked again. */
  | {
      readonly type: "notice";
      readonly name: "model_retry" | "compacted" | "permission_denied" | "transcript_shortened";
      readonly data: Readonly<Record<string, string | number | boolean | null>>;
    }
  | { readonly type: "turn_ended"; readonly outcome: TurnOutcome };

/** How a turn ended. Running out of steps or budget is an outcome, not an error. */
export type TurnOutcome =
  | {
      readonly status: "completed";
      readonly usage: TurnUsage;
      /** The model's own word, e.g. `end_turn`, `max_tokens`, `refusal`. */
      readonly stopReason: string;
      /** The text of the last message. */
      readonly text: string;
      /** Present when the agent file asks for structured output: a value that fits its schema. */
      readonly structuredOutput?: unknown;
    }
  | {
      readonly status: "limit_reached";
      readonly usage: TurnUsage;
      readonly limit: "steps" | "budget";
    }
  | {
      readonly status: "cancelled";
      readonly usage: TurnUsage;
      /** Who ended it: the client left, someone cancelled it, or the server shut down. */
      readonly cause: CancelCause;
    }
  | {
      readonly status: "failed";
      readonly usage: TurnUsage;
      readonly code: ErrorCode;
      /** Safe to show to the caller. */
      readonly message: string;
    };

export type CancelCause = "client_gone" | "cancel_requested" | "draining";

/** What this turn alone used, not the session's running totals. */
export interface TurnUsage {
  /** Tokens of the prompt that were neither read from nor written to the cache. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
  readonly costUsd: number;
  /** Model calls of the main loop. */
  readonly steps: number;
  /** From the admission to the end of the process tree. */
  readonly durationMs: number;
  /** From the admission to the first text, reasoning or tool call; null if there was none. */
  readonly firstTokenMs: number | null;
  readonly byModel: readonly ModelUsage[];
}

export interface ModelUsage {
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
  readonly costUsd: number;
}
