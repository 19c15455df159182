/**
 * Connections whose bytes never became a request: malformed, too large, too slow. There is no
 * request to answer, so the response is written by hand.
 *
 * @module
 */

import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { AppError, type ErrorCode } from "../lib/errors.ts";
import { PROBLEM_MEDIA_TYPE, toProblem } from "../protocol/problem.ts";
import type { Metrics } from "../telemetry/metrics.ts";

export class ClientErrors {
  readonly #metrics: Pick<Metrics, "requestRefused">;
  /** The response that each connection waits for. */
  readonly #responses = new WeakMap<Duplex, ServerResponse>();
  /** Connections that take no more: every further byte on them is an error again. */
  readonly #closing = new WeakSet<Duplex>();

  constructor(metrics: Pick<Metrics, "requestRefused">) {
    this.#metrics = metrics;
  }

  /** To be told of every request, so that garbage after it does not spoil its answer. */
  track(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    this.#responses.set(socket, response);
    // Held until the next request comes, answers would outlive the young garbage by the thousand.
    response.once("finish", () => {
      if (this.#responses.get(socket) === response) this.#responses.delete(socket);
    });
  }

  answer(error: Error & { code?: string }, socket: Socket): void {
    if (this.#closing.has(socket)) return;
    this.#closing.add(socket);
    // A reset connection has no one left to answer.
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
      return;
    }
    const response = this.#responses.get(socket);
    if (response === undefined) {
      this.#refuse(error.code, socket);
    } else if (response.req.complete) {
      // What came after a whole request is dropped with the connection, once that is answered.
      response.once("close", () => socket.destroySoon());
    } else if (response.headersSent) {
      socket.destroySoon();
    } else {
      this.#refuse(error.code, socket);
    }
  }

  #refuse(errorCode: string | undefined, socket: Socket): void {
    const [code, message] = CLIENT_ERRORS[errorCode ?? ""] ?? MALFORMED;
    this.#metrics.requestRefused(code);
    answerByHand(new AppError(code, message), socket);
  }
}

/** Answers CONNECT, for which Node would merely hang up: this is no proxy. */
export function answerConnect(socket: Duplex): void {
  const message = "Cannot take a CONNECT: this server is no proxy";
  answerByHand(new AppError("method_not_allowed", message), socket, "Allow: GET, POST, DELETE\r\n");
}

/** For a client that is still sending to see the answer, before the connection is cut. */
const LINGER_MS = 1_000;

function answerByHand(refusal: AppError, socket: Duplex, extraHeaders = ""): void {
  const problem = toProblem(refusal, { instance: "about:blank" });
  const body = JSON.stringify(problem);
  socket.on("error", () => undefined);
  const cut = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(cut));
  socket.end(
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? "Error"}\r\n` +
      `Content-Type: ${PROBLEM_MEDIA_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `${extraHeaders}Connection: close\r\n\r\n${body}`,
  );
}

const MALFORMED: readonly [ErrorCode, string] = [
  "invalid_request",
  "Cannot read the request: it is not HTTP/1.1",
];

const CLIENT_ERRORS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  HPE_HEADER_OVERFLOW: ["headers_too_large", "Cannot read the request: its headers are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: ["request_timeout", "Cannot read the request: it came too slowly"],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [
    "payload_too_large",
    "Cannot read the request: its chunk extensions are too large",
  ],
};
