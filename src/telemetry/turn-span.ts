/**
 * One span for a turn, a child of the caller's where there is one. Claude Code makes the spans below
 * it by itself, given the `traceparent`: see `agent-environment.ts`. The ids are there even when
 * nothing is exported, so that the log of a turn can always be found by the caller's trace.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Tracer,
} from "@opentelemetry/api";
import { parseTraceParent, TraceState } from "@opentelemetry/core";
import { promptTokens } from "../lib/tokens.ts";
import type { TurnOutcome, TurnUsage } from "../turn/turn.ts";
import { ATTRIBUTES, SPAN_ATTRIBUTES } from "./names.ts";
import { type Provider, PROVIDER_NAMES } from "./values.ts";

export interface StartedTurn {
  readonly agentName: string;
  readonly provider: Provider;
  /** The model as the agent file names it. */
  readonly model: string;
  readonly sessionId: string;
  /** W3C trace context of the request; one that does not fit is taken as none. */
  readonly traceparent?: string;
  readonly tracestate?: string;
}

export interface TurnSpan {
  readonly agentName: string;
  /** 32 lower-case hex digits: the caller's, or random. */
  readonly traceId: string;
  /** 16 lower-case hex digits. */
  readonly spanId: string;
  /** For whoever works on behalf of the turn. */
  readonly traceparent: string;
  readonly tracestate?: string;
  end(outcome: TurnOutcome): void;
}

/** Starts the span of a turn; without a tracer it is only ids. */
export function startTurnSpan(turn: StartedTurn, tracer: Tracer | null): TurnSpan {
  const caller = callerContext(turn);
  const span =
    tracer === null
      ? unrecordedSpan(caller)
      : tracer.startSpan(
          `invoke_agent ${turn.agentName}`,
          { attributes: startFacts(turn) },
          caller,
        );
  const { traceId, spanId, traceFlags, traceState } = span.spanContext();
  const tracestate = traceState?.serialize();
  return {
    agentName: turn.agentName,
    traceId,
    spanId,
    traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`,
    ...(tracestate !== undefined && tracestate !== "" && { tracestate }),
    end: (outcome) => endSpan(span, outcome),
  };
}

function callerContext({ traceparent, tracestate }: StartedTurn): Context {
  const parent = traceparent === undefined ? null : parseTraceParent(traceparent);
  if (parent === null) return ROOT_CONTEXT;
  const traceState = new TraceState(tracestate);
  return trace.setSpanContext(ROOT_CONTEXT, { ...parent, traceState, isRemote: true });
}

function unrecordedSpan(caller: Context): Span {
  const parent = trace.getSpanContext(caller);
  return trace.wrapSpanContext({
    traceId: randomBytes(16).toString("hex"),
    traceFlags: TraceFlags.NONE,
    ...parent,
    spanId: randomBytes(8).toString("hex"),
  });
}

function startFacts({ agentName, provider, model, sessionId }: StartedTurn): Attributes {
  return {
    [ATTRIBUTES.operation.name]: "invoke_agent",
    [ATTRIBUTES.provider.name]: PROVIDER_NAMES[provider],
    [ATTRIBUTES.agentName.name]: agentName,
    [ATTRIBUTES.requestModel.name]: model,
    [SPAN_ATTRIBUTES.conversationId]: sessionId,
  };
}

function endSpan(span: Span, outcome: TurnOutcome): void {
  span.setAttributes({ ...usageFacts(outcome.usage), ...outcomeFacts(outcome) });
  if (outcome.status === "failed") {
    span.setStatus({ code: SpanStatusCode.ERROR, message: outcome.message });
  }
  span.end();
}

function usageFacts(usage: TurnUsage): Attributes {
  return {
    [SPAN_ATTRIBUTES.inputTokens]: promptTokens(usage),
    [SPAN_ATTRIBUTES.outputTokens]: usage.outputTokens,
    [SPAN_ATTRIBUTES.cacheReadTokens]: usage.cacheReadTokens,
    [SPAN_ATTRIBUTES.cacheWriteTokens]: usage.cacheWriteTokens,
    [SPAN_ATTRIBUTES.costUsd]: usage.costUsd,
    [SPAN_ATTRIBUTES.steps]: usage.steps,
    ...(usage.firstTokenMs !== null && { [SPAN_ATTRIBUTES.firstTokenMs]: usage.firstTokenMs }),
  };
}

function outcomeFacts(outcome: TurnOutcome): Attributes {
  const facts: Attributes = { [ATTRIBUTES.outcome.name]: outcome.status };
  switch (outcome.status) {
    case "completed":
      facts[SPAN_ATTRIBUTES.finishReasons] = [outcome.stopReason];
      break;
    case "limit_reached":
      facts[SPAN_ATTRIBUTES.limit] = outcome.limit;
      break;
    case "cancelled":
      facts[SPAN_ATTRIBUTES.cancelCause] = outcome.cause;
      break;
    case "failed":
      facts[ATTRIBUTES.errorType.name] = outcome.code;
      break;
  }
  return facts;
}
