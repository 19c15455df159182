/**
 * Exports that are being sent: a server that stops lets them end within its grace, as it does turns.
 *
 * @module
 */

import type { FastifyReply } from "fastify";
import { settlesWithin } from "../lib/settles-within.ts";

export class OpenExports {
  readonly #open = new Set<Promise<void>>();

  /** Until the client has all of it, or is gone. */
  track({ raw }: Pick<FastifyReply, "raw">): void {
    if (raw.closed) return;
    const closed = new Promise<void>((resolve) => void raw.once("close", resolve));
    this.#open.add(closed);
    void closed.then(() => this.#open.delete(closed));
  }

  /** Waits for those that are open, at most `graceMs`. Aborting `hurry` ends the wait at once. */
  async drain(graceMs: number, hurry: AbortSignal): Promise<void> {
    await settlesWithin(Promise.all(this.#open), graceMs, hurry);
  }
}
