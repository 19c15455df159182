/**
 * Running an agent over AG-UI.
 *
 * @module
 */

import { z } from "zod";
import { AppError, type ErrorCode } from "../../lib/errors.ts";
import { AGUI_ENDING, AGUI_MEDIA_TYPES, negotiateAgui } from "../../protocol/agui.ts";
import { decodeAguiRun } from "../../protocol/agui-decode.ts";
import { SSE_HEARTBEAT } from "../../protocol/sse.ts";
import { clientGone } from "../client-gone.ts";
import type { RequestContext, Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";
import { connectAgent } from "./agui-connect.ts";
import { askForTurn, lastEventIdOf, orElsewhere } from "../turn-asking.ts";
import { ADMISSION_ERRORS, notAcceptable, sendAguiEvents } from "../turn-stream.ts";

/** The part of a run that is read here; AG-UI has more. */
const aguiRunSchema = z
  .looseObject({
    threadId: z.string(),
    runId: z.string(),
    messages: z.array(z.looseObject({ id: z.string(), role: z.string() })),
  })
  .describe("RunAgentInput of AG-UI 1.0, see https://docs.ag-ui.com");

export function aguiRoutes(parts: ServerParts): Route[] {
  return [
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
    connectRoute(parts, {
      path: "/v1/agents/:agent/agui/connect",
      operationId: "connectAgent",
      summary: "Connect to a thread over AG-UI: its messages, and the run that goes on in it",
      agentNameOf: ({ param }) => param("agent"),
    }),
    connectRoute(parts, {
      path: "/agui/connect",
      operationId: "connectOnlyAgent",
      summary: "The same, where the server has but one agent",
      agentNameOf: () => onlyAgent(parts),
    }),
  ];
}

interface AguiAddress {
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly agentNameOf: (context: RequestContext) => string;
}

const EVENTS = { [AGUI_MEDIA_TYPES.sse]: null, [AGUI_MEDIA_TYPES.proto]: null };

function aguiRoute(parts: ServerParts, address: AguiAddress): Route {
  return {
    ...routeAt(address, ADMISSION_ERRORS),
    startsTurn: true,
    handle: (context) => runAgent(parts, context, address.agentNameOf(context)),
  };
}

/** Starts nothing, so a full replica takes it. */
function connectRoute(parts: ServerParts, address: AguiAddress): Route {
  return {
    ...routeAt(address, CONNECT_ERRORS),
    handle: (context) => connectAgent(parts, context, address.agentNameOf(context)),
  };
}

function routeAt(
  { path, operationId, summary }: AguiAddress,
  errors: readonly ErrorCode[],
): Omit<Route, "handle"> {
  const answers = [
    { status: 200, description: "The events of the run", content: EVENTS },
    { status: 204, description: "The run was read to its end" },
  ];
  return {
    method: "POST",
    path,
    access: "caller",
    docs: {
      operationId,
      summary,
      headers: ["Last-Event-ID"],
      body: aguiRunSchema,
      answers,
      errors,
    },
  };
}

const CONNECT_ERRORS: readonly ErrorCode[] = [
  "invalid_request",
  "agent_not_found",
  "not_acceptable",
  "events_expired",
  "other_session",
  "too_many_readers",
  "too_many_reads",
  "payload_too_large",
  "unsupported_media_type",
  "request_timeout",
  "storage_failed",
  "store_unavailable",
  "session_unreadable",
  "session_newer",
];

async function runAgent(
  parts: ServerParts,
  context: RequestContext,
  agentName: string,
): Promise<unknown> {
  const { request, reply } = context;
  const format = negotiateAgui(request.headers.accept);
  if (format === null) throw notAcceptable(Object.values(AGUI_MEDIA_TYPES).join(" or "));
  const { session, input, run, key } = await decodeAguiRun(request.body);
  const gone = clientGone(reply, format === "sse" ? SSE_HEARTBEAT : null);
  const asked = { agentName, session, input, key };
  const lastEventId = lastEventIdOf(context);
  return orElsewhere(parts, context, asked, { gone, ending: AGUI_ENDING }, async () => {
    const found = await askForTurn(parts, context, asked, { gone, lastEventId });
    return sendAguiEvents(parts, context, found, { run, format, gone });
  });
}

function onlyAgent({ agents }: ServerParts): string {
  const [name, ...others] = agents.keys();
  if (name !== undefined && others.length === 0) return name;
  throw new AppError("agent_not_found", "Cannot choose an agent: the server has several", {
    extensions: { agents: [...agents.keys()] },
  });
}
