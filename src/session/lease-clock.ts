/**
 * The time by which leases of other replicas are judged. While the store is down nobody can renew
 * one, nor bring over a turn that has ended: after that they are given the time to. So an outage is
 * remembered for as long as a lease lasts; and a replica that has just started, and cannot know
 * whether there was one, waits as long.
 *
 * @module
 */

import { hasCode } from "../lib/errors.ts";
import type { LeaseTerms } from "./stores/session-head.ts";

/** In the time of a lease, so that no outage that can end one goes unseen. */
const ASKS = 3;

export class LeaseClock {
  readonly #holder: string;
  readonly #leaseTimeMs: number;
  #outageAtMs = -Infinity;

  constructor(holder: string, leaseTimeMs: number) {
    this.#holder = holder;
    this.#leaseTimeMs = leaseTimeMs;
  }

  /** Sees outages also while there is nothing to ask the store for. Disposing ends it. */
  watch(ask: () => Promise<unknown>): Disposable {
    this.#outageAtMs = Date.now();
    const look = (): void => void this.asked(ask).catch(() => {});
    const timer = setInterval(look, this.#leaseTimeMs / ASKS).unref();
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  /** Does what needs the store, and remembers when it did not answer. */
  async asked<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (thrown) {
      this.saw(thrown);
      throw thrown;
    }
  }

  /** The store may have failed to answer. */
  saw(thrown: unknown): void {
    if (hasCode(thrown, "store_unavailable")) this.#outageAtMs = Date.now();
  }

  /** On which this replica takes a session. */
  terms(nowMs: number): LeaseTerms {
    const wasAway = nowMs - this.#outageAtMs < this.#leaseTimeMs;
    return {
      holder: this.#holder,
      leaseTimeMs: this.#leaseTimeMs,
      nowMs,
      judgedAtMs: wasAway ? nowMs - this.#leaseTimeMs : nowMs,
    };
  }
}
