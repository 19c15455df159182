/**
 * Which names a server without keys answers to. A web page can make its own name point to
 * 127.0.0.1 and so reach a server on loopback from a visitor's browser; the Host header gives it
 * away (DNS rebinding).
 *
 * @module
 */

import { isIP } from "node:net";
import { AppError } from "../lib/errors.ts";

export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, "").toLowerCase();
  if (name === "localhost" || name.endsWith(".localhost")) return true;
  return isIP(name) === 4 ? name.startsWith("127.") : name === "::1";
}

/** @throws {AppError} `misdirected_request` */
export function checkHost(hostHeader: string | undefined, allowedHosts: readonly string[]): void {
  const name = (hostHeader ?? "").replace(/:\d+$/, "").toLowerCase();
  if (isLoopback(name) || allowedHosts.includes(name)) return;
  throw new AppError("misdirected_request", "Cannot take the request: its Host is not this server");
}
