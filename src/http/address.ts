/**
 * Addresses as requests have them, and which methods one takes: for the answer to those that it
 * does not.
 *
 * @module
 */

import { answersHead, type Route } from "./route.ts";

/**
 * The path with what follows, also of an address in absolute form, as proxies send it. `*` and the
 * names of other servers are no addresses here, but they need one to be refused at.
 */
export function originFormOf(target: string): string {
  const rest = target.replace(/^https?:\/\/[^/?#]*/i, "");
  return rest.startsWith("/") ? rest : `/${rest}`;
}

/** Empty for an address that is not there. Reads the path as the router does. */
export function allowedMethods(routes: readonly Route[], url: string): readonly string[] {
  const path = url.replace(/[?#].*$/s, "").replace(/\/$/, "") || "/";
  const segments = path.split("/").map(decoded);
  const methods = routes
    .filter((route) => fits(route.path.split("/"), segments))
    .flatMap((route) => (answersHead(route) ? ["GET", "HEAD"] : [route.method]));
  return methods.length === 0 ? [] : [...new Set(methods), "OPTIONS"];
}

function fits(pattern: readonly string[], segments: readonly string[]): boolean {
  return (
    pattern.length === segments.length &&
    pattern.every((part, at) =>
      part.startsWith(":") ? segments[at] !== "" : part === segments[at],
    )
  );
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
