/**
 * What operators and their probes ask: is it alive, would it take a turn, how full is it.
 *
 * @module
 */

import { z } from "zod";
import type { Config } from "../../config/config.ts";
import { PROMETHEUS_CONTENT_TYPE } from "../../telemetry/metrics.ts";
import type { Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";

const healthSchema = z.object({ status: z.string(), reason: z.string().optional() });

export function operationRoutes(parts: ServerParts): Route[] {
  const { config, gate, readiness, telemetry } = parts;
  return [
    {
      method: "GET",
      path: "/livez",
      access: "public",
      docs: {
        operationId: "livez",
        summary: "Whether the process works; it says nothing about load",
        answers: [{ status: 200, description: "It does", content: json(healthSchema) }],
        errors: [],
      },
      handle: () => ({ status: "alive" }),
    },
    {
      method: "GET",
      path: "/readyz",
      access: "public",
      docs: {
        operationId: "readyz",
        summary: "Whether turns should be sent here",
        answers: [
          { status: 200, description: "They should", content: json(healthSchema) },
          { status: 503, description: "Not now; `reason` says why", content: json(healthSchema) },
        ],
        errors: [],
      },
      handle({ reply }) {
        const { state, reason } = readiness;
        if (state !== "ready") return reply.status(503).send({ status: state, reason });
        const shed = config.capacity.unreadyWhenFull ? gate.peek(Date.now()) : null;
        if (shed !== null) return reply.status(503).send({ status: "full", reason: shed.text });
        return { status: "ready" };
      },
    },
    {
      method: "GET",
      path: "/capacity",
      access: "operator",
      docs: {
        operationId: "capacity",
        summary: "The load line: limit, used, committed, headroom, turns in flight, and why",
        answers: [
          { status: 200, description: "The numbers now", content: json(z.looseObject({})) },
        ],
        errors: ["unauthorized", "forbidden"],
      },
      handle: () => parts.capacity(),
    },
    {
      method: "GET",
      path: "/metrics",
      access: metricsAccess(config),
      docs: {
        operationId: "metrics",
        summary: "Metrics in the text format of Prometheus",
        answers: [{ status: 200, description: "All metrics", content: { "text/plain": null } }],
        errors: ["unauthorized", "forbidden"],
      },
      async handle({ reply }) {
        const text = await telemetry.metrics.renderPrometheus();
        return reply.type(PROMETHEUS_CONTENT_TYPE).send(text);
      },
    },
  ];
}

function metricsAccess({ telemetry }: Config): "public" | "operator" {
  return telemetry.publicMetrics ? "public" : "operator";
}

function json(schema: z.ZodType): { "application/json": z.ZodType } {
  return { "application/json": schema };
}
