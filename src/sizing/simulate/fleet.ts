/**
 * The replicas of a fleet: how many there are to be, which of them start, fail, drain and go.
 *
 *     starting ──▶ up ──▶ draining ──▶ gone
 *         ▲         │         (no turn left, or its time is over: what is left of them is lost)
 *         └ failed ◀┘ all its turns are lost
 *
 * @module
 */

import { Autoscaler, type AutoscalerTerms } from "./autoscaler.ts";
import type { Balancer } from "./balancer.ts";
import type { Client } from "./client.ts";
import { EVENT } from "./event-kinds.ts";
import type { EventQueue } from "./event-queue.ts";
import type { Random } from "./random.ts";
import { Replica, type ReplicaTerms } from "./replica.ts";

export interface Deploy {
  readonly atMs: number;
  /** Replicas beyond those wanted while it goes on. */
  readonly surge: number;
  /** Replicas that may be missing while it goes on. */
  readonly unavailable: number;
}

export interface FleetTerms {
  readonly count: number;
  /** From the decision to start a replica until it takes turns. */
  readonly coldStartMs: number;
  readonly drainGraceMs: number;
  readonly autoscaler: AutoscalerTerms | null;
  /** The mean time between failures of each replica, and from a failure until it takes turns again. */
  readonly failures: { readonly everyMs: number; readonly restartMs: number } | null;
  readonly deploys: readonly Deploy[];
}

export interface FleetParts {
  readonly queue: EventQueue;
  readonly balancer: Balancer;
  readonly random: Random;
  readonly replicaTerms: ReplicaTerms;
  /** In [0, 1), for what callers are told. */
  readonly jitter: () => number;
  /** Told of each turn whose replica is gone. */
  readonly lose: (client: Client, nowMs: number) => void;
}

export class Fleet {
  readonly #terms: FleetTerms;
  readonly #parts: FleetParts;
  readonly #autoscaler: Autoscaler | null;
  /** By their numbers, which are used again. */
  readonly #replicas: Replica[] = [];
  readonly #freeNumbers: number[] = [];
  /** The replicas that count: neither draining nor gone. */
  readonly #live = new Set<Replica>();
  #wanted: number;
  #version = 0;
  #rollout: Deploy | null = null;
  #draining = 0;
  #paidMs = 0;
  #paidSinceMs = 0;
  failures = 0;
  deployEndedAtMs = Number.NaN;

  constructor(terms: FleetTerms, parts: FleetParts) {
    this.#terms = terms;
    this.#parts = parts;
    this.#wanted = terms.count;
    this.#autoscaler = terms.autoscaler === null ? null : new Autoscaler(terms.autoscaler);
  }

  get live(): number {
    return this.#live.size;
  }

  byNumber(number: number): Replica {
    return this.#replicas[number]!;
  }

  /** Time that replicas were there, in any state, since the last time it was asked for. */
  takePaidMs(nowMs: number): number {
    this.#account(nowMs);
    const paidMs = this.#paidMs;
    this.#paidMs = 0;
    return paidMs;
  }

  /** The first replicas are up from the beginning. */
  begin(): void {
    const { queue } = this.#parts;
    for (let count = 0; count < this.#wanted; count += 1) this.#cameUp(this.#make(0), 0);
    if (this.#terms.autoscaler !== null) {
      queue.schedule(this.#terms.autoscaler.intervalMs, EVENT.scale, 0);
    }
    for (const [index, { atMs }] of this.#terms.deploys.entries()) {
      queue.schedule(atMs, EVENT.deploy, index);
    }
  }

  replicaUp(replica: Replica, ticket: number, nowMs: number): void {
    if (replica.ticket !== ticket) return;
    this.#cameUp(replica, nowMs);
    if (this.#rollout !== null) this.#reconcile(nowMs);
  }

  replicaFails(replica: Replica, ticket: number, nowMs: number): void {
    if (replica.failureTicket !== ticket || this.#terms.failures === null) return;
    const wasUp = replica.state === "up";
    this.failures += 1;
    if (wasUp) this.#parts.balancer.remove(replica);
    this.#loseAll(replica, nowMs);
    if (!wasUp) return this.#gone(replica, nowMs);
    replica.state = "failed";
    const upAtMs = nowMs + this.#terms.failures.restartMs;
    replica.ticket = this.#parts.queue.schedule(upAtMs, EVENT.replicaUp, replica.number);
  }

  drainEnds(replica: Replica, ticket: number, nowMs: number): void {
    if (replica.ticket !== ticket) return;
    this.#loseAll(replica, nowMs);
    this.#gone(replica, nowMs);
  }

  turnEnded(replica: Replica, nowMs: number): void {
    if (replica.state === "draining" && replica.inflight === 0) this.#gone(replica, nowMs);
  }

  deploy(index: number, nowMs: number): void {
    const deploy = this.#terms.deploys[index];
    if (deploy === undefined) return;
    this.#version += 1;
    this.#rollout = deploy;
    this.#reconcile(nowMs);
  }

  scale(nowMs: number): void {
    if (this.#autoscaler === null) return;
    const { up } = this.#parts.balancer;
    const inflight = up.reduce((sum, replica) => sum + replica.inflight, 0);
    this.#wanted = this.#autoscaler.wanted({ nowMs, inflight, wantedNow: this.#wanted });
    this.#reconcile(nowMs);
    this.#parts.queue.schedule(nowMs + this.#autoscaler.intervalMs, EVENT.scale, 0);
  }

  /** Starts and drains until there are as many as wanted, all of the newest version. */
  #reconcile(nowMs: number): void {
    const { surge, unavailable } = this.#rollout ?? { surge: 0, unavailable: 0 };
    for (;;) {
      const live = [...this.#live];
      const old = live.filter(({ version }) => version < this.#version);
      const most = this.#wanted + (old.length > 0 ? surge : 0);
      const missing = Math.min(this.#wanted - (live.length - old.length), most - live.length);
      for (let started = 0; started < missing; started += 1) this.#start(nowMs);
      const notUp = old.filter(({ state }) => state !== "up");
      for (const replica of notUp) this.#drain(replica, nowMs);
      const spare = this.#parts.balancer.up.length - (this.#wanted - unavailable);
      const leaving = old.filter(({ state }) => state === "up").slice(0, Math.max(0, spare));
      for (const replica of leaving) this.#drain(replica, nowMs);
      // Room that was made is for new ones.
      if (old.length > 0 && notUp.length + leaving.length > 0) continue;
      if (old.length === 0) this.#settle(nowMs);
      return;
    }
  }

  /** Nothing of an older version is left: whoever is too many goes, the newest first. */
  #settle(nowMs: number): void {
    const live = [...this.#live];
    if (this.#rollout !== null && live.every(({ state }) => state === "up")) {
      this.#rollout = null;
      this.deployEndedAtMs = nowMs;
    }
    const surplus = live.length - this.#wanted;
    if (surplus <= 0) return;
    const isUp = ({ state }: Replica) => (state === "up" ? 1 : 0);
    const leaving = live.toReversed().sort((a, b) => isUp(a) - isUp(b));
    for (const replica of leaving.slice(0, surplus)) this.#drain(replica, nowMs);
  }

  #make(nowMs: number): Replica {
    this.#account(nowMs);
    const { replicaTerms, jitter } = this.#parts;
    const number = this.#freeNumbers.pop() ?? this.#replicas.length;
    const replica = new Replica(number, replicaTerms, jitter);
    replica.version = this.#version;
    this.#replicas[number] = replica;
    this.#live.add(replica);
    return replica;
  }

  #start(nowMs: number): void {
    const replica = this.#make(nowMs);
    const upAtMs = nowMs + this.#terms.coldStartMs;
    replica.ticket = this.#parts.queue.schedule(upAtMs, EVENT.replicaUp, replica.number);
  }

  #cameUp(replica: Replica, nowMs: number): void {
    const { balancer, queue, random } = this.#parts;
    replica.state = "up";
    replica.ticket = -1;
    balancer.add(replica);
    const { failures } = this.#terms;
    if (failures === null) return;
    const failsAtMs = nowMs + random.exponential(failures.everyMs);
    replica.failureTicket = queue.schedule(failsAtMs, EVENT.replicaFails, replica.number);
  }

  #drain(replica: Replica, nowMs: number): void {
    const { balancer, queue } = this.#parts;
    this.#account(nowMs);
    this.#live.delete(replica);
    this.#draining += 1;
    if (replica.state === "up") balancer.remove(replica);
    replica.state = "draining";
    replica.evictAll();
    if (replica.inflight === 0) return this.#gone(replica, nowMs);
    const endsAtMs = nowMs + this.#terms.drainGraceMs;
    replica.ticket = queue.schedule(endsAtMs, EVENT.drainEnds, replica.number);
  }

  #gone(replica: Replica, nowMs: number): void {
    this.#account(nowMs);
    this.#draining -= 1;
    replica.state = "gone";
    replica.ticket = -1;
    replica.failureTicket = -1;
    this.#freeNumbers.push(replica.number);
  }

  #loseAll(replica: Replica, nowMs: number): void {
    for (const client of replica.crash()) this.#parts.lose(client, nowMs);
  }

  #account(nowMs: number): void {
    this.#paidMs += (this.#live.size + this.#draining) * (nowMs - this.#paidSinceMs);
    this.#paidSinceMs = nowMs;
  }
}
