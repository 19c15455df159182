/**
 * The rehearsal: a scripted Messages API on the loopback address. Claude Code is pointed at it by
 * `ANTHROPIC_BASE_URL`; only the words are scripted, all else of a turn is real. It keeps nothing
 * of a request once it is answered, and never asks anything of the network.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { MIB } from "../lib/byte-units.ts";
import { errnoOf } from "../lib/errno.ts";
import { AppError } from "../lib/errors.ts";
import { type ApiError, apiError, encodeApiError } from "./api-error.ts";
import { isMessagesBody, type Message } from "./conversation.ts";
import { countInputTokens, planReply } from "./reply.ts";
import type { RehearsalScript } from "./script.ts";
import { sendWholeReply, streamReply } from "./send-reply.ts";

const HOST = "127.0.0.1";
const MAX_BODY_BYTES = 64 * MIB;
const MAX_CONNECTIONS = 1_024;
/** Longer than the pauses a tool makes between two requests of a turn. */
const KEEP_ALIVE_MS = 600_000;

export interface RehearsalOptions {
  readonly script: RehearsalScript;
  /** 0, the default, takes a free port. */
  readonly port?: number;
  /** Told of each `POST /v1/messages` before it is answered. */
  readonly onRequest?: (request: RehearsalRequest) => void;
}

/** What the model was asked. */
export interface RehearsalRequest {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly system: unknown;
  readonly toolNames: readonly string[];
  readonly stream: boolean;
  /** As received, so the key is among them. */
  readonly headers: IncomingHttpHeaders;
}

export interface Rehearsal extends AsyncDisposable {
  /** Without a slash at its end: the value for `ANTHROPIC_BASE_URL`. */
  readonly url: string;
  /** Requests for a message so far. */
  readonly requestCount: number;
  /** Requests that are being answered now, hanging ones among them. */
  readonly openRequestCount: number;
}

/**
 * Listens on the loopback address until disposed of, which breaks off what is still streaming.
 *
 * @throws {AppError} `cannot_listen` when the port is taken.
 */
export async function startRehearsal(options: RehearsalOptions): Promise<Rehearsal> {
  const state: RehearsalState = { requestCount: 0, openRequestCount: 0, failureCounts: [] };
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    state.openRequestCount += 1;
    response.once("close", () => {
      state.openRequestCount -= 1;
    });
    answer(request, response, options, state).catch(() => {
      // Whoever can reach the loopback address must not be able to end the whole server.
      if (response.headersSent) response.destroy();
      else refuse(response, apiError(500));
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  const port = await listen(server, options.port ?? 0);
  return {
    url: `http://${HOST}:${port}`,
    get requestCount() {
      return state.requestCount;
    },
    get openRequestCount() {
      return state.openRequestCount;
    },
    [Symbol.asyncDispose]: () => close(server),
  };
}

interface RehearsalState {
  requestCount: number;
  openRequestCount: number;
  /** By the place of the rule in the script, so it never grows past the script. */
  readonly failureCounts: number[];
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: RehearsalOptions,
  state: RehearsalState,
): Promise<void> {
  const path = request.url?.split("?", 1)[0];
  if (request.method === "HEAD") {
    response.writeHead(200).end();
    return;
  }
  const isMessage = path === "/v1/messages";
  if (request.method !== "POST" || !(isMessage || path === "/v1/messages/count_tokens")) {
    refuse(response, apiError(404));
    return;
  }
  const text = await readBody(request);
  if (text === "aborted" || response.destroyed) return;
  if (text === "too_large") {
    // The rest of the body would otherwise be read just to be thrown away.
    response.shouldKeepAlive = false;
    refuse(response, apiError(413));
  } else if (isMessage) answerMessage(request, response, text, options, state);
  else sendJson(response, JSON.stringify({ input_tokens: countInputTokens(text.length) }));
}

function answerMessage(
  request: IncomingMessage,
  response: ServerResponse,
  text: Buffer,
  { script, onRequest }: RehearsalOptions,
  state: RehearsalState,
): void {
  const body = parseJson(text);
  if (!isMessagesBody(body)) {
    refuse(response, apiError(400));
    return;
  }
  state.requestCount += 1;
  onRequest?.({
    model: body.model,
    messages: body.messages,
    system: body.system,
    toolNames: (body.tools ?? []).map((tool) => tool.name),
    stream: body.stream === true,
    headers: request.headers,
  });
  const reply = planReply(script, {
    body,
    bodyBytes: text.length,
    id: randomUUID().replaceAll("-", ""),
    requestNumber: state.requestCount,
    failureCounts: state.failureCounts,
  });
  if (reply.kind === "error") {
    state.failureCounts[reply.ruleIndex] = (state.failureCounts[reply.ruleIndex] ?? 0) + 1;
    refuse(response, reply.error);
  } else if (body.stream === true) streamReply(response, reply);
  else sendWholeReply(response, reply);
}

/** The body, or why there is none. What comes past the limit is not kept. */
async function readBody(request: IncomingMessage): Promise<Buffer | "too_large" | "aborted"> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MAX_BODY_BYTES) return "too_large";
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch {
    // The client left before its request was whole: there is nobody to answer.
    return "aborted";
  }
}

function parseJson(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString());
  } catch {
    return undefined;
  }
}

function refuse(response: ServerResponse, error: ApiError): void {
  const { retryAfterSeconds } = error;
  response.writeHead(error.status, {
    "content-type": "application/json",
    ...(retryAfterSeconds !== undefined && { "retry-after": String(retryAfterSeconds) }),
  });
  response.end(encodeApiError(error));
}

function sendJson(response: ServerResponse, text: string): void {
  response.writeHead(200, { "content-type": "application/json" }).end(text);
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      const message = `Cannot listen on ${HOST}:${port}: ${errnoOf(cause) ?? "unknown"}`;
      reject(new AppError("cannot_listen", message, { cause }));
    });
    server.listen(port, HOST, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
