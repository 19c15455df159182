/**
 * /openapi.json (OpenAPI 3.1), made from the route table when it is first asked for. Made by hand
 * rather than by a plug-in, because bodies are checked by the protocols and not a second time by
 * the framework, and because an idle server pays nothing for it.
 *
 * @module
 */

import { z } from "zod";
import { ERRORS, type ErrorCode } from "../lib/errors.ts";
import { PROBLEM_MEDIA_TYPE } from "../protocol/problem.ts";
import { type Answer, isClosedToPages, jsonAnswer, REQUEST_HEADERS, type Route } from "./route.ts";
import type { ServerParts } from "./server-parts.ts";

type Json = Record<string, unknown>;

export function openApiRoute(routes: readonly Route[], parts: ServerParts): Route {
  let document: Json | undefined;
  const own: Route = {
    method: "GET",
    path: "/openapi.json",
    access: "public",
    docs: {
      operationId: "openapi",
      summary: "This description",
      answers: [jsonAnswer("An OpenAPI 3.1 document", z.looseObject({}))],
      errors: [],
    },
    handle: () => (document ??= describe([...routes, own], parts)),
  };
  return own;
}

/** What every route can answer with, and what every route of its access can. */
function errorsOf(
  route: Pick<Route, "access" | "docs" | "method" | "isStream">,
): readonly ErrorCode[] {
  const { access, docs } = route;
  return [
    ...docs.errors,
    ...(docs.body === undefined ? [] : (["too_many_bodies"] as const)),
    ...(isClosedToPages(route) ? (["foreign_origin"] as const) : []),
    ...(access === "public" ? [] : (["unauthorized", "misdirected_request"] as const)),
    ...(access === "operator" ? (["forbidden"] as const) : []),
    "internal",
  ];
}

function describe(routes: readonly Route[], { version, config }: ServerParts): Json {
  const statusOf = (code: ErrorCode): number =>
    code === "at_capacity" ? config.capacity.shedStatus : ERRORS[code].status;
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, statusOf) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Plimsoll",
      version,
      description: "Agents on the Claude Agent SDK, as a service that knows its load line.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    paths,
    components: {
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
      schemas: { Problem: PROBLEM_SCHEMA },
    },
  };
}

function operation(route: Route, statusOf: StatusOf): Json {
  const { path, access, docs } = route;
  return {
    operationId: docs.operationId,
    summary: docs.summary,
    security: access === "public" ? [] : [{ key: [] }],
    parameters: [
      ...pathParameters(path),
      ...queryParameters(docs.query),
      ...headerParameters(docs.headers ?? []),
    ],
    ...(docs.body !== undefined && {
      requestBody: {
        required: true,
        content: { "application/json": { schema: toJsonSchema(docs.body, "input") } },
      },
    }),
    responses: { ...answers(docs.answers), ...refusals(errorsOf(route), statusOf) },
  };
}

function pathParameters(path: string): Json[] {
  return Array.from(path.matchAll(/:(\w+)/g), ([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
}

function queryParameters(query: z.ZodObject | undefined): Json[] {
  if (query === undefined) return [];
  return Object.entries(query.shape).map(([name, schema]) => {
    const { description, ...rest } = toJsonSchema(schema as z.ZodType, "input");
    return {
      name,
      in: "query",
      required: false,
      ...(description ? { description } : {}),
      schema: rest,
    };
  });
}

function headerParameters(names: NonNullable<Route["docs"]["headers"]>): Json[] {
  return names.map((name) => ({
    name,
    in: "header",
    required: false,
    description: REQUEST_HEADERS[name],
    schema: { type: "string" },
  }));
}

function answers(list: readonly Answer[]): Json {
  const entries = list.map(({ status, description, content }) => {
    const media = Object.entries(content ?? {}).map(([type, schema]) => [
      type,
      schema === null ? {} : { schema: toJsonSchema(schema, "output") },
    ]);
    return [status, { description, ...(content && { content: Object.fromEntries(media) }) }];
  });
  return Object.fromEntries(entries) as Json;
}

type StatusOf = (code: ErrorCode) => number;

/** One response a status, naming all codes that have it. */
function refusals(codes: readonly ErrorCode[], statusOf: StatusOf): Json {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of codes) {
    const status = statusOf(code);
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const entries = Array.from(byStatus, ([status, list]) => [
    status,
    {
      description: list.map((code) => `\`${code}\`: ${ERRORS[code].title}`).join("; "),
      content: { [PROBLEM_MEDIA_TYPE]: { schema: { $ref: "#/components/schemas/Problem" } } },
    },
  ]);
  return Object.fromEntries(entries) as Json;
}

function toJsonSchema(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _dialect, ...json } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return json;
}

const PROBLEM_SCHEMA: Json = {
  type: "object",
  description: "RFC 9457. `code` is what a program should look at.",
  required: ["type", "title", "status", "detail", "code", "retryable"],
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    instance: { type: "string" },
    code: { type: "string", enum: Object.keys(ERRORS) },
    retryable: { type: "boolean" },
    remedy: { type: "string" },
    retryAfter: { type: "integer", description: "Seconds." },
    errors: {
      type: "array",
      items: {
        type: "object",
        properties: { pointer: { type: "string" }, detail: { type: "string" } },
      },
    },
  },
};
