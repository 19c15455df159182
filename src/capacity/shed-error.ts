/**
 * A refusal of the gate as the failure that its caller gets.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import type { Shed } from "./gate.ts";

/** `draining` or `at_capacity`, with when to come back and what was full. */
export function shedError(shed: Shed): AppError {
  const { reason, retryAfterSeconds, inflight, capacity } = shed;
  if (reason === "draining") {
    const message = "Cannot start the turn: the replica is shutting down";
    return new AppError("draining", message, { retryAfterSeconds });
  }
  return new AppError("at_capacity", `Cannot start the turn: ${shed.text}`, {
    retryAfterSeconds,
    extensions: { reason, inflight, capacity, "violated-policies": ["turns"] },
  });
}
