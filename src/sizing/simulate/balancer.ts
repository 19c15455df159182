/**
 * Which replica an attempt is sent to. Each choice takes constant time, however many replicas there
 * are: the least busy ones are kept in buckets by their turns in flight.
 *
 * @module
 */

import type { Client } from "./client.ts";
import type { Random } from "./random.ts";
import type { Replica } from "./replica.ts";

export const BALANCING_POLICIES = [
  "random",
  "round-robin",
  "least-requests",
  "two-choices",
  "session-affine",
] as const;
export type BalancingPolicy = (typeof BALANCING_POLICIES)[number];

export class Balancer {
  readonly policy: BalancingPolicy;
  readonly #random: Random;
  readonly #up: Replica[] = [];
  readonly #byTurns: LeastBusy | null;
  #next = 0;

  constructor(policy: BalancingPolicy, random: Random) {
    this.policy = policy;
    this.#random = random;
    this.#byTurns = policy === "least-requests" ? new LeastBusy(random) : null;
  }

  get up(): readonly Replica[] {
    return this.#up;
  }

  add(replica: Replica): void {
    replica.place = this.#up.length;
    this.#up.push(replica);
    this.#byTurns?.add(replica, replica.inflight);
  }

  remove(replica: Replica): void {
    const last = this.#up.pop();
    if (last !== undefined && last !== replica) {
      this.#up[replica.place] = last;
      last.place = replica.place;
    }
    this.#byTurns?.remove(replica, replica.inflight);
    replica.place = -1;
  }

  /** A replica that is known here has one turn more or less than before. */
  changed(replica: Replica, before: number): void {
    if (this.#byTurns === null) return;
    this.#byTurns.remove(replica, before);
    this.#byTurns.add(replica, replica.inflight);
  }

  /** Null if there is none. */
  choose(client: Client): Replica | null {
    const count = this.#up.length;
    if (count === 0) return null;
    switch (this.policy) {
      case "random":
        return this.#any();
      case "round-robin":
        this.#next = (this.#next + 1) % count;
        return this.#up[this.#next] ?? null;
      case "least-requests":
        return this.#byTurns?.any() ?? null;
      case "two-choices":
        return this.#lessBusyOfTwo();
      case "session-affine":
        // A cookie names the replica; who has none, or whose replica is gone, is given another.
        return client.home?.state === "up" ? client.home : this.#any();
    }
  }

  /** The one after it, for an attempt that was refused there. */
  nextAfter(replica: Replica): Replica | null {
    return this.#up[(replica.place + 1) % this.#up.length] ?? null;
  }

  #any(): Replica | null {
    return this.#up[this.#random.below(this.#up.length)] ?? null;
  }

  #lessBusyOfTwo(): Replica | null {
    const count = this.#up.length;
    const first = this.#random.below(count);
    if (count === 1) return this.#up[0] ?? null;
    // Two that are not the same.
    const second = (first + 1 + this.#random.below(count - 1)) % count;
    const [one, other] = [this.#up[first], this.#up[second]];
    if (one === undefined || other === undefined) return null;
    return other.inflight < one.inflight ? other : one;
  }
}

/** Replicas by their turns in flight. */
class LeastBusy {
  readonly #buckets: Replica[][] = [];
  readonly #random: Random;
  #least = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  add(replica: Replica, turns: number): void {
    while (this.#buckets.length <= turns) this.#buckets.push([]);
    const bucket = this.#buckets[turns]!;
    replica.bucketPlace = bucket.length;
    bucket.push(replica);
    this.#least = Math.min(this.#least, turns);
  }

  remove(replica: Replica, turns: number): void {
    const bucket = this.#buckets[turns]!;
    const last = bucket.pop();
    if (last === undefined || last === replica) return;
    bucket[replica.bucketPlace] = last;
    last.bucketPlace = replica.bucketPlace;
  }

  /** One of the least busy, by lot; null if there is none. */
  any(): Replica | null {
    while (this.#least < this.#buckets.length && this.#buckets[this.#least]!.length === 0) {
      this.#least += 1;
    }
    const bucket = this.#buckets[this.#least];
    if (bucket === undefined) {
      this.#least = 0;
      return null;
    }
    return bucket[this.#random.below(bucket.length)] ?? null;
  }
}
