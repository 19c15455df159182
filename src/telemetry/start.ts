/**
 * Starts the telemetry of a server: its log, its metrics and the spans of its turns. What sends to
 * a collector is loaded only when there is one.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import type { Config } from "../config/config.ts";
import { agentTelemetryEnvironment, type TracedAgent } from "./agent-environment.ts";
import { type LogDestination, type Logger, openLog } from "./log.ts";
import { type CapacityNumbers, Metrics } from "./metrics.ts";
import type { Otlp } from "./otlp.ts";
import { type StartedTurn, startTurnSpan, type TurnSpan } from "./turn-span.ts";

/** What the last export may take at shutdown; what has not been sent by then is lost. */
const LAST_EXPORT_MS = 2_000;

export interface Telemetry extends AsyncDisposable {
  readonly log: Logger;
  readonly metrics: Metrics;
  startTurnSpan(turn: StartedTurn): TurnSpan;
  /** Variables for an agent process, so that its own spans join those of a turn. */
  agentEnvironment(agent: TracedAgent): Record<string, string>;
}

export interface TelemetryDeps {
  /** Asked once each time the metrics are read. */
  readonly capacityNumbers: () => CapacityNumbers;
  /** The standard output without it. */
  readonly logDestination?: LogDestination;
}

/**
 * Starts telemetry. Disposing of it sends what is left, within two seconds; the log can still be
 * written to afterwards, as the process ends.
 */
export async function startTelemetry(
  config: Config["telemetry"],
  { capacityNumbers, logDestination }: TelemetryDeps,
): Promise<Telemetry> {
  const log = openLog({
    level: config.logLevel,
    ...(logDestination !== undefined && { destination: logDestination }),
  });
  const resource = resourceFromAttributes({
    "service.name": "plimsoll",
    // Without it the counters of two replicas would overwrite each other at the collector.
    "service.instance.id": randomUUID(),
  });
  const otlp = await startExport(config, { resource, log });
  const metrics = new Metrics({
    capacityNumbers,
    resource,
    readers: otlp === null ? [] : [otlp.metricReader],
    onReadError: (err) => log.error({ err }, "Cannot read a metric"),
  });

  return {
    log,
    metrics,
    startTurnSpan: (turn) => startTurnSpan(turn, otlp?.tracer ?? null),
    agentEnvironment: (agent) => agentTelemetryEnvironment(config, agent),
    async [Symbol.asyncDispose]() {
      try {
        await endsWithin(Promise.all([metrics.shutdown(), otlp?.shutdown()]), LAST_EXPORT_MS);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        log.warn({ reason }, "Cannot send the last telemetry");
      }
    },
  };
}

async function startExport(
  { otlpEndpoint, otlpHeaders }: Config["telemetry"],
  deps: { readonly resource: Resource; readonly log: Logger },
): Promise<Otlp | null> {
  if (otlpEndpoint === null) return null;
  const { startOtlp } = await import("./otlp.ts");
  return startOtlp({ endpoint: otlpEndpoint, headers: otlpHeaders, ...deps });
}

/** @throws What the work throws, or an error of its own when the time is over first. */
async function endsWithin(work: Promise<unknown>, timeMs: number): Promise<void> {
  const done = new AbortController();
  const tooLate = delay(timeMs, undefined, { signal: done.signal }).then(() => {
    throw new Error(`the collector did not answer within ${timeMs} ms`);
  });
  try {
    await Promise.race([work, tooLate]);
  } finally {
    done.abort();
  }
}
