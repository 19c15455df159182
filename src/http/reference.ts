/**
 * The route table, the table of errors and the answers to a hint as documents, for the docs. Pure.
 *
 * @module
 */

import { table } from "../config/reference.ts";
import { ERRORS } from "../lib/errors.ts";
import { isWarm, WARM_REASONS, type WarmReason } from "../turn/warm-session.ts";
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

/** One row an answer to the announcement of a turn. */
export function warmTable(): string {
  const reasons = Object.entries(WARM_REASONS) as [WarmReason, string][];
  return table(
    ["`reason`", "`warm`", "What it means"],
    reasons.map(([reason, meaning]) => [`\`${reason}\``, `\`${isWarm(reason)}\``, meaning]),
  );
}
