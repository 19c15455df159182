/**
 * The HTTP server: every request passes the same gates before it reaches its route.
 *
 *     connection ─▶ host ─▶ key ─▶ load ─▶ body ─▶ route ─▶ answer
 *       408 431     421    401    429     400
 *                          403    503     413 415
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from "fastify";
import { shedError } from "../capacity/shed-error.ts";
import { AppError } from "../lib/errors.ts";
import type { Caller } from "../turn/turn.ts";
import { Authenticator } from "./auth.ts";
import { answerClientError } from "./client-error.ts";
import { checkHost } from "./host-check.ts";
import { parseJsonBody } from "./json-body.ts";
import { openApiRoute } from "./openapi.ts";
import { sendProblem, toRefusal } from "./problem-reply.ts";
import type { Route } from "./route.ts";
import { agentRoutes } from "./routes/agents.ts";
import { operationRoutes } from "./routes/operations.ts";
import { sessionRoutes } from "./routes/sessions.ts";
import { turnRoutes } from "./routes/turns.ts";
import type { ServerParts } from "./server-parts.ts";

/** Longest part of a path that stands for a parameter; ids are shorter. */
const MAX_PARAM_LENGTH = 256;
/** How often connections that are too slow are looked for. */
const SLOW_CHECK_INTERVAL_MS = 1_000;

/** Builds the server; the caller listens with it and closes it. */
export async function buildApp(parts: ServerParts): Promise<FastifyInstance> {
  const { config } = parts;
  const app = fastify({
    loggerInstance: parts.telemetry.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    bodyLimit: config.http.bodyLimitBytes,
    requestTimeout: config.http.requestTimeoutMs,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH, ignoreTrailingSlash: true },
    http: {
      headersTimeout: config.http.requestTimeoutMs,
      connectionsCheckingInterval: SLOW_CHECK_INTERVAL_MS,
    },
    clientErrorHandler: answerClientError,
    // Requests that come while the server closes are answered by the gate.
    return503OnClosing: false,
    forceCloseConnections: "idle",
    frameworkErrors: (error, request, reply) => refuse(parts, error, request, reply),
  });
  app.server.maxConnections = config.http.maxConnections;

  const routes = routesOf(parts);
  await allowOrigins(app, config.http.corsOrigins);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => {
    try {
      done(null, parseJsonBody(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
  app.addHook("onRequest", async (request, reply) => {
    void reply.headers({ "x-request-id": request.id, "x-content-type-options": "nosniff" });
  });
  app.setErrorHandler((error, request, reply) => refuse(parts, error, request, reply));
  app.setNotFoundHandler((request, reply) =>
    refuse(parts, notFound(routes, request, reply), request, reply),
  );
  addRoutes(app, parts, routes);
  return app;
}

function routesOf(parts: ServerParts): readonly Route[] {
  const routes = [
    ...agentRoutes(parts),
    ...turnRoutes(parts),
    ...sessionRoutes(parts),
    ...operationRoutes(parts),
  ];
  return [...routes, openApiRoute(routes, parts.version)];
}

function addRoutes(app: FastifyInstance, parts: ServerParts, routes: readonly Route[]): void {
  const authenticator = new Authenticator(parts.config.auth);
  for (const route of routes) {
    const { method, path: url, access } = route;
    const callers = new WeakMap<FastifyRequest, Caller>();
    app.route({
      method,
      url,
      exposeHeadRoute: false,
      onRequest: async (request) => {
        if (!authenticator.isOn) checkHost(request.headers.host, parts.config.http.allowedHosts);
        if (access !== "public") {
          callers.set(request, authenticator.authenticate(request.headers.authorization, access));
        }
        if (route.startsTurn) refuseLoad(parts);
      },
      handler: (request, reply) => {
        const params = request.params as Readonly<Record<string, string>>;
        const caller = callers.get(request) ?? NOBODY;
        return route.handle({ request, reply, caller, param: (name) => params[name] ?? "" });
      },
    });
  }
}

/** The caller of a public route, who may see nothing of any tenant. */
const NOBODY: Caller = { id: "nobody", tenant: "", role: "caller" };

/** Before the body is read: what cannot be carried need not be received. */
function refuseLoad({ gate, readiness }: ServerParts): void {
  if (readiness.state === "starting" || readiness.state === "broken") {
    const { reason } = readiness;
    throw new AppError("not_ready", `Cannot start the turn: ${reason}`, { retryAfterSeconds: 1 });
  }
  const shed = gate.shedEarly(Date.now());
  if (shed !== null) throw shedError(shed);
}

function refuse(
  parts: ServerParts,
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const error = toRefusal(thrown);
  parts.telemetry.metrics.requestRefused(error.code);
  if (error.spec.fault === "bug") request.log.error({ err: thrown }, "Request failed");
  else if (error.spec.fault === "operator") request.log.warn({ err: error }, "Request refused");
  return sendProblem(error, request, reply, parts.config.capacity);
}

function notFound(
  routes: readonly Route[],
  request: FastifyRequest,
  reply: FastifyReply,
): AppError {
  const path = request.url.replace(/\?.*$/s, "").split("/");
  const allowed = routes.filter((route) => {
    const segments = route.path.split("/");
    return (
      segments.length === path.length &&
      segments.every((segment, at) => segment.startsWith(":") || segment === path[at])
    );
  });
  if (allowed.length === 0) {
    return new AppError("not_found", "Cannot find what was asked for: there is no such address");
  }
  void reply.header("allow", allowed.map(({ method }) => method).join(", "));
  return new AppError("method_not_allowed", `Cannot take a ${request.method} at this address`);
}

async function allowOrigins(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return;
  const { default: cors } = await import("@fastify/cors");
  await app.register(cors, {
    origin: [...origins],
    methods: ["GET", "POST", "DELETE"],
    exposedHeaders: ["retry-after", "x-turn-id", "x-request-id", "ratelimit", "ratelimit-policy"],
  });
}
