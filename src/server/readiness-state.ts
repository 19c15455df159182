/**
 * Whether a server takes turns, as it changes. Once it drains, that is its last state: a check that
 * was under way must not have it ready again.
 *
 * @module
 */

import type { Readiness } from "../http/server-parts.ts";

export class ReadinessState implements Readiness {
  #state: Readiness["state"] = "starting";
  #reason = "the server is starting";

  get state(): Readiness["state"] {
    return this.#state;
  }

  get reason(): string {
    return this.#reason;
  }

  /** @param reason Why, in words; empty for `ready`. */
  become(state: Readiness["state"], reason: string): void {
    if (this.#state === "draining") return;
    this.#state = state;
    this.#reason = reason;
  }
}
