/**
 * Listing, reading, exporting, warming and deleting sessions; keeping them is `retention.ts`. A
 * session of another tenant does not exist here, but for an operator who exports it.
 *
 * @module
 */

import { z } from "zod";
import { AppError } from "../../lib/errors.ts";
import { checkInput, invalidBody } from "../../protocol/input.ts";
import type { SessionSummary } from "../../session/sessions.ts";
import { MAX_THREAD_ID_LENGTH } from "../../session/session-id.ts";
import { DEFAULT_PAGE_LIMIT, MAX_PAGE_LIMIT } from "../../session/session-list.ts";
import { isWarm, WARM_REASONS, type WarmReason } from "../../turn/warm-session.ts";
import { clientGone } from "../client-gone.ts";
import { jsonAnswer, type Route } from "../route.ts";
import { sendStream } from "../stream-reply.ts";
import type { Readiness, ServerParts } from "../server-parts.ts";

export const sessionSchema = z.object({
  sessionId: z.string(),
  threadId: z.string(),
  agent: z.string(),
  createdAt: z.iso.datetime(),
  lastTurnAt: z.iso.datetime(),
  turns: z.int(),
  transcriptBytes: z.int(),
  costUsd: z.number(),
  isBusy: z.boolean().describe("Whether a turn of it runs now."),
  isOnHold: z.boolean().describe("Whether an operator keeps it from being deleted."),
});

const messageSchema = z.object({
  id: z.string(),
  role: z.enum(["user", "assistant"]),
  at: z.iso.datetime().nullable(),
  parts: z.array(z.looseObject({ type: z.string() })),
});

const transcriptSchema = sessionSchema.extend({
  messages: z.array(messageSchema).describe("Oldest first."),
  isComplete: z.boolean().describe("False when older messages were left out."),
  skippedLines: z.int().describe("Lines of the transcript that could not be read."),
});

const pageSchema = z.object({
  sessions: z.array(sessionSchema),
  nextCursor: z.string().nullable().describe("Null on the last page."),
});

const listQuerySchema = z.strictObject({
  agent: z.string().max(63).optional(),
  threadId: z.string().max(MAX_THREAD_ID_LENGTH).optional(),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_PAGE_LIMIT)
    .optional()
    .describe(`${DEFAULT_PAGE_LIMIT} without it.`),
  cursor: z.string().max(1_000).optional().describe("`nextCursor` of the page before."),
});

const WARM_REASON_NAMES = Object.keys(WARM_REASONS) as [WarmReason, ...WarmReason[]];

const warmthSchema = z.object({
  warm: z.boolean().describe("Whether a process of the session is there, or is starting."),
  reason: z
    .enum(WARM_REASON_NAMES)
    .describe(WARM_REASON_NAMES.map((name) => `\`${name}\`: ${WARM_REASONS[name]}`).join("; ")),
});

export function sessionRoutes(parts: ServerParts): Route[] {
  const { sessions } = parts;
  return [
    listSessions(sessions),
    readSession(parts),
    exportSession(parts),
    warmSession(parts),
    deleteSession(sessions),
  ];
}

type Sessions = ServerParts["sessions"];

function listSessions(sessions: Sessions): Route {
  return {
    method: "GET",
    path: "/v1/sessions",
    access: "caller",
    docs: {
      operationId: "listSessions",
      summary: "Sessions of the caller's tenant, the newest first",
      query: listQuerySchema,
      answers: [jsonAnswer("A page of sessions", pageSchema)],
      errors: ["invalid_request", "storage_failed", "store_unavailable"],
    },
    async handle({ request, caller: { tenant } }) {
      const query = checkInput(listQuerySchema, { ...(request.query as object) });
      if (!query.ok) throw invalidBody(query.errors);
      const { agent: agentName, threadId, limit, cursor } = query.value;
      const page = await sessions.list({
        tenant,
        ...(agentName !== undefined && { agentName }),
        ...(threadId !== undefined && { threadId }),
        ...(limit !== undefined && { limit }),
        ...(cursor !== undefined && { cursor }),
      });
      return { sessions: page.sessions.map(toBody), nextCursor: page.nextCursor };
    },
  };
}

function readSession({ sessions, reads }: ServerParts): Route {
  return {
    method: "GET",
    path: "/v1/sessions/:sessionId",
    access: "caller",
    docs: {
      operationId: "readSession",
      summary: "A session with what was said in it",
      answers: [jsonAnswer("The session", transcriptSchema)],
      errors: [
        "session_not_found",
        "session_gone",
        "other_session",
        "storage_failed",
        "store_unavailable",
        "session_unreadable",
        "session_newer",
        "too_many_reads",
      ],
    },
    async handle({ caller: { tenant }, param, reply }) {
      const ref = { tenant, sessionId: param("sessionId") };
      const session = await sessions.read(ref, Date.now());
      using _read = await reads.begin(tenant, clientGone(reply, null));
      const { messages, isComplete, skippedLines } = await sessions.transcript(ref, Date.now());
      const shown = messages.map(({ atMs, ...message }) => ({
        ...message,
        at: atMs === null ? null : new Date(atMs).toISOString(),
      }));
      return { ...toBody(session), messages: shown, isComplete, skippedLines };
    },
  };
}

const exportQuerySchema = z.strictObject({
  tenant: z
    .string()
    .max(256)
    .optional()
    .describe("Whose session it is; the caller's without it. Another one's is for operators."),
});

function exportSession({ sessions, exports }: ServerParts): Route {
  return {
    method: "GET",
    path: "/v1/sessions/:sessionId/export",
    access: "caller",
    isStream: true,
    docs: {
      operationId: "exportSession",
      summary: "All of a session as Claude Code has it, a JSON object a line",
      query: exportQuerySchema,
      answers: [
        {
          status: 200,
          description: "The lines; it is cut off, and not ended, when they cannot all be sent",
          content: { "application/x-ndjson": null },
        },
      ],
      errors: [
        "invalid_request",
        "forbidden",
        "session_not_found",
        "session_gone",
        "other_session",
        "storage_failed",
        "store_unavailable",
        "session_unreadable",
        "session_newer",
      ],
    },
    async handle({ request, caller, param, reply }) {
      const query = checkInput(exportQuerySchema, { ...(request.query as object) });
      if (!query.ok) throw invalidBody(query.errors);
      const { tenant = caller.tenant } = query.value;
      if (tenant !== caller.tenant && caller.role !== "operator") {
        throw new AppError(
          "forbidden",
          "Cannot export the session: another tenant's is for operators",
        );
      }
      const chunks = await sessions.exported({ tenant, sessionId: param("sessionId") }, Date.now());
      exports.track(reply);
      return sendStream(reply, "application/x-ndjson", chunks);
    },
  };
}

function warmSession({ warm, readiness }: ServerParts): Route {
  return {
    method: "POST",
    path: "/v1/sessions/:sessionId/warm",
    access: "caller",
    docs: {
      operationId: "warmSession",
      summary: "Announce a turn of a session: a process resumes it ahead, where there is room",
      answers: [jsonAnswer("What came of it: a hint, so a no is no error", warmthSchema, 202)],
      errors: [
        "session_not_found",
        "session_gone",
        "other_session",
        "draining",
        "not_ready",
        "storage_failed",
        "store_unavailable",
        "session_unreadable",
        "session_newer",
      ],
    },
    async handle({ caller: { tenant }, param, reply }) {
      checkReady(readiness);
      const reason = await warm({ tenant, sessionId: param("sessionId") });
      return reply.status(202).send({ warm: isWarm(reason), reason });
    },
  };
}

/** @throws {AppError} `draining`, `not_ready`: there, no process is to be started. */
function checkReady({ state, reason }: Readiness): void {
  if (state === "ready") return;
  const code = state === "draining" ? "draining" : "not_ready";
  throw new AppError(code, `Cannot warm the session: ${reason}`, { retryAfterSeconds: 1 });
}

function deleteSession(sessions: Sessions): Route {
  return {
    method: "DELETE",
    path: "/v1/sessions/:sessionId",
    access: "caller",
    docs: {
      operationId: "deleteSession",
      summary: "Delete a session and all its files",
      answers: [{ status: 204, description: "The session is gone" }],
      errors: [
        "session_not_found",
        "session_gone",
        "session_busy",
        "session_on_hold",
        "other_session",
        "storage_failed",
        "store_unavailable",
        "session_unreadable",
        "session_newer",
      ],
    },
    async handle({ caller: { tenant }, param, reply }) {
      await sessions.delete({ tenant, sessionId: param("sessionId") }, Date.now());
      return reply.status(204).send();
    },
  };
}

export function toBody(session: SessionSummary): z.infer<typeof sessionSchema> {
  const { sessionId, threadId, agentName, turns, transcriptBytes, isBusy } = session;
  return {
    sessionId,
    threadId,
    agent: agentName,
    createdAt: new Date(session.createdAtMs).toISOString(),
    lastTurnAt: new Date(session.lastTurnAtMs).toISOString(),
    turns,
    transcriptBytes,
    costUsd: session.totals.costUsd,
    isBusy,
    isOnHold: session.onHoldSinceMs !== undefined,
  };
}
