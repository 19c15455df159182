/**
 * The time by which leases of other replicas are judged. While the store is away nobody can renew
 * one, nor upload a turn that has ended: so a lease that was valid when an outage began stays valid for
 * one full lease time after the outage ends: its holder needs that long to renew it. A replica that has just started cannot know
 * of outages, and waits as long for whoever has any lease.
 *
 * How long it was is measured by a clock that nobody sets: one that is set back would have a replica
 * respect the leases of the dead for as long.
 *
 * @module
 */

import { hasCode } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { LeaseTerms } from "./stores/session-head.ts";

/** How often the store is asked in the time of a lease, so that no outage that can end one goes unseen. */
const ASKS = 3;
/**
 * The shortest silence of the store that is an outage, as a part of the time of a lease. A shorter
 * silence ends no lease, because two thirds of each are still left as it begins. Were it an outage, a
 * call that fails now and then, among many that do not, would keep the leases of the dead for ever.
 */
const SHORTEST_OUTAGE_RATIO = 1 / 6;

/**
 * A command sees the store for a moment, and nothing of the outages before. It respects each lease that
 * was not given back for so long after its end, since a turn that waits for a store is uploaded then:
 * longer than most outages, and not so long that nobody could look after what a dead replica had.
 */
export const COMMAND_GRACE_MS = 3_600_000;

/** A time in which the store was silent, by the clock that nobody sets. */
interface Outage {
  /** When the store had answered last. */
  readonly fromMs: number;
  readonly endedAtMs: number;
}

export class LeaseClock {
  readonly #holder: string;
  readonly #leaseTimeMs: number;
  readonly #graceMs: number;
  /** When the last call began that the store has answered. */
  #answeredAtMs = -Infinity;
  /** When the store had answered last before it failed to; null while it answers. */
  #silentFromMs: number | null = null;
  #outage: Outage = { fromMs: -Infinity, endedAtMs: -Infinity };

  /** @param graceMs For leases that were not given back; see {@link COMMAND_GRACE_MS}. */
  constructor(holder: string, leaseTimeMs: number, graceMs = 0) {
    this.#holder = holder;
    this.#leaseTimeMs = leaseTimeMs;
    this.#graceMs = graceMs;
  }

  /** Sees outages also while there is nothing to ask the store for. Disposing ends it. */
  watch(ask: () => Promise<unknown>): Disposable {
    const atMs = monotonicMs();
    this.#answeredAtMs = atMs;
    this.#outage = { fromMs: -Infinity, endedAtMs: atMs };
    const look = (): void => void this.asked(ask).catch(() => {});
    const timer = setInterval(look, this.#leaseTimeMs / ASKS).unref();
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  /** Does what needs the store, and remembers whether it answered. */
  async asked<Result>(work: () => Promise<Result>): Promise<Result> {
    const beganAtMs = monotonicMs();
    try {
      const result = await work();
      this.#answered(beganAtMs, monotonicMs());
      return result;
    } catch (thrown) {
      this.saw(thrown);
      throw thrown;
    }
  }

  /** The store may have failed to answer. */
  saw(thrown: unknown): void {
    if (hasCode(thrown, "store_unavailable")) this.#silentFromMs ??= this.#answeredAtMs;
  }

  /** The terms on which this replica takes a session. */
  terms(nowMs: number): LeaseTerms {
    const graceMs = this.#graceMs;
    const terms = { holder: this.#holder, leaseTimeMs: this.#leaseTimeMs, nowMs };
    const own = graceMs === 0 ? terms : { ...terms, graceMs };
    // When that is, or will be, by the other clock; and back.
    const atMs = monotonicMs() + nowMs - Date.now();
    const dateOf = (ms: number) => Math.round(nowMs + ms - atMs);
    const { fromMs, endedAtMs } = this.#outageAt(atMs);
    const graceEndsAtMs = dateOf(endedAtMs + this.#leaseTimeMs);
    if (nowMs >= graceEndsAtMs) return own;
    return { ...own, judgedAtMs: Math.max(0, dateOf(fromMs)), graceEndsAtMs };
  }

  #answered(beganAtMs: number, atMs: number): void {
    const silentFromMs = this.#silentFromMs;
    this.#answeredAtMs = Math.max(this.#answeredAtMs, beganAtMs);
    if (silentFromMs === null) return;
    if (atMs - silentFromMs >= SHORTEST_OUTAGE_RATIO * this.#leaseTimeMs) {
      this.#outage = this.#outageAt(atMs);
    }
    this.#silentFromMs = null;
  }

  /** The last outage; it ends now, at the earliest, if the store is silent. */
  #outageAt(atMs: number): Outage {
    if (this.#silentFromMs === null) return this.#outage;
    // Nobody had the time of a lease between two that are so close: they are one.
    const isNext = this.#silentFromMs - this.#outage.endedAtMs >= this.#leaseTimeMs;
    const fromMs = isNext ? this.#silentFromMs : this.#outage.fromMs;
    return { fromMs, endedAtMs: atMs };
  }
}
