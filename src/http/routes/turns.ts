/**
 * Starting turns over our own REST; finding, reading and cancelling those of any protocol.
 *
 * @module
 */

import { z } from "zod";
import { AppError, type ErrorCode } from "../../lib/errors.ts";
import { collectTurn } from "../../protocol/collect.ts";
import { eventIdOf } from "../../protocol/event-id.ts";
import { checkInput, invalidBody } from "../../protocol/input.ts";
import { negotiateRest } from "../../protocol/negotiate.ts";
import {
  decodeRestTurn,
  REST_ENDING,
  type RestOutcome,
  restEndedBody,
  restOutcomeBody,
  restOutcomeSchema,
  restTurnSchema,
} from "../../protocol/rest.ts";
import { SSE_HEARTBEAT, SSE_MEDIA_TYPE } from "../../protocol/sse.ts";
import { LiveTurn, type TurnReader } from "../../turn/live-turn.ts";
import { threadIdOfKey, turnKeyOf } from "../../turn/turn-key.ts";
import { clientGone } from "../client-gone.ts";
import { idempotencyKeyOf, keyNameOf } from "../idempotency-key.ts";
import { prefersAsync, RESPOND_ASYNC } from "../prefer.ts";
import { turnHasBegun } from "../refusals.ts";
import { jsonAnswer, type RequestContext, type Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";
import {
  askElsewhere,
  askForTurn,
  attach,
  beginTurn,
  lastEventIdOf,
  orElsewhere,
  type Asked,
} from "../turn-asking.ts";
import {
  ADMISSION_ERRORS,
  ELSEWHERE_ERRORS,
  notAcceptable,
  sendRestEvents,
} from "../turn-stream.ts";

const runningTurnSchema = z.object({
  turnId: z.string(),
  agent: z.string(),
  startedAt: z.iso.datetime(),
});

const turnSchema = runningTurnSchema.extend({
  state: z.enum(["running", "ended"]),
  sessionId: z.string().nullable().describe("Null until the turn is admitted, as `threadId`."),
  threadId: z.string().nullable(),
  endedAt: z.iso.datetime().nullable(),
  firstEvent: z.int().describe("Number of the oldest event that can still be read."),
  lastEvent: z.int().describe("Number of the newest one; 0 before the first."),
  lastEventId: z.string().describe("Its id, as `Last-Event-ID` has it."),
  readers: z.int().describe("Who reads it now."),
  outcome: z
    .looseObject({ status: z.string() })
    .nullable()
    .describe("As in the event `turn_ended`; null while it runs, and for a turn that broke."),
});

const begunTurnSchema = z.object({
  turnId: z.string(),
  sessionId: z.string(),
  threadId: z.string(),
});

const eventsQuerySchema = z.strictObject({
  lastEventId: z
    .string()
    .max(64)
    .optional()
    .describe("As the header `Last-Event-ID`, for clients that cannot set it."),
});

export function turnRoutes(parts: ServerParts): Route[] {
  return [
    startTurnRoute(parts),
    listTurnsRoute(parts),
    readTurnRoute(parts),
    turnEventsRoute(parts),
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
      headers: ["Idempotency-Key", "Last-Event-ID", "Prefer"],
      body: restTurnSchema,
      answers: [
        {
          status: 200,
          description: "The finished turn, or its events as they happen, as `Accept` asks",
          content: { "application/json": restOutcomeSchema, [SSE_MEDIA_TYPE]: null },
        },
        jsonAnswer(
          "The turn has begun, as `Prefer: respond-async` asks; `Location` is where it is read",
          begunTurnSchema,
          202,
        ),
        READ_TO_ITS_END,
      ],
      errors: [...ADMISSION_ERRORS, ...FAILED_TURN_ERRORS],
    },
    handle: (context) => startTurn(parts, context),
  };
}

function listTurnsRoute({ turns }: ServerParts): Route {
  const schema = z.object({ turns: z.array(runningTurnSchema) });
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
    handle: ({ caller }) => ({ turns: turns.list(caller).map(describeRunning) }),
  };
}

function readTurnRoute(parts: ServerParts): Route {
  return {
    method: "GET",
    path: "/v1/turns/:turnId",
    access: "caller",
    docs: {
      operationId: "readTurn",
      summary: "A turn that runs, or has ended a short time ago",
      answers: [jsonAnswer("The turn", turnSchema)],
      errors: ["turn_not_found", ...ELSEWHERE_ERRORS],
    },
    async handle(context) {
      const { caller, param } = context;
      const passed = await askElsewhere(parts, context);
      return passed ?? describe(parts.turns.find(param("turnId"), caller));
    },
  };
}

function turnEventsRoute(parts: ServerParts): Route {
  return {
    method: "GET",
    path: "/v1/turns/:turnId/events",
    access: "caller",
    isStream: true,
    docs: {
      operationId: "readTurnEvents",
      summary: "The events of a turn from the first, or after `Last-Event-ID`, and live to its end",
      headers: ["Last-Event-ID"],
      query: eventsQuerySchema,
      answers: [
        { status: 200, description: "The events", content: { [SSE_MEDIA_TYPE]: null } },
        READ_TO_ITS_END,
      ],
      errors: ["invalid_request", "turn_not_found", "events_expired", ...ELSEWHERE_ERRORS],
    },
    handle: (context) => readEvents(parts, context),
  };
}

/** What browsers take for "do not come back". */
const READ_TO_ITS_END = { status: 204, description: "The turn was read to its end" };

function cancelTurnRoute(parts: ServerParts): Route {
  return {
    method: "POST",
    path: "/v1/turns/:turnId/cancel",
    access: "caller",
    docs: {
      operationId: "cancelTurn",
      summary: "End a running turn before its time",
      answers: [{ status: 202, description: "The turn is being ended; its stream tells when" }],
      errors: ["turn_not_found", ...ELSEWHERE_ERRORS],
    },
    async handle(context) {
      const { caller, param, reply } = context;
      const passed = await askElsewhere(parts, context);
      if (passed !== null) return passed;
      parts.turns.findRunning(param("turnId"), caller).cancel("cancel_requested");
      return reply.status(202).send();
    },
  };
}

/** A stream has them as its last event; one JSON body, which comes at the end, as its status. */
const FAILED_TURN_ERRORS: readonly ErrorCode[] = [
  "agent_start_failed",
  "agent_crashed",
  "agent_posture_mismatch",
  "mcp_server_unavailable",
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

function describeRunning(turn: LiveTurn): z.infer<typeof runningTurnSchema> {
  return {
    turnId: turn.request.turnId,
    agent: turn.request.agentName,
    startedAt: new Date(turn.startedAtMs).toISOString(),
  };
}

function describe(turn: LiveTurn): z.infer<typeof turnSchema> {
  const { facts, endedAtMs, journal, readers, outcome } = turn;
  return {
    ...describeRunning(turn),
    state: endedAtMs === null ? "running" : "ended",
    sessionId: facts?.sessionId ?? null,
    threadId: facts?.threadId ?? null,
    endedAt: endedAtMs === null ? null : new Date(endedAtMs).toISOString(),
    firstEvent: journal.firstId,
    lastEvent: journal.lastId,
    lastEventId: eventIdOf(turn.request.turnId, { after: journal.lastId, parts: 0 }),
    readers,
    outcome: outcome === null ? null : { ...outcome },
  };
}

async function startTurn(parts: ServerParts, context: RequestContext): Promise<unknown> {
  const { request, reply } = context;
  const answer = negotiateRest(request.headers.accept);
  if (answer === null) throw notAcceptable("application/json or text/event-stream");
  const asked = decode(context);
  const gone = clientGone(reply, answer === "json" ? null : SSE_HEARTBEAT);
  const forwarding = { gone, isLong: answer === "json", ending: REST_ENDING };
  return orElsewhere(parts, context, asked, forwarding, () =>
    answer === "json" && prefersAsync(request.headers)
      ? answerBegun(parts, context, asked, gone)
      : answerWhole(parts, context, { asked, answer, gone }),
  );
}

interface Answering {
  readonly asked: Asked;
  readonly answer: "json" | "events";
  readonly gone: AbortSignal;
}

/** At its end, or as it goes. */
async function answerWhole(
  parts: ServerParts,
  context: RequestContext,
  { asked, answer, gone }: Answering,
): Promise<unknown> {
  // One JSON body is whole, or nothing was read of it.
  const lastEventId = answer === "json" ? undefined : lastEventIdOf(context);
  const options = { gone, lastEventId, isWhole: answer === "json" };
  const found = await askForTurn(parts, context, asked, options);
  if (answer === "events" || found.is === "done") {
    return sendRestEvents(parts, context, found, gone);
  }
  turnHasBegun(context.reply);
  return found.is === "ended" ? restEndedBody(found.turn) : collected(found.reader, gone);
}

/** Once the turn is admitted, and before its end. */
async function answerBegun(
  parts: ServerParts,
  context: RequestContext,
  asked: Asked,
  gone: AbortSignal,
): Promise<unknown> {
  const { reply } = context;
  const turn = await beginTurn(parts, context, asked, gone);
  // Nothing more can be read of it than its end, and that is here.
  if (!(turn instanceof LiveTurn)) return restEndedBody(turn);
  const { turnId } = turn.request;
  const { sessionId = "", threadId = "" } = turn.facts ?? {};
  const begun: z.infer<typeof begunTurnSchema> = { turnId, sessionId, threadId };
  return reply
    .status(202)
    .headers({ location: `/v1/turns/${turnId}`, "preference-applied": RESPOND_ASYNC })
    .send(begun);
}

function decode({ request, param }: RequestContext): Asked {
  const agentName = param("agent");
  const name = idempotencyKeyOf(request.headers);
  if (name === null) return { agentName, ...decodeRestTurn(request.body) };
  const turn = decodeRestTurn(request.body, () => threadIdOfKey(agentName, name));
  return { agentName, ...turn, key: turnKeyOf(keyNameOf(name), turn.input) };
}

async function readEvents(parts: ServerParts, context: RequestContext): Promise<unknown> {
  const { request, reply, caller, param } = context;
  const query = checkInput(eventsQuerySchema, { ...(request.query as object) });
  if (!query.ok) throw invalidBody(query.errors);
  const gone = clientGone(reply, SSE_HEARTBEAT);
  const forwarding = { gone, ending: REST_ENDING };
  const passed = await parts.forwarder?.ofTurn(context, param("turnId"), forwarding);
  if (passed) return passed;
  const turn = parts.turns.find(param("turnId"), caller);
  // The header is what a browser says when it comes back; the parameter is what it came with first.
  const lastEventId = lastEventIdOf(context) ?? query.value.lastEventId;
  const found = await attach(turn, gone, lastEventId);
  void reply.header("x-turn-id", turn.request.turnId);
  return sendRestEvents(parts, context, found, gone);
}

/** @throws {AppError} What the turn failed with. */
async function collected(reader: TurnReader, gone: AbortSignal): Promise<RestOutcome> {
  try {
    return restOutcomeBody(await collectTurn(reader.events()));
  } catch (thrown) {
    if (!gone.aborted) throw thrown;
    // A turn whose reader left has no outcome to answer with, and nobody to answer.
    throw new AppError("invalid_request", "Cannot answer: the client left", { cause: thrown });
  }
}
