/**
 * Which names a server without keys answers to. A web page can make its own name point to this
 * machine and so reach the server from a visitor's browser; the Host header gives it away (DNS
 * rebinding). An address in the header is no name that could be pointed elsewhere.
 *
 * @module
 */

import { isIP } from "node:net";
import { AppError } from "../lib/errors.ts";

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
