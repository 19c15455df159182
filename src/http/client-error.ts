/**
 * Connections whose bytes never became a request: malformed, too large, too slow. There is no
 * request to answer, so the response is written by hand.
 *
 * @module
 */

import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { AppError, type ErrorCode } from "../lib/errors.ts";
import { PROBLEM_MEDIA_TYPE, toProblem } from "../protocol/problem.ts";

export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  // A reset connection has no one left to answer.
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const refusal = refusalOf(error.code);
  const problem = toProblem(refusal, { instance: "about:blank" });
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? "Error"}\r\n` +
      `Content-Type: ${PROBLEM_MEDIA_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\n\r\n${body}`,
  );
}

function refusalOf(errorCode: string | undefined): AppError {
  const [code, message] = CLIENT_ERRORS[errorCode ?? ""] ?? MALFORMED;
  return new AppError(code, message);
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
