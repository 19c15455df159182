/**
 * Which names a server without keys answers to. A web page can make its own name point to this
 * machine and so reach the server from a visitor's browser; the Host header gives it away (DNS
 * rebinding). An address in the header is no name that could be pointed elsewhere.
 *
 * @module
 */

import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { AppError } from "../lib/errors.ts";

/**
 * The refusal of a request without a Host, which HTTP/1.0 allows, or with several (RFC 9112, section
 * 3.2).
 */
export function hostRefusal({ httpVersion, rawHeaders }: IncomingMessage): AppError | null {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === "host") hosts += 1;
  }
  if (hosts > 1) return MANY_HOSTS;
  return hosts === 0 && httpVersion === "1.1" ? NO_HOST : null;
}

// Always the same, so made once.
const NO_HOST = new AppError("invalid_request", "Cannot take the request: it has no Host header");
const MANY_HOSTS = new AppError(
  "invalid_request",
  "Cannot take the request: it has more than one Host header",
);

/** @throws {AppError} `misdirected_request` */
export function checkHost(hostHeader: string | undefined, allowedHosts: readonly string[]): void {
  const host = (hostHeader ?? "").toLowerCase().replace(/:\d*$/, "");
  if (isAddress(host) || host === "localhost" || host.endsWith(".localhost")) return;
  if (allowedHosts.some((allowed) => allowed.toLowerCase() === host)) return;
  throw new AppError("misdirected_request", "Cannot take the request: its Host is not this server");
}

function isAddress(host: string): boolean {
  const inBrackets = /^\[(.*)\]$/.exec(host)?.[1];
  return inBrackets === undefined ? isIP(host) === 4 : isIP(inBrackets) === 6;
}
