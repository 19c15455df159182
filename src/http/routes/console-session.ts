/**
 * Who looks at the console: the login of operators, where the server has keys.
 *
 * @module
 */

import { z } from "zod";
import { AppError } from "../../lib/errors.ts";
import { monotonicMs } from "../../lib/monotonic-clock.ts";
import { checkInput, invalidBody } from "../../protocol/input.ts";
import type { LoginDoor } from "../auth.ts";
import { FailedLogins } from "../console/failed-logins.ts";
import { refuseForeign } from "../cross-origin.ts";
import { checkHost } from "../host-check.ts";
import { jsonAnswer, type Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";

const PATH = "/console/session";

const sessionSchema = z.object({
  auth: z.boolean().describe("Whether the server has keys; without them anyone is an operator."),
  caller: z
    .object({ id: z.string(), tenant: z.string(), role: z.enum(["caller", "operator"]) })
    .nullable()
    .describe("Null for whoever has to log in first."),
  mayTryLoad: z.boolean().describe("Whether the page offers to send many turns at once."),
  replicas: z
    .array(z.object({ id: z.string(), name: z.string() }))
    .describe("Others whose feed is at `/v1/replicas/{id}/feed`; none before the login."),
});

const loginSchema = z.strictObject({
  key: z.string().min(1).max(1_024).describe("A key with the role `operator`."),
});

export function consoleSessionRoutes(parts: ServerParts): Route[] {
  return [readSession(parts), logIn(parts, new FailedLogins()), logOut(parts)];
}

function readSession(parts: ServerParts): Route {
  return {
    method: "GET",
    path: PATH,
    access: "public",
    docs: {
      operationId: "readConsoleSession",
      summary: "Who the console is used by, and what it may show",
      answers: [jsonAnswer("The session", sessionSchema)],
      errors: ["misdirected_request"],
    },
    handle({ request, reply }) {
      const { authenticator, config } = parts;
      if (!authenticator.isOn) checkHost(request.headers.host, config.http.allowedHosts);
      const caller = authenticator.visitor(request);
      const replicas = caller === null ? [] : config.console.replicas;
      void reply.header("cache-control", "no-store");
      return {
        auth: authenticator.isOn,
        caller:
          caller === null ? null : { id: caller.id, tenant: caller.tenant, role: caller.role },
        mayTryLoad: config.console.mayTryLoad,
        replicas: replicas.map(({ name }) => ({ id: name, name })),
      };
    },
  };
}

function logIn(parts: ServerParts, failed: FailedLogins): Route {
  return {
    method: "POST",
    path: PATH,
    access: "public",
    docs: {
      operationId: "logInToConsole",
      summary: "Log an operator in: the cookie then stands for the key, for the console alone",
      body: loginSchema,
      answers: [{ status: 204, description: "Logged in; the cookie is set" }],
      errors: [
        "invalid_request",
        "unauthorized",
        "forbidden",
        "not_found",
        "too_many_logins",
        "storage_full",
        "storage_failed",
      ],
    },
    async handle({ request, reply }) {
      const { headers, raw } = request;
      refuseForeign(headers);
      const { logins, cookie } = doorOf(parts);
      const body = checkInput(loginSchema, request.body);
      if (!body.ok) throw invalidBody(body.errors);
      const key = operatorKeyOf(parts, failed, body.value.key, raw.socket.remoteAddress);
      const word = await logins.begin(key, Date.now());
      parts.telemetry.log.info({ callerId: key.id }, "An operator has logged in to the console");
      return reply
        .status(204)
        .headers({
          "cache-control": "no-store",
          "set-cookie": cookie.set(word, logins.sessionTimeMs, headers),
        })
        .send();
    },
  };
}

/** @throws {AppError} `not_found` where there are no keys. */
function doorOf({ door }: ServerParts): LoginDoor {
  if (door !== null) return door;
  throw new AppError("not_found", "Cannot log in: this server has no keys, and takes everyone");
}

/** @throws {AppError} `too_many_logins`, `unauthorized`, `forbidden` */
function operatorKeyOf(
  { authenticator }: ServerParts,
  failed: FailedLogins,
  text: string,
  address: string | undefined,
) {
  const nowMs = monotonicMs();
  const retryAfterSeconds = failed.waitSeconds(address, nowMs);
  // Also for the right key: an answer to it would be the answer that is looked for.
  if (retryAfterSeconds !== null) {
    const state = "too many keys that are not known came from this address";
    throw new AppError("too_many_logins", `Cannot log in: ${state}`, { retryAfterSeconds });
  }
  const key = authenticator.keyOf(text);
  if (key === undefined) {
    failed.count(address, nowMs);
    throw new AppError("unauthorized", "Cannot log in: the key is not known");
  }
  if (key.role === "operator") return key;
  throw new AppError("forbidden", "Cannot log in: the console is for the role operator");
}

function logOut(parts: ServerParts): Route {
  return {
    method: "DELETE",
    path: PATH,
    access: "public",
    docs: {
      operationId: "logOutOfConsole",
      summary: "Log out: the cookie stands for nothing any more, and its streams end",
      answers: [{ status: 204, description: "Logged out, or never in" }],
      errors: ["storage_full", "storage_failed"],
    },
    async handle({ request, reply }) {
      refuseForeign(request.headers);
      const { door } = parts;
      void reply.header("cache-control", "no-store");
      if (door === null) return reply.status(204).send();
      void reply.header("set-cookie", door.cookie.forget());
      for (const word of door.cookie.wordsIn(request.headers)) await door.logins.end(word);
      return reply.status(204).send();
    },
  };
}
