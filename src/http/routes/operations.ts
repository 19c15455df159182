/**
 * What operators and their probes ask: is it alive, would it take a turn, how full is it.
 *
 * @module
 */

import { z } from "zod";
import { PROMETHEUS_CONTENT_TYPE } from "../../telemetry/metrics.ts";
import { jsonAnswer, type Route } from "../route.ts";
import type { CapacityView, ServerParts } from "../server-parts.ts";

const bytes = z.int();

const livezSchema = z.object({ status: z.literal("alive") });

const readyzSchema = z.object({
  status: z.enum(["ready", "starting", "draining", "broken", "full"]),
  reason: z.string().optional().describe("Why not, in words."),
});

const capacitySchema = z.object({
  limitBytes: bytes.describe("Memory limit of the replica."),
  limitSource: z.string().describe("Where the limit was read."),
  loadLineBytes: bytes.describe("No admission crosses it."),
  parentBytes: bytes.describe("Set aside for the server itself."),
  committedBytes: bytes.describe("Set aside for the server and the turns in flight."),
  headroomBytes: bytes.describe("Left before the load line."),
  inflight: z.int().describe("Turns in flight."),
  turnsThatFit: z.int().describe("Turns at once, counting those in flight."),
  maxTurns: z.int().nullable().describe("The ceiling that is set, if any."),
  draining: z.boolean(),
  admitted: z.int().describe("Turns since the start."),
  shed: z
    .object({ memory: z.int(), max_turns: z.int(), draining: z.int() })
    .describe("Refusals for load since the start, by reason."),
  lastDecision: z.object({ atMs: z.number(), text: z.string() }).nullable(),
  oldestTurnMs: z.number().nullable(),
  memory: z
    .object({ bytes, source: z.string() })
    .describe("What cannot be reclaimed now, and what was added up."),
  turns: z
    .array(
      z.object({
        turnId: z.string(),
        ageMs: z.number(),
        bytes: bytes.nullable().describe("Private memory of the process tree; null if not known."),
        peakBytes: bytes.nullable(),
      }),
    )
    .readonly(),
}) satisfies z.ZodType<CapacityView>;

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

function readyz({ config, gate, readiness }: ServerParts): Route {
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
      const shed = config.capacity.unreadyWhenFull ? gate.peek(Date.now()) : null;
      if (shed !== null) return reply.status(503).send({ status: "full", reason: shed.text });
      return { status: "ready" };
    },
  };
}

function capacity(parts: ServerParts): Route {
  return {
    method: "GET",
    path: "/capacity",
    access: "operator",
    docs: {
      operationId: "capacity",
      summary: "The load line: limit, used, committed, headroom, turns in flight, and why",
      answers: [jsonAnswer("The numbers now", capacitySchema)],
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
