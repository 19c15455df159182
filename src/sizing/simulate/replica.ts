/**
 * One server of the fleet: its gate, its starts, its turns and the processes it keeps between them.
 *
 * What decides is the server's own code: `weigh`, `judge`, `poolBytes`, `predictBytes`, `ReturnTimes`.
 * The books alone are others: sums that are kept, where the server adds up the permits at each
 * question, and no words for each decision. Those make the server's gate too slow for a million turns
 * on a thousand replicas. A test plays the same turns to both.
 *
 * @module
 */

import { type FootprintModel, predictBytes } from "../../capacity/footprint-model.ts";
import { judge } from "../../capacity/judge.ts";
import { shortageBytes, weigh } from "../../capacity/load-line.ts";
import { ReturnTimes } from "../../capacity/return-times.ts";
import { poolOf } from "../replica-turns.ts";
import type { Client } from "./client.ts";
import { CpuShare } from "./cpu-share.ts";
import { StartQueue } from "./start-queue.ts";

/** What all replicas of a fleet have in common. */
export interface ReplicaTerms {
  readonly limitBytes: number;
  readonly safetyReserveBytes: number;
  readonly cpus: number;
  /** Held by the server when no turn is in flight. */
  readonly serverBytes: number;
  /** Held by the server for each turn in flight, beside the turn's own processes. */
  readonly inflightTurnBytes: number;
  readonly model: FootprintModel;
  /** A ceiling on turns at once; null for none. */
  readonly maxTurns: number | null;
  readonly maxStartWaitMs: number;
  readonly maxRetryAfterMs: number;
}

export type ReplicaState = "starting" | "up" | "failed" | "draining" | "gone";

/** Why a simulated attempt is refused, as the server says it; `unreachable` where no replica is up. */
export const SIMULATED_SHED_REASONS = ["memory", "max_turns", "start", "unreachable"] as const;
export type SimulatedShed = (typeof SIMULATED_SHED_REASONS)[number];

/** A refusal, as the server's own code for `Retry-After` takes it. */
interface Refused {
  readonly reason: "memory" | "max_turns" | "start";
  readonly costBytes: number;
  readonly lackBytes: number;
  readonly turnsTooMany: number;
}

const never = () => false;

export class Replica {
  readonly number: number;
  readonly terms: ReplicaTerms;
  readonly loadLineBytes: number;
  readonly turns: Client[] = [];
  readonly starts: StartQueue;
  readonly cpu: CpuShare;
  state: ReplicaState = "starting";
  /** The version that was deployed. */
  version = 0;
  /** The tickets of the event it waits for, and of its failure. */
  ticket = -1;
  failureTicket = -1;
  /** Its place among those that the balancer knows. */
  place = -1;
  /** Its place among those with as many turns. */
  bucketPlace = -1;
  #heldBytes = 0;
  /** The sum of what each turn holds, or is predicted to if that is more. */
  #expectedBytes = 0;
  #cacheBytes = 0;
  #oldestKept: Client | null = null;
  #newestKept: Client | null = null;
  #returns: ReturnTimes;
  readonly #jitter: () => number;
  /** The last refusal, until it is answered. */
  #refused: Refused | null = null;

  /** @param jitter In [0, 1), for what callers are told. */
  constructor(number: number, terms: ReplicaTerms, jitter: () => number) {
    this.number = number;
    this.terms = terms;
    this.#jitter = jitter;
    this.loadLineBytes = this.#weigh(0).loadLineBytes;
    this.starts = new StartQueue(terms.cpus, terms.maxStartWaitMs);
    this.cpu = new CpuShare(terms.cpus);
    this.#returns = this.#newReturns();
  }

  get inflight(): number {
    return this.turns.length;
  }

  /** What is in use: the server, the turns, and what is kept between them. */
  get usedBytes(): number {
    return this.terms.serverBytes + this.#heldBytes + this.#cacheBytes;
  }

  get committedBytes(): number {
    return this.#weigh(this.inflight).committedBytes;
  }

  /** Checks and takes in one step. @returns Why it is refused; null if it was admitted. */
  tryAdmit(client: Client, nowMs: number): Refused["reason"] | null {
    const { maxTurns, model, inflightTurnBytes } = this.terms;
    const { inflight } = this;
    const predictedBytes = predictBytes(model, client.carriedBytes) + inflightTurnBytes;
    const residentBytes = client.home === this ? client.residentBytes : 0;
    // A process that is there costs what it lacks, and the server something for the turn itself.
    const costBytes = Math.max(inflightTurnBytes, predictedBytes - residentBytes);
    const shortBytes = shortageBytes(this.#weigh(inflight + 1), costBytes);
    const freeableBytes = this.#cacheBytes - residentBytes;
    const { reason } = judge({
      isDraining: false,
      isIdle: inflight === 0,
      pressure: null,
      inflight,
      maxTurns,
      ceiling: null,
      startWaitMs: residentBytes > 0 ? 0 : this.starts.expectedWaitMs(),
      maxStartWaitMs: this.terms.maxStartWaitMs,
      shortBytes,
      freeableBytes,
      isKeptForOthers: never,
    });
    if (reason === null) {
      this.#take(client, predictedBytes, residentBytes, shortBytes, nowMs);
      return null;
    }
    const lackBytes = Math.max(0, shortBytes - freeableBytes);
    const told = reason === "max_turns" || reason === "start" ? reason : "memory";
    const turnsTooMany = inflight + 1 - (maxTurns ?? Infinity);
    this.#refused = { reason: told, costBytes, lackBytes, turnsTooMany };
    return told;
  }

  /** When whoever was refused last is told to come back, in whole seconds. */
  retryAfterSeconds(nowMs: number): number {
    const refused = this.#refused;
    if (refused === null) return 1;
    const seconds = this.#returns.seconds(refused, nowMs);
    this.#returns.promised(refused, nowMs, seconds);
    return seconds;
  }

  /** The processes of a turn in flight hold so much from now on. */
  hold(client: Client, bytes: number): void {
    const { predictedBytes } = client;
    this.#heldBytes += bytes - client.heldBytes;
    this.#expectedBytes +=
      Math.max(predictedBytes, bytes) - Math.max(predictedBytes, client.heldBytes);
    client.heldBytes = bytes;
  }

  /** The turn is over. @param keep Whether its process stays for the next one. */
  end(client: Client, nowMs: number, keep: boolean): void {
    this.#returns.turnEnded(nowMs - client.admittedAtMs);
    const { heldBytes } = client;
    this.#remove(client);
    if (!keep || this.state !== "up") return;
    client.residentBytes = heldBytes - this.terms.inflightTurnBytes;
    this.#cacheBytes += client.residentBytes;
    client.before = this.#newestKept;
    client.after = null;
    if (this.#newestKept === null) this.#oldestKept = client;
    else this.#newestKept.after = client;
    this.#newestKept = client;
  }

  /** The process that was kept for its next turn ends, or is used by it. */
  release(client: Client): void {
    if (client.residentBytes === 0) return;
    this.#cacheBytes -= client.residentBytes;
    client.residentBytes = 0;
    client.residentTicket = -1;
    if (client.before === null) this.#oldestKept = client.after;
    else client.before.after = client.after;
    if (client.after === null) this.#newestKept = client.before;
    else client.after.before = client.before;
    client.before = null;
    client.after = null;
  }

  /** All processes are gone at once. @returns The turns that were in flight. */
  crash(): readonly Client[] {
    const lost = [...this.turns];
    for (const client of lost) this.#remove(client);
    this.evictAll();
    this.starts.clear();
    this.#returns = this.#newReturns();
    return lost;
  }

  evictAll(): void {
    while (this.#oldestKept !== null) this.release(this.#oldestKept);
  }

  #take(
    client: Client,
    predictedBytes: number,
    residentBytes: number,
    shortBytes: number,
    nowMs: number,
  ): void {
    if (client.residentBytes > 0) client.home?.release(client);
    for (let missing = shortBytes; missing > 0 && this.#oldestKept !== null;) {
      missing -= this.#oldestKept.residentBytes;
      this.release(this.#oldestKept);
    }
    client.predictedBytes = predictedBytes;
    client.replica = this;
    client.home = this;
    client.admittedAtMs = nowMs;
    client.heldBytes = 0;
    client.place = this.turns.length;
    this.turns.push(client);
    this.#expectedBytes += predictedBytes;
    if (residentBytes > 0) this.hold(client, residentBytes + this.terms.inflightTurnBytes);
  }

  #remove(client: Client): void {
    this.#heldBytes -= client.heldBytes;
    this.#expectedBytes -= Math.max(client.predictedBytes, client.heldBytes);
    client.heldBytes = 0;
    client.replica = null;
    const last = this.turns.pop();
    if (last === undefined || last === client) return;
    this.turns[client.place] = last;
    last.place = client.place;
  }

  /** @param turns That the pool is for. */
  #weigh(turns: number) {
    const { limitBytes, safetyReserveBytes, model } = this.terms;
    return weigh({
      limitBytes,
      safetyReserveBytes,
      usedBytes: this.usedBytes,
      promisedBytes: this.#expectedBytes - this.#heldBytes,
      poolBytes: turns === 0 ? 0 : poolOf(model, turns),
    });
  }

  #newReturns(): ReturnTimes {
    const { turns } = this;
    const meanTurnBytes = () => this.#expectedBytes / Math.max(1, turns.length);
    return new ReturnTimes({
      permits: {
        get inflight() {
          return turns.length;
        },
        resting: 0,
        endingMs: (nowMs) => turns.map(({ admittedAtMs }) => nowMs - admittedAtMs),
        leaving: () => [],
        meanTurnBytes,
      },
      // The sums above have them.
      weights: { heldBytes: () => 0, expectedBytes: () => 0 },
      lane: this.starts,
      random: this.#jitter,
      maxRetryAfterMs: this.terms.maxRetryAfterMs,
    });
  }
}
