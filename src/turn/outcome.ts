/**
 * How a turn ended, judged from the facts. Pure: everything that happened is collected first, and
 * the first cause wins (a process that we ended because the client left did not crash).
 *
 * @module
 */

import type { SDKAssistantMessageError, SDKResultMessage } from "@anthropic-ai/claude-agent-sdk";
import type { AgentExit } from "../agent-process/agent-process.ts";
import { endText } from "../capacity/guard-words.ts";
import type { ErrorCode } from "../lib/errors.ts";
import type { CancelCause, TurnOutcome, TurnUsage } from "./turn.ts";

/** Why we ended the agent process before its turn was done; the first one is kept. */
export type StopCause =
  | { readonly kind: "cancelled"; readonly cause: CancelCause }
  | { readonly kind: "failed"; readonly code: ErrorCode; readonly message: string };

/** What is known of an agent process and its turn once the process is gone. */
export interface TurnFacts {
  readonly stopCause: StopCause | null;
  readonly result: SDKResultMessage | null;
  /** The last error that the model provider's answer was turned into, if any. */
  readonly modelError: SDKAssistantMessageError | null;
  /** null if no process was ever made. */
  readonly exit: AgentExit | null;
  /** Whether the process said that it is initialised. */
  readonly hasStarted: boolean;
  /** Whether the agent file asks for structured output. */
  readonly needsStructuredOutput: boolean;
  /** What the last message said; the SDK's result has but its last block. */
  readonly text: string;
}

export function outcomeOf(facts: TurnFacts, usage: TurnUsage): TurnOutcome {
  const { stopCause, result } = facts;
  if (stopCause?.kind === "failed") return failed(stopCause.code, stopCause.message, usage);
  // Done is done: a client that leaves while the answer's last bytes are under way changes nothing.
  if (result?.subtype === "success" && !result.is_error) {
    // A success may come without the output that was asked for: both have to be looked at.
    if (facts.needsStructuredOutput && result.structured_output === undefined) {
      return failed("model_unavailable", NO_STRUCTURED_OUTPUT, usage);
    }
    return completed(result, facts.text, usage);
  }
  if (stopCause?.kind === "cancelled") {
    return { status: "cancelled", cause: stopCause.cause, usage };
  }
  if (result !== null) return unsuccessful(result, facts, usage);
  return died(facts, usage);
}

const NO_STRUCTURED_OUTPUT =
  "Cannot finish the turn: the model gave no output that fits the schema";

function completed(
  result: Extract<SDKResultMessage, { subtype: "success" }>,
  text: string,
  usage: TurnUsage,
): TurnOutcome {
  const { structured_output: structuredOutput, stop_reason } = result;
  return {
    status: "completed",
    usage,
    stopReason: stop_reason ?? "end_turn",
    text,
    ...(structuredOutput !== undefined && { structuredOutput }),
  };
}

function unsuccessful(result: SDKResultMessage, facts: TurnFacts, usage: TurnUsage): TurnOutcome {
  switch (result.subtype) {
    case "error_max_turns":
      return { status: "limit_reached", limit: "steps", usage };
    case "error_max_budget_usd":
      return { status: "limit_reached", limit: "budget", usage };
    case "error_max_structured_output_retries":
      return failed("model_unavailable", NO_STRUCTURED_OUTPUT, usage);
    case "success":
      return modelFailed(result, facts.modelError, usage);
    case "error_during_execution":
      return facts.modelError === null
        ? died(facts, usage)
        : modelFailed(result, facts.modelError, usage);
  }
}

function modelFailed(
  result: SDKResultMessage,
  error: SDKAssistantMessageError | null,
  usage: TurnUsage,
): TurnOutcome {
  if (result.stop_reason === "refusal") {
    const message = "Cannot finish the turn: the model declined to answer";
    return failed("model_request_refused", message, usage);
  }
  if (error === "max_output_tokens") {
    const message = "Cannot finish the turn: the answer is longer than the model can write";
    return failed("model_request_refused", message, usage);
  }
  const status = result.subtype === "success" ? (result.api_error_status ?? null) : null;
  const answered = status === null ? "" : ` (HTTP ${status})`;
  const code = codeOf(error ?? "unknown", status);
  return failed(code, `Cannot finish the turn: the model provider refused${answered}`, usage);
}

function codeOf(error: SDKAssistantMessageError, status: number | null): ErrorCode {
  // The SDK has no word for most requests the provider does not take, and calls an overloaded
  // provider a broken one.
  if (error === "unknown" && status !== null && status < 500) return "model_request_refused";
  if (error === "server_error" && status === 529) return "model_overloaded";
  return MODEL_ERRORS[error];
}

const MODEL_ERRORS: Readonly<Record<SDKAssistantMessageError, ErrorCode>> = {
  authentication_failed: "model_auth_failed",
  oauth_org_not_allowed: "model_auth_failed",
  account_on_hold: "model_auth_failed",
  verification_required: "model_auth_failed",
  cloud_credential_error: "model_auth_failed",
  billing_error: "model_auth_failed",
  rate_limit: "model_rate_limited",
  overloaded: "model_overloaded",
  invalid_request: "model_request_refused",
  model_not_found: "model_request_refused",
  max_output_tokens: "model_request_refused",
  server_error: "model_unavailable",
  unknown: "model_unavailable",
};

/** The process ended without a result. */
function died(facts: TurnFacts, usage: TurnUsage): TurnOutcome {
  const { exit, hasStarted } = facts;
  if (exit?.outOfMemory === true) {
    const verdict = exit.guardVerdict;
    const message =
      verdict === undefined
        ? "Cannot finish the turn: its process was killed, as happens for want of memory"
        : `Cannot finish the turn: ${endText(verdict)}`;
    return failed("turn_out_of_memory", message, usage);
  }
  if (!hasStarted) {
    const message = "Cannot start the turn: the agent process ended before it was ready";
    return failed("agent_start_failed", message, usage);
  }
  return failed(
    "agent_crashed",
    "Cannot finish the turn: the agent process ended unexpectedly",
    usage,
  );
}

function failed(code: ErrorCode, message: string, usage: TurnUsage): TurnOutcome {
  return { status: "failed", code, message, usage };
}
