/**
 * What operators decide about the sessions of all tenants: which are on hold, and that those go now
 * that have to.
 *
 * @module
 */

import { z } from "zod";
import { checkInput, invalidBody } from "../../protocol/input.ts";
import type { SessionRef } from "../../session/session-id.ts";
import type { Sweep } from "../../session/session-sweeper.ts";
import { RETENTION_REASONS } from "../../telemetry/values.ts";
import { jsonAnswer, type RequestContext, type Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";
import { sessionSchema, toBody } from "./sessions.ts";

/** Sessions named in an answer; all are counted. */
const MOST_NAMED = 1_000;

const holdQuerySchema = z.strictObject({
  tenant: z.string().max(256).optional().describe("Whose session it is; the caller's without it."),
});

const sweepQuerySchema = z.strictObject({
  dryRun: z
    .enum(["true", "false"])
    .optional()
    .describe("With `true` nothing is deleted: the answer says what would go."),
});

const sweepSchema = z.object({
  seen: z.int().describe("Sessions looked at."),
  seenBytes: z
    .int()
    .describe("What they take of the disk; without a limit of bytes, their transcripts alone."),
  onHold: z.int().describe("On hold, and so kept whatever the limits say."),
  unreadable: z.int().describe("Records that could not be read: their sessions are left alone."),
  skipped: z.int().describe("Had to go, and was used meanwhile."),
  failed: z.int().describe("Had to go, and could not be deleted."),
  missingBytes: z
    .int()
    .describe("Missing of `retention.keepFree`, and not to be had by deleting sessions."),
  deleted: z.int().describe("Sessions that went; of a dry run, that would."),
  deletedBytes: z.int().describe("What that took of the disk, as above."),
  byReason: z.record(z.enum(RETENTION_REASONS), z.int()),
  sessions: z
    .array(
      z.object({
        tenant: z.string(),
        sessionId: z.string(),
        lastUseAt: z.iso.datetime(),
        bytes: z.int(),
        reason: z.enum(RETENTION_REASONS),
      }),
    )
    .describe(`The first ${MOST_NAMED.toLocaleString("en")} of them.`),
});

export function retentionRoutes({ sessions, sweep }: ServerParts): Route[] {
  return [holdRoute(sessions, true), holdRoute(sessions, false), sweepRoute(sweep)];
}

function holdRoute(sessions: ServerParts["sessions"], isOnHold: boolean): Route {
  return {
    method: isOnHold ? "POST" : "DELETE",
    path: "/v1/sessions/:sessionId/hold",
    access: "operator",
    docs: {
      operationId: isOnHold ? "holdSession" : "releaseSession",
      summary: isOnHold
        ? "Put a session on hold: nobody can delete it, no limit lets it go"
        : "Take a session off hold",
      query: holdQuerySchema,
      answers: [jsonAnswer("The session", sessionSchema)],
      errors: [
        "invalid_request",
        "session_not_found",
        "session_gone",
        "session_busy",
        "other_session",
        "storage_full",
        "storage_failed",
        "store_unavailable",
        "session_unreadable",
        "session_newer",
      ],
    },
    async handle(context) {
      return toBody(await sessions.hold(refOf(context), isOnHold, Date.now()));
    },
  };
}

function refOf({ request, caller, param }: RequestContext): SessionRef {
  const query = checkInput(holdQuerySchema, { ...(request.query as object) });
  if (!query.ok) throw invalidBody(query.errors);
  return { tenant: query.value.tenant ?? caller.tenant, sessionId: param("sessionId") };
}

function sweepRoute(sweep: ServerParts["sweep"]): Route {
  return {
    method: "POST",
    path: "/v1/sessions/sweep",
    access: "operator",
    docs: {
      operationId: "sweepSessions",
      summary: "Delete the sessions of all tenants that have to go by `retention`, now",
      query: sweepQuerySchema,
      answers: [jsonAnswer("What went", sweepSchema)],
      errors: ["invalid_request", "storage_failed", "store_unavailable"],
    },
    async handle({ request }) {
      const query = checkInput(sweepQuerySchema, { ...(request.query as object) });
      if (!query.ok) throw invalidBody(query.errors);
      return answerOf(await sweep(query.value.dryRun === "true"));
    },
  };
}

function answerOf({ swept, ...counts }: Sweep): z.infer<typeof sweepSchema> {
  const byReason = Object.fromEntries(RETENTION_REASONS.map((reason) => [reason, 0]));
  for (const { reason } of swept) byReason[reason] = (byReason[reason] ?? 0) + 1;
  return {
    ...counts,
    deleted: swept.length,
    deletedBytes: swept.reduce((sum, { bytes }) => sum + bytes, 0),
    byReason: byReason as Record<(typeof RETENTION_REASONS)[number], number>,
    sessions: swept.slice(0, MOST_NAMED).map(({ lastUseAtMs, ...session }) => ({
      ...session,
      lastUseAt: new Date(lastUseAtMs).toISOString(),
    })),
  };
}
