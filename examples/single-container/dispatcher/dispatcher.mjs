/**
 * Sends each turn to the replica of its session, and the answer back as it comes.
 *
 *     key ─▶ thread ─▶ replica, started if need be ─▶ turn ─▶ answer
 *     401    400       429 504                         (the replica's own)
 *
 * @module
 */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, request as openRequest } from "node:http";
import { pipeline } from "node:stream/promises";
import { Refusal } from "./refusal.mjs";

/** As `http.bodySize` of the replicas. */
const MAX_BODY_BYTES = 1024 * 1024;
const ASKED = [
  "accept",
  "content-type",
  "idempotency-key",
  "last-event-id",
  "traceparent",
  "tracestate",
];
const ANSWERED = [
  "cache-control",
  "content-type",
  "idempotent-replayed",
  "retry-after",
  "x-request-id",
  "x-turn-id",
];

/** Nothing was carried out: the turn may be sent to a replica that is started in its place. */
const ELSEWHERE = new Set(["draining", "other_session"]);
const NOBODY_THERE = new Set(["ECONNREFUSED", "EHOSTUNREACH"]);

/**
 * @param {object} options
 * @param {import("./replicas.mjs").Replicas} options.replicas
 * @param {string} options.agentName Of the agent that all replicas serve.
 * @param {ReadonlyMap<string, string>} options.tenants By the SHA-256 of their keys, in hex.
 * @param {string} options.replicaKey Key that the replicas know.
 * @param {(error: unknown) => void} options.onError
 */
export function createDispatcher(options) {
  return createServer((request, response) => {
    dispatch(options, request, response).catch((error) => {
      if (response.destroyed) return;
      if (response.headersSent) return void response.destroy();
      if (error instanceof Refusal) return error.send(response);
      options.onError(error);
      new Refusal(502, "dispatch_failed", "Cannot reach the replica of the session").send(response);
    });
  });
}

async function dispatch(options, request, response) {
  const { pathname } = new URL(request.url, "http://dispatcher");
  if (pathname === "/livez") return void response.end("alive\n");
  const tenant = tenantOf(request, options.tenants);
  const [, thread] = /^\/v1\/threads\/([^/]+)$/.exec(pathname) ?? [];
  const agent = `/v1/agents/${options.agentName}`;
  if (request.method === "DELETE" && thread !== undefined) {
    return deleteThread(options, nameOf(tenant, decodeURIComponent(thread)), response);
  }
  if (
    request.method === "POST" &&
    [`${agent}/turns`, `${agent}/agui`, "/agui"].includes(pathname)
  ) {
    const body = await readBody(request);
    return forward(options, { name: nameOf(tenant, threadOf(body)), body, request, response });
  }
  throw new Refusal(404, "not_found", "There is nothing at this address");
}

function tenantOf({ headers }, tenants) {
  const [, key = ""] = /^Bearer (\S+)$/i.exec(headers.authorization ?? "") ?? [];
  const tenant = tenants.get(createHash("sha256").update(key).digest("hex"));
  if (tenant === undefined) throw new Refusal(401, "unauthorized", "A valid key is needed");
  return tenant;
}

/** The same for the same session, whoever asks: so two dispatchers agree on it too. */
function nameOf(tenant, threadId) {
  const hash = createHash("sha256")
    .update(JSON.stringify([tenant, threadId]))
    .digest("hex");
  return `session-${hash.slice(0, 32)}`;
}

async function readBody(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Refusal(413, "payload_too_large", "Send less");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function threadOf(body) {
  try {
    const { threadId } = JSON.parse(body.toString("utf8"));
    if (typeof threadId === "string" && /^[^]{1,256}$/.test(threadId)) return threadId;
  } catch {
    // Said below.
  }
  throw new Refusal(400, "invalid_request", "A JSON object with the key `threadId` is needed");
}

async function forward({ replicas, replicaKey }, { name, body, request, response }) {
  for (let isLast = false; ; isLast = true) {
    const url = new URL(request.url, await replicas.addressOf(name));
    // Who left while it started wants no turn; nobody would be there to end it.
    if (response.destroyed) return;
    const headers = { ...pick(request.headers, ASKED), authorization: `Bearer ${replicaKey}` };
    const asked = openRequest(url, { method: "POST", headers });
    // Who leaves ends the turn: the replica sees it.
    response.once("close", () => asked.destroy());
    asked.end(body);
    const answer = await once(asked, "response").then(([first]) => first, unlessGone(isLast));
    if (answer === null) continue;
    const refusal = [421, 503].includes(answer.statusCode) ? await textOf(answer) : null;
    if (refusal !== null && !isLast && ELSEWHERE.has(codeOf(refusal))) continue;
    response.writeHead(answer.statusCode, pick(answer.headers, ANSWERED));
    if (refusal === null) await pipeline(answer, response);
    else response.end(refusal);
    return;
  }
}

/** Null for a replica that ended between its probe and the turn. */
function unlessGone(isLast) {
  return (error) => {
    if (!isLast && NOBODY_THERE.has(error.code)) return null;
    throw error;
  };
}

/** Ends the session, its replica with it, and what was kept of both. */
async function deleteThread({ replicas, replicaKey }, name, response) {
  const isThere = await replicas.has(name);
  if (isThere) {
    const sessions = `${await replicas.addressOf(name)}/v1/sessions`;
    const headers = { authorization: `Bearer ${replicaKey}` };
    const [session] = (await (await fetch(sessions, { headers })).json()).sessions;
    if (session !== undefined) {
      const url = `${sessions}/${session.sessionId}`;
      const answer = await fetch(url, { method: "DELETE", headers });
      if (!answer.ok) {
        response.writeHead(answer.status, pick(Object.fromEntries(answer.headers), ANSWERED));
        return void response.end(await answer.text());
      }
    }
  }
  const wasKept = await replicas.forget(name);
  if (!isThere && !wasKept) throw new Refusal(404, "session_not_found", "No such session");
  response.writeHead(204).end();
}

async function textOf(answer) {
  return Buffer.concat(await answer.toArray()).toString("utf8");
}

function codeOf(text) {
  try {
    return JSON.parse(text).code;
  } catch {
    return undefined;
  }
}

function pick(headers, names) {
  return Object.fromEntries(
    names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])),
  );
}
