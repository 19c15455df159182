/**
 * What a line of the route table says. Access stands on every line, because a forgotten one
 * would be open.
 *
 * @module
 */

import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import type { ErrorCode } from "../lib/errors.ts";
import type { Caller } from "../turn/turn.ts";
import type { Access } from "./auth.ts";

export interface Route {
  /** GET answers HEAD as well, but for streams. */
  readonly method: "GET" | "POST" | "DELETE";
  /** Parameters as `:name`. */
  readonly path: string;
  readonly access: Access;
  /** Its HEAD would begin what nobody reads: a reader of a turn keeps it running. */
  readonly isStream?: true;
  /** Refused before its body is read when the replica is full or draining, but for `early-shedding.ts`. */
  readonly startsTurn?: true;
  readonly docs: RouteDocs;
  readonly handle: (context: RequestContext) => unknown;
}

/**
 * Whether pages of other origins are kept from it where there are no keys: it may change something,
 * or takes one of a few places for as long as it is read.
 */
export function isClosedToPages({ method, isStream }: HeadRoute): boolean {
  return method !== "GET" || isStream === true;
}

/** Whether HEAD is answered as GET is, without the body. */
export function answersHead({ method, isStream }: HeadRoute): boolean {
  return method === "GET" && isStream !== true;
}

type HeadRoute = Pick<Route, "method" | "isStream">;

export interface RequestContext {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** Anyone on public routes. */
  readonly caller: Caller;
  /** @returns A parameter of the path; empty for one that is not in it. */
  readonly param: (name: string) => string;
}

/** For /openapi.json and docs/http.md. */
export interface RouteDocs {
  readonly operationId: string;
  readonly summary: string;
  readonly query?: z.ZodObject;
  /** Request headers that mean something here. */
  readonly headers?: readonly (keyof typeof REQUEST_HEADERS)[];
  readonly body?: z.ZodType;
  readonly answers: readonly Answer[];
  /** Beside those that every route or every route of this access can answer with. */
  readonly errors: readonly ErrorCode[];
}

export interface Answer {
  readonly status: number;
  readonly description: string;
  /** Media types, with the schema of those that are JSON. */
  readonly content?: Readonly<Record<string, z.ZodType | null>>;
}

export function jsonAnswer(description: string, schema: z.ZodType, status = 200): Answer {
  return { status, description, content: { "application/json": schema } };
}

/** What each of them means. */
export const REQUEST_HEADERS = {
  "Idempotency-Key":
    "Your own name for the request, 1 to 255 characters: the same one never runs twice.",
  Prefer:
    "`respond-async`: be answered with 202 once the turn has begun; it runs on without a reader.",
  "Last-Event-ID": "Id of the last event that was read: what comes after it is sent.",
} as const;
