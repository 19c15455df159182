import type { SDKAssistantMessageError, SDKResultMessage } from "@anthropic-ai/claude-agent-sdk";
import { describe, expect, it } from "vitest";

import type { AgentExit } from "../../src/agent-process/agent-process.ts";
import { outcomeOf, type StopCause, type TurnFacts } from "../../src/turn/outcome.ts";
import { USAGE } from "../protocol/turns.ts";

const EXIT: AgentExit = {
  code: 0,
  signal: null,
  step: "stdin_closed",
  outOfMemory: false,
  oomKillCounterRose: null,
  wasShortForAll: false,
  survivors: 0,
};
const CANCELLED: StopCause = { kind: "cancelled", cause: "client_gone" };
const STOPPED: StopCause = { kind: "failed", code: "turn_timeout", message: "Too long" };

function result(subtype: string, fields: object = {}): SDKResultMessage {
  const is_error = subtype !== "success";
  return { type: "result", subtype, is_error, num_turns: 1, ...fields } as SDKResultMessage;
}

const SUCCESS = result("success", { result: "Hi", stop_reason: "end_turn" });

function facts(known: Partial<TurnFacts>): TurnFacts {
  return {
    stopCause: null,
    result: null,
    modelError: null,
    exit: EXIT,
    hasStarted: true,
    needsStructuredOutput: false,
    text: "Hi",
    ...known,
  };
}

function judge(known: Partial<TurnFacts>): string {
  const outcome = outcomeOf(facts(known), USAGE);
  expect(outcome.usage).toBe(USAGE);
  switch (outcome.status) {
    case "completed":
      return `completed ${outcome.stopReason}`;
    case "limit_reached":
      return `limit ${outcome.limit}`;
    case "cancelled":
      return `cancelled ${outcome.cause}`;
    case "failed":
      return outcome.code;
  }
}

describe("outcomeOf", () => {
  it("hands over the answer of a turn that is done", () => {
    const given = { result: SUCCESS, needsStructuredOutput: false };
    expect(outcomeOf(facts(given), USAGE)).toEqual({
      status: "completed",
      usage: USAGE,
      stopReason: "end_turn",
      text: "Hi",
    });
    const structured = result("success", { result: "{}", structured_output: null });
    expect(
      outcomeOf(facts({ result: structured, needsStructuredOutput: true }), USAGE),
    ).toMatchObject({ status: "completed", structuredOutput: null, stopReason: "end_turn" });
  });

  it("does not take a success for one without the output that was asked for", () => {
    expect(judge({ result: SUCCESS, needsStructuredOutput: true })).toBe("model_unavailable");
  });

  it.each([
    ["error_max_turns", "limit steps"],
    ["error_max_budget_usd", "limit budget"],
    ["error_max_structured_output_retries", "model_unavailable"],
    ["error_during_execution", "agent_crashed"],
  ])("judges the result %s", (subtype, expected) => {
    expect(judge({ result: result(subtype) })).toBe(expected);
  });

  it("knows a result of a process that never began for a failed start", () => {
    const refused = { result: result("error_during_execution"), hasStarted: false };
    expect(judge(refused)).toBe("agent_start_failed");
  });

  it.each([
    ["authentication_failed", 401, "model_auth_failed"],
    ["authentication_failed", 403, "model_auth_failed"],
    ["billing_error", 400, "model_auth_failed"],
    ["invalid_request", 400, "model_request_refused"],
    ["unknown", 400, "model_request_refused"],
    ["unknown", 413, "model_request_refused"],
    ["model_not_found", 404, "model_request_refused"],
    ["rate_limit", 429, "model_rate_limited"],
    ["server_error", 500, "model_unavailable"],
    ["server_error", 529, "model_overloaded"],
    ["overloaded", null, "model_overloaded"],
    ["server_error", null, "model_unavailable"],
    ["unknown", null, "model_unavailable"],
    ["max_output_tokens", null, "model_request_refused"],
  ] as const)("takes the model's error %s (%s) for %s", (error, status, expected) => {
    const failed = result("success", { is_error: true, api_error_status: status });
    expect(judge({ result: failed, modelError: error })).toBe(expected);
    if (status === null) {
      expect(judge({ result: result("error_during_execution"), modelError: error })).toBe(expected);
    }
  });

  it("says in words that the model declined", () => {
    const declined = result("success", { is_error: true, stop_reason: "refusal" });
    expect(judge({ result: declined, modelError: "invalid_request" })).toBe(
      "model_request_refused",
    );
  });

  it("tells a death for want of memory from any other", () => {
    const killed = { ...EXIT, code: null, signal: "SIGKILL", step: "exited" as const };
    expect(judge({ exit: { ...killed, outOfMemory: true } })).toBe("turn_out_of_memory");
    expect(judge({ exit: killed })).toBe("agent_crashed");
    expect(judge({ exit: killed, hasStarted: false })).toBe("agent_start_failed");
    expect(judge({ exit: null, hasStarted: false })).toBe("agent_start_failed");
  });

  /** Every combination of what can be known: the first cause is the outcome. */
  it("keeps to the first cause, whatever else is known", () => {
    const results = [null, SUCCESS, result("error_max_turns"), result("error_during_execution")];
    const errors: (SDKAssistantMessageError | null)[] = [null, "overloaded"];
    const exits = [null, EXIT, { ...EXIT, outOfMemory: true, signal: "SIGKILL" }];
    let count = 0;
    for (const one of results) {
      for (const modelError of errors) {
        for (const exit of exits) {
          for (const hasStarted of [true, false]) {
            const known = { result: one, modelError, exit, hasStarted };
            expect(judge({ ...known, stopCause: STOPPED })).toBe("turn_timeout");
            const cancelled = one === SUCCESS ? "completed end_turn" : "cancelled client_gone";
            expect(judge({ ...known, stopCause: CANCELLED })).toBe(cancelled);
            if (one === SUCCESS) expect(judge(known)).toBe("completed end_turn");
            else expect(judge(known)).not.toMatch(/^completed|^cancelled/);
            count += 1;
          }
        }
      }
    }
    expect(count).toBe(48);
  });
});
