/**
 * Warnings of other replicas that do not answer. One that is gone is asked for by many, so it is in
 * the log once a minute.
 *
 * @module
 */

import type { AppError } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { Logger } from "../telemetry/log.ts";
import { failureCodeOf } from "./other-replica.ts";

const WARNING_INTERVAL_MS = 60_000;

export class ReplicaWarnings {
  readonly #log: Pick<Logger, "warn">;
  /** By tag, the oldest first. */
  readonly #warnedAtMs = new Map<string, number>();

  constructor(log: Pick<Logger, "warn">) {
    this.#log = log;
  }

  /** Without the address of the replica, nor a cause that has it. */
  warn(replicaTag: string, { message, cause }: AppError): void {
    const nowMs = monotonicMs();
    for (const [tag, atMs] of this.#warnedAtMs) {
      if (nowMs - atMs < WARNING_INTERVAL_MS) break;
      this.#warnedAtMs.delete(tag);
    }
    if (this.#warnedAtMs.has(replicaTag)) return;
    this.#warnedAtMs.set(replicaTag, nowMs);
    const fields = { replicaTag, errno: failureCodeOf(cause), reason: message };
    this.#log.warn(fields, "Another replica does not answer");
  }
}
