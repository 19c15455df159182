/**
 * How many sessions each tenant has, and the limit on it. A directory is counted once; after that
 * a number for each tenant is enough, as nobody else writes to the data directory.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";

export interface SessionCountsOptions {
  readonly maxPerTenant: number;
  /** Counts what is there. */
  readonly countSessions: (tenant: string) => Promise<number>;
}

export class SessionCounts {
  readonly #options: SessionCountsOptions;
  readonly #counters = new Map<string, Promise<{ sessions: number }>>();

  constructor(options: SessionCountsOptions) {
    this.#options = options;
  }

  async count(tenant: string): Promise<number> {
    return (await this.#counterOf(tenant)).sessions;
  }

  /**
   * Takes a place for a new session.
   *
   * @throws {AppError} `too_many_sessions`
   */
  async take(tenant: string): Promise<void> {
    const counter = await this.#counterOf(tenant);
    const { maxPerTenant } = this.#options;
    // No await from here on: two new sessions cannot share the last place.
    if (counter.sessions >= maxPerTenant) {
      const state = `the tenant has ${counter.sessions}, and may have ${maxPerTenant}`;
      throw new AppError("too_many_sessions", `Cannot start the session: ${state}`);
    }
    counter.sessions += 1;
  }

  async giveBack(tenant: string): Promise<void> {
    (await this.#counterOf(tenant)).sessions -= 1;
  }

  #counterOf(tenant: string): Promise<{ sessions: number }> {
    let counter = this.#counters.get(tenant);
    if (counter === undefined) {
      counter = this.#options.countSessions(tenant).then((sessions) => ({ sessions }));
      // A count that failed is tried again by the next one who asks; this one gets the error.
      counter.catch(() => this.#counters.delete(tenant));
      this.#counters.set(tenant, counter);
    }
    return counter;
  }
}
