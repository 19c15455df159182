/**
 * What the outside sees of a turn: its span, its metrics and its lines in the log.
 *
 * @module
 */

import type { AgentDefinition } from "../agent/definition.ts";
import { openTurnLog, type Logger } from "../telemetry/log.ts";
import type { ProcessSource } from "../telemetry/values.ts";
import type { Telemetry } from "../telemetry/start.ts";
import type { AgentRunEnd } from "./agent-turn.ts";
import type { TurnRequest } from "./turn.ts";

export interface ObservedTurn {
  readonly log: Logger;
  /** For the agent process, so that its own spans join the turn's. */
  readonly environment: Readonly<Record<string, string>>;
  /** Once nothing of the turn is left. */
  ended(end: ObservedEnd): void;
}

/** How a turn ended, and what was predicted of it. */
export interface ObservedEnd extends AgentRunEnd {
  readonly predictedBytes: number;
  readonly processSource: ProcessSource;
}

export function observeTurn(
  telemetry: Telemetry,
  request: TurnRequest,
  agent: AgentDefinition,
  sessionId: string,
): ObservedTurn {
  const { turnId, agentName, traceparent, tracestate } = request;
  const { provider, id: model } = agent.model;
  const span = telemetry.startTurnSpan({
    agentName,
    provider,
    model,
    sessionId,
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
  });
  const ids = { turnId, traceId: span.traceId, sessionId, agent: agentName };
  const log = openTurnLog(telemetry.log, ids);
  telemetry.metrics.turnAdmitted(agentName);
  log.info({ tenant: request.caller.tenant, caller: request.caller.id }, "Turn started");
  return {
    log,
    environment: telemetry.agentEnvironment(span),
    ended(end) {
      const { outcome, startMs, peakBytes: peakMemoryBytes, predictedBytes } = end;
      telemetry.metrics.agentProcessTaken(agentName, end.processSource);
      if (startMs !== null) telemetry.metrics.agentProcessStarted(agentName, startMs);
      const memory = { peakMemoryBytes, predictedBytes };
      telemetry.metrics.turnEnded({ agentName, provider, model, outcome, ...memory });
      telemetry.metrics.toolsKilledByKernel(end.toolOomKills);
      span.end(outcome);
      logEnd(log, end);
    },
  };
}

function logEnd(log: Logger, end: ObservedEnd): void {
  const { outcome, startMs, peakBytes, predictedBytes, exit, diagnosis } = end;
  const { usage } = outcome;
  const { absentServers } = diagnosis;
  const { toolOomKills: killed } = end;
  if (killed > 0) log.warn({ killed }, "The kernel has killed tools of the turn for memory");
  if (absentServers.length > 0) log.warn({ absentServers }, "MCP servers were not to be reached");
  const fields = {
    outcome: outcome.status,
    durationMs: usage.durationMs,
    firstTokenMs: usage.firstTokenMs,
    startMs: startMs === null ? null : Math.round(startMs),
    inputTokens: usage.inputTokens,
    outputTokens: usage.outputTokens,
    costUsd: usage.costUsd,
    steps: usage.steps,
    peakBytes,
    predictedBytes,
    process: end.processSource,
  };
  switch (outcome.status) {
    case "completed":
      log.info(fields, "Turn completed");
      return;
    case "limit_reached":
      log.warn({ ...fields, limit: outcome.limit }, "Turn reached a limit");
      return;
    case "cancelled":
      log.info({ ...fields, cause: outcome.cause }, "Turn cancelled");
      return;
    case "failed": {
      const { thrown: err, stderrTail, posture, providerAnswer } = diagnosis;
      const why = { code: outcome.code, exit, stderrTail, posture, providerAnswer, err };
      log.error({ ...fields, ...why }, "Turn failed");
    }
  }
}
