/**
 * Starting, watching and cancelling turns, over our own REST and over AG-UI.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { z } from "zod";
import { AppError, type ErrorCode } from "../../lib/errors.ts";
import { AGUI_MEDIA_TYPES, encodeAguiBytes, negotiateAgui } from "../../protocol/agui.ts";
import { decodeAguiRun } from "../../protocol/agui-decode.ts";
import { encodeAgui } from "../../protocol/agui-encode.ts";
import { collectTurn } from "../../protocol/collect.ts";
import { negotiateRest } from "../../protocol/negotiate.ts";
import {
  decodeRestTurn,
  encodeRestEvents,
  restOutcomeBody,
  restOutcomeSchema,
  restTurnSchema,
} from "../../protocol/rest.ts";
import { SSE_HEARTBEAT, SSE_MEDIA_TYPE, withHeartbeat } from "../../protocol/sse.ts";
import type { LiveTurn } from "../../turn/live-turns.ts";
import type { TurnRequest } from "../../turn/turn.ts";
import type { RequestContext, Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";
import { clientGone, sendStream } from "../stream-reply.ts";

const liveTurnSchema = z.object({
  turnId: z.string(),
  agent: z.string(),
  startedAt: z.iso.datetime(),
});

export function turnRoutes(parts: ServerParts): Route[] {
  return [
    {
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
        errors: TURN_ERRORS,
      },
      handle: (context) => startRestTurn(parts, context),
    },
    {
      method: "POST",
      path: "/v1/agents/:agent/agui",
      access: "caller",
      startsTurn: true,
      docs: aguiDocs("runAgent", "Run an agent over AG-UI"),
      handle: (context) => startAguiTurn(parts, context, context.param("agent")),
    },
    {
      method: "POST",
      path: "/agui",
      access: "caller",
      startsTurn: true,
      docs: aguiDocs("runOnlyAgent", "Run the agent over AG-UI, where the server has but one"),
      handle: (context) => startAguiTurn(parts, context, onlyAgent(parts)),
    },
    {
      method: "GET",
      path: "/v1/turns",
      access: "caller",
      docs: {
        operationId: "listTurns",
        summary: "The running turns of the caller's tenant; of all tenants for an operator",
        answers: [
          {
            status: 200,
            description: "The turns that run now, the oldest first",
            content: { "application/json": z.object({ turns: z.array(liveTurnSchema) }) },
          },
        ],
        errors: ["unauthorized"],
      },
      handle: ({ caller }) => ({ turns: parts.turns.list(caller).map(describeTurn) }),
    },
    {
      method: "POST",
      path: "/v1/turns/:turnId/cancel",
      access: "caller",
      docs: {
        operationId: "cancelTurn",
        summary: "End a running turn before its time",
        answers: [{ status: 202, description: "The turn is being ended; its stream tells when" }],
        errors: ["unauthorized", "turn_not_found"],
      },
      handle: ({ caller, param, reply }) => {
        parts.turns.find(param("turnId"), caller).cancel("cancel_requested");
        return reply.status(202).send();
      },
    },
  ];
}

const TURN_ERRORS: readonly ErrorCode[] = [
  "invalid_request",
  "unauthorized",
  "agent_not_found",
  "session_not_found",
  "session_gone",
  "not_acceptable",
  "session_busy",
  "payload_too_large",
  "unsupported_media_type",
  "at_capacity",
  "too_many_streams",
  "too_many_sessions",
  "draining",
  "storage_full",
];

function aguiDocs(operationId: string, summary: string): Route["docs"] {
  const body = z.looseObject({
    threadId: z.string(),
    runId: z.string(),
    messages: z.array(z.looseObject({ id: z.string(), role: z.string() })),
  });
  return {
    operationId,
    summary,
    body: body.describe("RunAgentInput of AG-UI 1.0, see https://docs.ag-ui.com"),
    answers: [
      {
        status: 200,
        description: "The events of the run",
        content: { [AGUI_MEDIA_TYPES.sse]: null, [AGUI_MEDIA_TYPES.proto]: null },
      },
    ],
    errors: TURN_ERRORS,
  };
}

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
  const gone = clientGone(reply);
  const turn = await startTurn(parts, context, gone, {
    agentName: context.param("agent"),
    session,
    input,
  });
  if (answer === "json") return restOutcomeBody(await collectTurn(turn.events()));
  const frames = encodeRestEvents(turn.events(), (err) => request.log.error({ err }));
  return sendStream(reply, SSE_MEDIA_TYPE, beating(parts, frames, gone));
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
  const gone = clientGone(reply);
  const turn = await startTurn(parts, context, gone, { agentName, session, input });
  const events = encodeAgui(turn.events(), run, (err) => request.log.error({ err }));
  const chunks = encodeAguiBytes(events, format);
  return sendStream(
    reply,
    AGUI_MEDIA_TYPES[format],
    format === "sse" ? beating(parts, chunks, gone) : chunks,
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
