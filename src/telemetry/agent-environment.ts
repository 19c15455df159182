/**
 * The part of an agent process's environment that makes its own telemetry join ours: Claude Code
 * reads the trace context and the collector's address from it. Pure.
 *
 * @module
 */

import type { Config } from "../config/config.ts";

/**
 * An agent process lives for one turn, so nothing may wait for an interval: Claude Code's own are
 * 5 s for spans and log records.
 */
const EXPORT_INTERVAL_MS = 500;
/**
 * How long the process may stay to send its last batch. The turn's permit waits for it, so that a
 * collector that does not answer costs capacity: hence short.
 */
const LAST_EXPORT_MS = 1_000;

/** An agent process, and the turn whose spans its own join. */
export interface TracedAgent {
  readonly agentName: string;
  /** Without one, its spans are traces of their own. */
  readonly traceparent?: string;
  readonly tracestate?: string;
}

/**
 * The variables for an agent process. They cannot change while it lives: what it does in a later
 * turn still joins the turn it was started for, and one that was started ahead was started for none.
 * Without a collector only the trace context, which is harmless. With one, spans and log records but
 * no metrics: the server has counted the turn already, and a counter that starts anew in every
 * process is of no use to a dashboard. Prompts and tool inputs stay out, as Claude Code leaves them
 * out unless told otherwise.
 *
 * The headers of the export are a secret, and what the agent process can read, its tools may find:
 * where tools are not trusted, send to a collector on the same host that adds the headers.
 */
export function agentTelemetryEnvironment(
  config: Pick<Config["telemetry"], "otlpEndpoint" | "otlpHeaders">,
  agent: TracedAgent,
): Record<string, string> {
  const context = {
    ...(agent.traceparent !== undefined && { TRACEPARENT: agent.traceparent }),
    ...(agent.tracestate !== undefined && { TRACESTATE: agent.tracestate }),
  };
  if (config.otlpEndpoint === null) return context;
  const headers = pairs(config.otlpHeaders);
  return {
    ...context,
    CLAUDE_CODE_ENABLE_TELEMETRY: "1",
    // Spans are behind this switch; Claude Code calls them a beta.
    CLAUDE_CODE_ENHANCED_TELEMETRY_BETA: "1",
    OTEL_TRACES_EXPORTER: "otlp",
    OTEL_LOGS_EXPORTER: "otlp",
    OTEL_METRICS_EXPORTER: "none",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
    OTEL_EXPORTER_OTLP_ENDPOINT: config.otlpEndpoint,
    ...(headers !== "" && { OTEL_EXPORTER_OTLP_HEADERS: headers }),
    OTEL_RESOURCE_ATTRIBUTES: pairs({ "gen_ai.agent.name": agent.agentName }),
    OTEL_TRACES_EXPORT_INTERVAL: String(EXPORT_INTERVAL_MS),
    OTEL_LOGS_EXPORT_INTERVAL: String(EXPORT_INTERVAL_MS),
    OTEL_EXPORTER_OTLP_TIMEOUT: String(LAST_EXPORT_MS),
    CLAUDE_CODE_OTEL_FLUSH_TIMEOUT_MS: String(LAST_EXPORT_MS),
    CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS: String(LAST_EXPORT_MS),
  };
}

/**
 * `key=value` pairs in one variable. OpenTelemetry would have values percent-encoded, but Claude Code
 * sends headers as they stand here; a value with a comma cannot be told.
 */
function pairs(of: Readonly<Record<string, string>>): string {
  return Object.entries(of)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}
