/**
 * Sends spans and metrics to a collector by OTLP over HTTP. Only `start.ts` loads this file, and
 * only when a collector is configured: a server without one pays nothing for it.
 *
 * @module
 */

import { diag, type DiagLogger, DiagLogLevel, type Tracer } from "@opentelemetry/api";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import type { Resource } from "@opentelemetry/resources";
import { type IMetricReader, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import type { Logger } from "./log.ts";

/** Spans held for a collector that does not answer; beyond that, spans are dropped. */
const MAX_QUEUED_SPANS = 2_048;
const SPAN_INTERVAL_MS = 2_000;
const METRIC_INTERVAL_MS = 15_000;
const EXPORT_TIMEOUT_MS = 5_000;

export interface OtlpDeps {
  /** Base URL of the collector; `/v1/traces` and `/v1/metrics` are appended. */
  readonly endpoint: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly resource: Resource;
  readonly log: Logger;
}

export interface Otlp {
  readonly tracer: Tracer;
  /** To be given to the metrics, which shut it down with themselves. */
  readonly metricReader: IMetricReader;
  /** Sends the last spans and stops. */
  shutdown(): Promise<void>;
}

/** Starts to export. A collector that is away is a line in the log and never an error here. */
export function startOtlp({ endpoint, headers, resource, log }: OtlpDeps): Otlp {
  const exporterOf = (signal: string) => ({
    url: `${endpoint.replace(/\/+$/, "")}/v1/${signal}`,
    headers: { ...headers },
    timeoutMillis: EXPORT_TIMEOUT_MS,
  });
  diag.setLogger(diagnosticsTo(log), DiagLogLevel.WARN);
  const provider = new BasicTracerProvider({
    resource,
    spanProcessors: [
      new BatchSpanProcessor(new OTLPTraceExporter(exporterOf("traces")), {
        maxQueueSize: MAX_QUEUED_SPANS,
        scheduledDelayMillis: SPAN_INTERVAL_MS,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      }),
    ],
  });
  return {
    tracer: provider.getTracer("plimsoll"),
    metricReader: new PeriodicExportingMetricReader({
      exporter: new OTLPMetricExporter(exporterOf("metrics")),
      exportIntervalMillis: METRIC_INTERVAL_MS,
      exportTimeoutMillis: EXPORT_TIMEOUT_MS,
    }),
    async shutdown() {
      await provider.shutdown();
      diag.disable();
    },
  };
}

/** Troubles of the export are warnings at most: no turn suffers from them. */
function diagnosticsTo(log: Logger): DiagLogger {
  const warn = (message: string) => log.warn({ diagnostic: message }, "Trouble with telemetry");
  const debug = (message: string) => log.debug({ diagnostic: message }, "From telemetry");
  return { error: warn, warn, info: debug, debug, verbose: debug };
}
