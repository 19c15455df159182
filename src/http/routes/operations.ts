/**
 * What operators and their probes ask: is it alive, would it take a turn, how full is it.
 *
 * @module
 */

import { z } from "zod";
import { monotonicMs } from "../../lib/monotonic-clock.ts";
import { capacitySchema } from "../../protocol/capacity.ts";
import { PROMETHEUS_CONTENT_TYPE } from "../../telemetry/metrics.ts";
import { jsonAnswer, type Route } from "../route.ts";
import type { CapacityView, ServerParts } from "../server-parts.ts";

const livezSchema = z.object({ status: z.literal("alive") });

const readyzSchema = z.object({
  status: z.enum(["ready", "starting", "draining", "broken", "bound", "full"]),
  reason: z.string().optional().describe("Why not, in words."),
});

export function operationRoutes(parts: ServerParts): Route[] {
  return [livez(), readyz(parts), capacity(parts), metrics(parts)];
}

function livez(): Route {
  return {
    method: "GET",
    path: "/livez",
    access: "public",
    docs: {
      operationId: "livez",
      summary: "Whether the process works; it says nothing about load",
      answers: [jsonAnswer("It does", livezSchema)],
      errors: [],
    },
    handle: () => ({ status: "alive" }),
  };
}

function readyz({ config, gate, readiness, isBound }: ServerParts): Route {
  return {
    method: "GET",
    path: "/readyz",
    access: "public",
    docs: {
      operationId: "readyz",
      summary: "Whether turns should be sent here",
      answers: [
        jsonAnswer("They should", readyzSchema),
        jsonAnswer("Not now; `reason` says why", readyzSchema, 503),
      ],
      errors: [],
    },
    handle({ reply }) {
      const { state, reason } = readiness;
      if (state !== "ready") return reply.status(503).send({ status: state, reason });
      if (isBound()) return reply.status(503).send({ status: "bound", reason: BOUND });
      const shed = config.capacity.unreadyWhenFull ? gate.peek(monotonicMs()) : null;
      if (shed !== null) return reply.status(503).send({ status: "full", reason: shed.text });
      return { status: "ready" };
    },
  };
}

/** Turns of other sessions should not be sent here; those of its own know where to go. */
const BOUND = "this replica serves one session, which has come; its turns are taken";

function capacity(parts: ServerParts): Route {
  return {
    method: "GET",
    path: "/capacity",
    access: "operator",
    docs: {
      operationId: "capacity",
      summary: "The load line: limit, used, committed, headroom, turns in flight, and why",
      answers: [jsonAnswer("The numbers now", capacitySchema satisfies z.ZodType<CapacityView>)],
      errors: [],
    },
    handle: () => parts.capacity(),
  };
}

function metrics({ config, telemetry }: ServerParts): Route {
  return {
    method: "GET",
    path: "/metrics",
    access: config.telemetry.publicMetrics ? "public" : "operator",
    docs: {
      operationId: "metrics",
      summary: "Metrics in the text format of Prometheus",
      answers: [{ status: 200, description: "All metrics", content: { "text/plain": null } }],
      errors: [],
    },
    async handle({ reply }) {
      const text = await telemetry.metrics.renderPrometheus();
      return reply.type(PROMETHEUS_CONTENT_TYPE).send(text);
    },
  };
}
