/**
 * How many sessions each tenant has, and the limit on it. A directory is counted once; after that
 * a number for each tenant is enough, as nobody else writes to the data directory. A store is
 * counted anew from time to time, as other replicas begin and delete sessions in it.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";

export interface SessionCountsOptions {
  readonly maxPerTenant: number;
  /** Counts what is there. */
  readonly countSessions: (tenant: string) => Promise<number>;
  /** Whether others begin and delete sessions, too. */
  readonly isShared?: boolean;
}

interface Counter {
  sessions: number;
  readonly countedAtMs: number;
}

/** For so long a count is good enough to begin a session on, where others have some, too. */
const COUNT_TIME_MS = 5 * 60 * 1000;
/** And to refuse one: who has reached the limit, and goes on asking, costs a count in this time. */
const REFUSAL_TIME_MS = 60 * 1000;

export class SessionCounts {
  readonly #options: SessionCountsOptions;
  readonly #counters = new Map<string, Promise<Counter>>();

  constructor(options: SessionCountsOptions) {
    this.#options = options;
  }

  async count(tenant: string): Promise<number> {
    return (await this.#counterOf(tenant, COUNT_TIME_MS)).sessions;
  }

  /**
   * Takes a place for a new session.
   *
   * @throws {AppError} `too_many_sessions`
   */
  async take(tenant: string): Promise<void> {
    const counter = await this.#newestOf(tenant);
    // No await from here on: two new sessions cannot share the last place.
    this.#mustHavePlace(counter);
    counter.sessions += 1;
  }

  /** Whether a new session would find a place now. @throws {AppError} `too_many_sessions` */
  async check(tenant: string): Promise<void> {
    this.#mustHavePlace(await this.#newestOf(tenant));
  }

  /** A session has gone. Where nothing was counted yet, the next count will not find it. */
  async giveBack(tenant: string): Promise<void> {
    const counter = await this.#counters.get(tenant);
    // It may be of a session that another replica has begun, and this one has not counted.
    if (counter !== undefined) counter.sessions = Math.max(0, counter.sessions - 1);
  }

  /** The count of a tenant, as new as it takes to begin a session, or to refuse one. */
  async #newestOf(tenant: string): Promise<Counter> {
    const counter = await this.#counterOf(tenant, COUNT_TIME_MS);
    if (counter.sessions < this.#options.maxPerTenant) return counter;
    return this.#counterOf(tenant, REFUSAL_TIME_MS);
  }

  #mustHavePlace({ sessions }: Counter): void {
    const { maxPerTenant } = this.#options;
    if (sessions < maxPerTenant) return;
    const state = `the tenant has ${sessions}, and may have ${maxPerTenant}`;
    throw new AppError("too_many_sessions", `Cannot start the session: ${state}`);
  }

  /** @param timeMs How old a count may be. */
  async #counterOf(tenant: string, timeMs: number): Promise<Counter> {
    const known = this.#counters.get(tenant);
    if (known !== undefined && !this.#isOlder(await known, timeMs)) return known;
    // Another one may have begun to count meanwhile.
    const now = this.#counters.get(tenant);
    if (now !== undefined && now !== known) return now;
    const counter = this.#options
      .countSessions(tenant)
      .then((sessions) => ({ sessions, countedAtMs: monotonicMs() }));
    // A count that failed is tried again by the next one who asks; this one gets the error.
    counter.catch(() => this.#counters.delete(tenant));
    this.#counters.set(tenant, counter);
    return counter;
  }

  #isOlder({ countedAtMs }: Counter, timeMs: number): boolean {
    return this.#options.isShared === true && monotonicMs() - countedAtMs > timeMs;
  }
}
