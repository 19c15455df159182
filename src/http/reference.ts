/**
 * The route table and the table of errors as documents, for the docs. Pure.
 *
 * @module
 */

import { table } from "../config/reference.ts";
import { ERRORS } from "../lib/errors.ts";
import type { Route } from "./route.ts";

/** One row an address. */
export function routesTable(routes: readonly Route[]): string {
  return table(
    ["Method", "Address", "Needs", "What it does"],
    routes.map(({ method, path, access, docs }) => [
      method,
      `\`${path.replace(/:(\w+)/g, "{$1}")}\``,
      access === "public" ? "nothing" : `a key, role \`${access}\``,
      docs.summary,
    ]),
  );
}

/** One row a code, in the order of the table of errors. */
export function errorsTable(): string {
  return table(
    ["Code", "Status", "Again?", "Meaning", "What to do"],
    Object.entries(ERRORS).map(([code, { status, retryable, title, remedy }]) => [
      `\`${code}\``,
      String(status),
      retryable ? "yes" : "no",
      title,
      remedy,
    ]),
  );
}
