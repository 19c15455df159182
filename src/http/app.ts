/**
 * The HTTP server: every request passes the same gates before it reaches its route.
 *
 *     connection ─▶ address ─▶ key or host ─▶ load ─▶ body ─▶ route ─▶ answer
 *       400 408     404 405      401  421     429     400
 *       431                      403          503     413 415
 *                                                     503
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  LogController,
} from "fastify";
import { AppError, type Refusal } from "../lib/errors.ts";
import type { Caller } from "../turn/turn.ts";
import { allowedMethods, originFormOf } from "./address.ts";
import { BodiesInFlight, TOO_MANY_BODIES } from "./bodies-in-flight.ts";
import { answerConnect, ClientErrors } from "./client-error.ts";
import type { Login } from "./console/logins.ts";
import { CrossOrigin } from "./cross-origin.ts";
import { ANSWERED_BY, MEANT, refusalOfMark } from "./forwarding-mark.ts";
import { checkHost, hostRefusal } from "./host-check.ts";
import { isUtf8, parseJsonBody } from "./json-body.ts";
import { isContinuation } from "./load-refusal.ts";
import { QueuedResponses } from "./queued-responses.ts";
import { Refusals } from "./refusals.ts";
import { routeTable } from "./route-table.ts";
import { answersHead, isClosedToPages, type Route } from "./route.ts";
import { isLeaving, type ServerParts } from "./server-parts.ts";
import { cutOffUnread } from "./unread-answer.ts";
import { bodyReadOf, EarlyShedding } from "./early-shedding.ts";

/** Longest part of a path that stands for a parameter; ids are shorter. */
const MAX_PARAM_LENGTH = 256;
/** How often connections that are too slow are looked for. */
const SLOW_CHECK_INTERVAL_MS = 1_000;
/** For the last bytes of a stopping server to reach readers that may never read them. */
const LAST_BYTES_MS = 2_000;

/** Builds the server; the caller listens with it and closes it. */
export function buildApp(parts: ServerParts): FastifyInstance {
  const refusals = new Refusals(parts);
  const clientErrors = new ClientErrors(parts.telemetry.metrics);
  const app = openFastify(parts, refusals, clientErrors);
  acceptJson(app, parts, refusals);

  const routes = routeTable(parts);
  const crossOrigin = new CrossOrigin(parts.config.http.corsOrigins);
  const queued = new QueuedResponses();
  app.addHook("onRequest", (request, reply, done) => {
    clientErrors.track(request.raw, reply.raw);
    queued.track(reply.raw);
    cutOffUnread(reply.raw, parts.config.http.unreadTimeoutMs);
    void reply.headers({ "x-request-id": request.id, "x-content-type-options": "nosniff" });
    crossOrigin.allow(request, reply);
    const wrongHost = hostRefusal(request.raw);
    if (wrongHost !== null) return done(wrongHost);
    // Before anything is done for it: who passes it on sent it to an address that is this one's now.
    const wrongReplica = refusalOfMark(request.headers, parts.forwarder?.tag);
    if (wrongReplica !== null) return done(wrongReplica);
    if (request.headers[MEANT] !== undefined) void reply.header(ANSWERED_BY, parts.forwarder?.tag);
    if (!request.is404) return done();
    const allow = allowedMethods(routes, request.url);
    if (allow.length > 0) void reply.header("allow", allow.join(", "));
    if (allow.length > 0 && request.method === "OPTIONS") return void reply.status(204).send();
    done(allow.length > 0 ? NO_SUCH_METHOD : NO_SUCH_ADDRESS);
  });
  addRoutes(app, { parts, refusals, routes, crossOrigin });
  app.addHook("onSend", (_request, reply, payload, done) => {
    // Not before: an answer may be long in coming.
    if (isLeaving(parts)) void reply.header("connection", "close");
    done(null, payload);
  });
  closeInTime(app);
  return app;
}

/**
 * Routes check their input with zod. Fastify would load its own compilers all the same, which costs
 * every start 80 ms and every server 4 MiB.
 */
const NO_COMPILERS = { buildValidator: noCompiler, buildSerializer: noCompiler };

function noCompiler(): never {
  throw new Error("A route has a schema for Fastify, which has no compiler for it");
}

function openFastify(
  parts: ServerParts,
  refusals: Refusals,
  clientErrors: ClientErrors,
): FastifyInstance {
  const { bodyLimitBytes, requestTimeoutMs, maxConnections } = parts.config.http;
  const app = fastify({
    loggerInstance: quietLog(parts),
    logController: new LogController({ disableRequestLogging: true }),
    // What is logged about a request names its id; a logger for each costs more than a refusal.
    childLoggerFactory: (logger) => logger,
    genReqId: () => randomUUID(),
    schemaController: { compilersFactory: NO_COMPILERS },
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH, ignoreTrailingSlash: true },
    rewriteUrl: ({ url = "/" }) => originFormOf(url),
    http: {
      headersTimeout: requestTimeoutMs,
      connectionsCheckingInterval: SLOW_CHECK_INTERVAL_MS,
      // Node would refuse without a word of why.
      requireHostHeader: false,
    },
    clientErrorHandler: (error, socket) => clientErrors.answer(error, socket),
    // Requests that come while the server closes are answered by the gate.
    return503OnClosing: false,
    forceCloseConnections: "idle",
    frameworkErrors: (error, request, reply) => void refusals.refuse(error, request, reply),
  });
  app.setErrorHandler((error, request, reply) => refusals.refuse(error, request, reply));
  app.setNotFoundHandler((request, reply) => refusals.send(NO_SUCH_ADDRESS, request, reply));

  const { server } = app;
  server.maxConnections = maxConnections;
  // Node would drop the answer to a client that has ended its side after the request.
  Object.assign(server, { httpAllowHalfOpen: true });
  // The client waits with the body until it is wanted: it may be refused first.
  server.on("checkContinue", (request, response) => server.emit("request", request, response));
  server.on("checkExpectation", (request, response) => server.emit("request", request, response));
  server.on("connect", (_request, socket) => answerConnect(socket));
  return app;
}

/** For what goes wrong within Fastify; what it has to tell beyond that, we say ourselves. */
function quietLog({ telemetry }: ServerParts): FastifyBaseLogger {
  const log = telemetry.log.child({});
  if (log.isLevelEnabled("info")) log.level = "warn";
  return log;
}

function acceptJson(app: FastifyInstance, parts: ServerParts, refusals: Refusals): void {
  const bodies = new BodiesInFlight(parts.config.http);
  app.addHook("preParsing", (request, reply, payload, done) => {
    const { headers, raw } = request;
    const encoding = headers["content-encoding"] ?? "identity";
    if (encoding.toLowerCase() !== "identity") return done(COMPRESSED);
    const bytes = Number(headers["content-length"] ?? 0);
    if (bytes > parts.config.http.bodyLimitBytes) return done(TOO_LARGE);
    // Some clients name a type where they send nothing: it is the type of nothing.
    if (bytes === 0 && headers["transfer-encoding"] === undefined) delete headers["content-type"];
    if (!isUtf8(headers["content-type"])) return done(OTHER_CHARSET);
    if (!bodies.take(reply.raw)) return void refusals.send(TOO_MANY_BODIES, request, reply);
    // A client of HTTP/1.0 knows no interim answers.
    const waits = raw.httpVersion === "1.1" && /^100-continue$/i.test(headers.expect ?? "");
    if (waits) reply.raw.writeContinue();
    done(null, bodyReadOf(request) ?? payload);
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => {
    try {
      done(null, parseJsonBody(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
}

declare module "fastify" {
  interface FastifyRequest {
    /** Null until the request has passed the gate of its route, and on public routes. */
    caller: Caller | null;
  }
}

interface RouteDeps {
  readonly parts: ServerParts;
  readonly refusals: Refusals;
  readonly routes: readonly Route[];
  readonly crossOrigin: CrossOrigin;
}

function addRoutes(app: FastifyInstance, deps: RouteDeps): void {
  const { parts, refusals, routes, crossOrigin } = deps;
  const { authenticator } = parts;
  const earlyShedding = new EarlyShedding(parts);
  const allowedHosts = hostsOf(parts.config);
  app.decorateRequest("caller", null);
  for (const route of routes) {
    const { method, path: url, access } = route;
    app.route({
      method,
      url,
      exposeHeadRoute: answersHead(route),
      onRequest: (request, reply, done) => {
        try {
          if (access !== "public") {
            if (!authenticator.isOn) checkHost(request.headers.host, allowedHosts);
            const { caller, login } = authenticator.authenticate(request, access);
            request.caller = caller;
            if (login !== null) forLogin(login, reply);
          }
          // Checked before load: a refusal for load is counted, and lengthens the Retry-After of others.
          if (isClosedToPages(route) && !authenticator.isOn) crossOrigin.check(request);
          const asker = request.caller ?? NOBODY;
          if (route.startsTurn !== true || isContinuation(parts, request, asker)) return done();
          const answer = (found: Refusal | null): void => {
            if (found === null) done();
            else refusals.send(found, request, reply);
          };
          const refusal = earlyShedding.refusalOf(request, asker);
          const refuse = (error: unknown) => refusals.refuse(error, request, reply);
          if (refusal instanceof Promise) void refusal.then(answer).catch(refuse);
          else answer(refusal);
        } catch (error) {
          done(error as Error);
        }
      },
      handler: (request, reply) => {
        const params = request.params as Readonly<Record<string, string>>;
        const caller = request.caller ?? NOBODY;
        return route.handle({ request, reply, caller, param: (name) => params[name] ?? "" });
      },
    });
  }
}

/** With the name by which the other replicas ask, that no stranger has chosen. */
function hostsOf({ http, sessions }: ServerParts["config"]): readonly string[] {
  const { replicaAddress } = sessions;
  if (replicaAddress === null) return http.allowedHosts;
  return [...http.allowedHosts, new URL(replicaAddress).hostname];
}

/** What a browser is sent for its cookie is for nobody else, and for no longer than it counts. */
function forLogin(login: Login, reply: FastifyReply): void {
  void reply.header("cache-control", "no-store");
  login.hold(reply.raw);
}

/** The caller of a public route, who may see nothing of any tenant. */
const NOBODY: Caller = { id: "nobody", tenant: "", role: "caller", priority: "normal" };

/** A client that never reads its answer must not keep the server from closing. */
function closeInTime(app: FastifyInstance): void {
  let timer: NodeJS.Timeout | undefined;
  app.addHook("preClose", (done) => {
    timer = setTimeout(() => app.server.closeAllConnections(), LAST_BYTES_MS);
    done();
  });
  app.server.once("close", () => clearTimeout(timer));
}

// Always the same, so made once.
const NO_SUCH_ADDRESS = new AppError(
  "not_found",
  "Cannot find what was asked for: there is no such address",
);
const NO_SUCH_METHOD = new AppError(
  "method_not_allowed",
  "Cannot take the request: the address is there, but not for this method",
);
const TOO_LARGE = new AppError("payload_too_large", "Cannot take the body: it is too large");
const OTHER_CHARSET = new AppError(
  "unsupported_media_type",
  "Cannot read the body: its charset is not UTF-8",
);
const COMPRESSED = new AppError(
  "unsupported_media_type",
  "Cannot read the body: it has a Content-Encoding, and only plain bodies are read",
);
