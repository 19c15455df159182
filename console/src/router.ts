/**
 * Which view is shown: the hash of the address, as in `#/sessions/5f0c…?agent=hello`. Views link
 * with plain `<a href="#/…">`; there is nothing else to navigate with.
 *
 * @module
 */

import { signal } from "@preact/signals";

export interface Route {
  /** First word of the path; empty for the load line. */
  readonly view: string;
  /** The words after it, decoded. */
  readonly rest: readonly string[];
  readonly query: URLSearchParams;
}

/** @param hash As `location.hash` has it, e.g. `#/chat/hello`. */
export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view = "", ...rest] = path.split("/").map(decoded);
  return { view, rest: rest.filter((word) => word !== ""), query: new URLSearchParams(query) };
}

/** An address for `<a href>`. */
export function hrefOf(
  view: string,
  rest: readonly string[] = [],
  query: Readonly<Record<string, string>> = {},
): string {
  const path = [view, ...rest].map(encodeURIComponent).join("/");
  const text = new URLSearchParams(query).toString();
  return `#/${path}${text === "" ? "" : `?${text}`}`;
}

export const route = signal<Route>(parseRoute(globalThis.location?.hash ?? ""));

globalThis.addEventListener?.("hashchange", () => {
  route.value = parseRoute(location.hash);
});

/** Addresses are typed by people, too: what cannot be decoded stands for itself. */
function decoded(word: string): string {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}
