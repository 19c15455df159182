/**
 * Starting, watching and cancelling turns, over our own REST and over AG-UI.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { z } from "zod";
import { AppError, type ErrorCode } from "../../lib/errors.ts";
import { AGUI_MEDIA_TYPES, encodeAguiBytes, negotiateAgui } from "../../protocol/agui.ts";
import { type ReportError } from "../../protocol/ending.ts";
import { decodeAguiRun } from "../../protocol/agui-decode.ts";
import { encodeAgui } from "../../protocol/agui-encode.ts";
import { collectTurn } from "../../protocol/collect.ts";
import { negotiateRest } from "../../protocol/negotiate.ts";
import {
  decodeRestTurn,
  encodeRestEvents,
  type RestOutcome,
  restOutcomeBody,
  restOutcomeSchema,
  restTurnSchema,
} from "../../protocol/rest.ts";
import { SSE_HEARTBEAT, SSE_MEDIA_TYPE, withHeartbeat } from "../../protocol/sse.ts";
import type { LiveTurn } from "../../turn/live-turns.ts";
import type { TurnRequest } from "../../turn/turn.ts";
import { clientGone } from "../client-gone.ts";
import { jsonAnswer, type RequestContext, type Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";
import { sendStream } from "../stream-reply.ts";

const liveTurnSchema = z.object({
  turnId: z.string(),
  agent: z.string(),
  startedAt: z.iso.datetime(),
});

/** As much of a run as is read here; AG-UI has more. */
const aguiRunSchema = z
  .looseObject({
    threadId: z.string(),
    runId: z.string(),
    messages: z.array(z.looseObject({ id: z.string(), role: z.string() })),
  })
  .describe("RunAgentInput of AG-UI 1.0, see https://docs.ag-ui.com");

export function turnRoutes(parts: ServerParts): Route[] {
  return [
    startTurnRoute(parts),
    aguiRoute(parts, {
      path: "/v1/agents/:agent/agui",
      operationId: "runAgent",
      summary: "Run an agent over AG-UI",
      agentNameOf: ({ param }) => param("agent"),
    }),
    aguiRoute(parts, {
      path: "/agui",
      operationId: "runOnlyAgent",
      summary: "Run the agent over AG-UI, where the server has but one",
      agentNameOf: () => onlyAgent(parts),
    }),
    listTurnsRoute(parts),
    cancelTurnRoute(parts),
  ];
}

function startTurnRoute(parts: ServerParts): Route {
  return {
    method: "POST",
    path: "/v1/agents/:agent/turns",
    access: "caller",
    startsTurn: true,
    docs: {
      operationId: "startTurn",
      summary: "Start a turn; answered as JSON when it is done, or as a stream of its events",
      body: restTurnSchema,
      answers: [
        {
          status: 200,
          description: "The finished turn, or its events as they happen, as `Accept` asks",
          content: { "application/json": restOutcomeSchema, [SSE_MEDIA_TYPE]: null },
        },
      ],
      errors: [...ADMISSION_ERRORS, ...FAILED_TURN_ERRORS],
    },
    handle: (context) => startRestTurn(parts, context),
  };
}

interface AguiAddress {
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly agentNameOf: (context: RequestContext) => string;
}

function aguiRoute(parts: ServerParts, address: AguiAddress): Route {
  const { path, operationId, summary, agentNameOf } = address;
  const content = { [AGUI_MEDIA_TYPES.sse]: null, [AGUI_MEDIA_TYPES.proto]: null };
  return {
    method: "POST",
    path,
    access: "caller",
    startsTurn: true,
    docs: {
      operationId,
      summary,
      body: aguiRunSchema,
      answers: [{ status: 200, description: "The events of the run", content }],
      errors: ADMISSION_ERRORS,
    },
    handle: (context) => startAguiTurn(parts, context, agentNameOf(context)),
  };
}

function listTurnsRoute({ turns }: ServerParts): Route {
  const schema = z.object({ turns: z.array(liveTurnSchema) });
  return {
    method: "GET",
    path: "/v1/turns",
    access: "caller",
    docs: {
      operationId: "listTurns",
      summary: "The running turns of the caller's tenant; of all tenants for an operator",
      answers: [jsonAnswer("The turns that run now, the oldest first", schema)],
      errors: [],
    },
    handle: ({ caller }) => ({ turns: turns.list(caller).map(describeTurn) }),
  };
}

function cancelTurnRoute({ turns }: ServerParts): Route {
  return {
    method: "POST",
    path: "/v1/turns/:turnId/cancel",
    access: "caller",
    docs: {
      operationId: "cancelTurn",
      summary: "End a running turn before its time",
      answers: [{ status: 202, description: "The turn is being ended; its stream tells when" }],
      errors: ["turn_not_found"],
    },
    handle({ caller, param, reply }) {
      turns.find(param("turnId"), caller).cancel("cancel_requested");
      return reply.status(202).send();
    },
  };
}

const ADMISSION_ERRORS: readonly ErrorCode[] = [
  "invalid_request",
  "agent_not_found",
  "session_not_found",
  "session_gone",
  "not_acceptable",
  "session_busy",
  "other_session",
  "payload_too_large",
  "unsupported_media_type",
  "request_timeout",
  "at_capacity",
  "too_many_streams",
  "too_many_sessions",
  "draining",
  "not_ready",
  "storage_full",
  "storage_failed",
  "store_unavailable",
  "session_unreadable",
  "transcript_too_large",
];

/** A stream has them as its last event; one JSON body, which comes at the end, as its status. */
const FAILED_TURN_ERRORS: readonly ErrorCode[] = [
  "agent_start_failed",
  "agent_crashed",
  "agent_posture_mismatch",
  "turn_out_of_memory",
  "turn_timeout",
  "turn_stalled",
  "turn_output_too_large",
  "session_taken_over",
  "model_overloaded",
  "model_rate_limited",
  "model_auth_failed",
  "model_request_refused",
  "model_unavailable",
];

function describeTurn(turn: LiveTurn): z.infer<typeof liveTurnSchema> {
  return {
    turnId: turn.request.turnId,
    agent: turn.request.agentName,
    startedAt: new Date(turn.startedAtMs).toISOString(),
  };
}

async function startRestTurn(parts: ServerParts, context: RequestContext): Promise<unknown> {
  const { request, reply } = context;
  const answer = negotiateRest(request.headers.accept);
  if (answer === null) throw notAcceptable("application/json or text/event-stream");
  const { session, input } = decodeRestTurn(request.body);
  const gone = clientGone(reply, answer === "json" ? null : SSE_HEARTBEAT);
  const asked = { agentName: context.param("agent"), session, input };
  const turn = await startTurn(parts, context, gone, asked);
  if (answer === "json") {
    const body = collectTurn(turn.events()).then(restOutcomeBody);
    return body.catch((thrown: unknown) => unlessGone(thrown, gone));
  }
  const frames = encodeRestEvents(turn.events(), reporter(parts, turn, gone));
  return sendStream(reply, SSE_MEDIA_TYPE, beating(parts, frames, gone), parts.config.http);
}

async function startAguiTurn(
  parts: ServerParts,
  context: RequestContext,
  agentName: string,
): Promise<unknown> {
  const { request, reply } = context;
  const format = negotiateAgui(request.headers.accept);
  if (format === null) throw notAcceptable(Object.values(AGUI_MEDIA_TYPES).join(" or "));
  const { session, input, run } = await decodeAguiRun(request.body);
  const gone = clientGone(reply, format === "sse" ? SSE_HEARTBEAT : null);
  const turn = await startTurn(parts, context, gone, { agentName, session, input });
  const events = encodeAgui(turn.events(), run, reporter(parts, turn, gone));
  const chunks = encodeAguiBytes(events, format);
  return sendStream(
    reply,
    AGUI_MEDIA_TYPES[format],
    format === "sse" ? beating(parts, chunks, gone) : chunks,
    parts.config.http,
  );
}

/** Resolves when the turn is admitted: from then on it ends by itself, read or not. */
async function startTurn(
  parts: ServerParts,
  { request, reply, caller }: RequestContext,
  gone: AbortSignal,
  asked: Pick<TurnRequest, "agentName" | "session" | "input">,
): Promise<LiveTurn> {
  const { traceparent, tracestate } = request.headers;
  const turnId = randomUUID();
  const trace = {
    ...(typeof traceparent === "string" && { traceparent }),
    ...(typeof tracestate === "string" && { tracestate }),
  };
  const turn = await parts.turns.start({ turnId, caller, ...asked, ...trace }, gone);
  void reply.header("x-turn-id", turnId);
  return turn;
}

/** A turn whose reader left has no outcome to answer with, and nobody to answer. */
function unlessGone(thrown: unknown, gone: AbortSignal): RestOutcome {
  if (!gone.aborted) throw thrown;
  throw new AppError("invalid_request", "Cannot answer: the client left", { cause: thrown });
}

function reporter(
  { telemetry }: ServerParts,
  { request: { turnId } }: LiveTurn,
  gone: AbortSignal,
): ReportError {
  return (err) => {
    // Where nobody reads, events stop before the turn has ended: nothing to report.
    if (!gone.aborted) telemetry.log.error({ err, turnId }, "Cannot finish the stream of a turn");
  };
}

function beating<Chunk extends string | Uint8Array>(
  { config }: ServerParts,
  chunks: AsyncIterable<Chunk>,
  gone: AbortSignal,
): AsyncIterable<Chunk | string> {
  return withHeartbeat<Chunk | string>(chunks, config.http.heartbeatMs, SSE_HEARTBEAT, gone);
}

function onlyAgent({ agents }: ServerParts): string {
  const [name, ...others] = agents.keys();
  if (name !== undefined && others.length === 0) return name;
  throw new AppError("agent_not_found", "Cannot choose an agent: the server has several", {
    extensions: { agents: [...agents.keys()] },
  });
}

function notAcceptable(offered: string): AppError {
  return new AppError("not_acceptable", `Cannot answer as asked: the turn comes as ${offered}`);
}
