/**
 * Before the body is read: what cannot be carried need not be received.
 *
 * @module
 */

import { shedError } from "../capacity/shed-error.ts";
import { AppError } from "../lib/errors.ts";
import type { ServerParts } from "./server-parts.ts";

/** When to come back to a replica that is not ready: it tries again by itself. */
const NOT_READY_RETRY_SECONDS = 1;

/** @throws {AppError} `not_ready`, `draining`, `at_capacity`: the refusal is counted. */
export function refuseLoad({ gate, readiness }: Pick<ServerParts, "gate" | "readiness">): void {
  if (readiness.state === "starting" || readiness.state === "broken") {
    throw new AppError("not_ready", `Cannot start the turn: ${readiness.reason}`, {
      retryAfterSeconds: NOT_READY_RETRY_SECONDS,
    });
  }
  const shed = gate.shedEarly(Date.now());
  if (shed !== null) throw shedError(shed);
}
