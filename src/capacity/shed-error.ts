/**
 * A refusal of the gate as its caller gets it.
 *
 * @module
 */

import { AppError, type Refusal } from "../lib/errors.ts";
import type { Shed } from "./shed.ts";

/** `draining` or `at_capacity`, with when to come back and what was full. */
export function shedRefusal(shed: Shed): Refusal {
  const { reason, retryAfterSeconds, inflight, capacity } = shed;
  if (reason === "draining") {
    const message = "Cannot start the turn: the replica is shutting down";
    return { code: "draining", message, details: { retryAfterSeconds } };
  }
  const extensions = { reason, inflight, capacity, "violated-policies": ["turns"] };
  return {
    code: "at_capacity",
    message: `Cannot start the turn: ${shed.text}`,
    details: { retryAfterSeconds, extensions },
  };
}

/** The same as a failure, for where it has to be thrown. */
export function shedError(shed: Shed): AppError {
  const { code, message, details } = shedRefusal(shed);
  return new AppError(code, message, details);
}
