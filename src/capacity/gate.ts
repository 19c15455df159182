/**
 * The turn gate: which turns start now and which are shed. It never queues.
 *
 * The gate keeps the books. The order of its questions is `judge.ts`, the arithmetic is
 * `load-line.ts`, the figures come from `weights.ts`, when to come back is `retry-after.ts`, what
 * follows when memory ran short all the same is `admission-backoff.ts`; how many turns one caller may
 * have open is a matter of `turn/live-turns.ts`.
 *
 * @module
 */

import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { ShedReason } from "../telemetry/values.ts";
import { AdmissionBackoff } from "./admission-backoff.ts";
import { FairShare } from "./fair-share.ts";
import type { TurnGateOptions } from "./gate-options.ts";
import type { GateSnapshot } from "./gate-snapshot.ts";
import { judge, type Verdict } from "./judge.ts";
import { type Load, shortageBytes, turnsThatFit, weigh } from "./load-line.ts";
import type { Admission, Asker, Demand, Permit } from "./permit.ts";
import { PermitBook } from "./permit-book.ts";
import { NO_CACHE, type ProcessCache } from "./process-cache.ts";
import { type Refused, ReturnTimes } from "./return-times.ts";
import { admittedText, noneShed, type Shed, shedText } from "./shed.ts";
import { roomsFor } from "./rooms.ts";

/** A decision on one demand, with what it was made from. */
interface Judgement extends Verdict, Occasion, Refused {
  readonly reason: Verdict["reason"];
  readonly predictedBytes: number;
}

/** What sets how many turns there can be. */
interface Occasion {
  readonly load: Load;
  /** The agents of those on board, one for each. */
  readonly agentNames: readonly string[];
  /** Kept free for those who have priority, where this turn has none. */
  readonly reserveBytes: number;
  /** Nobody but a first turn is admitted, whatever the load. */
  readonly isHeld: boolean;
}

/**
 * Holds, whatever the order of calls:
 * - committed never crosses the load line by an admission, but for a first turn on an idle replica
 *   and for what was evicted for the turn and is on its way out;
 * - an idle replica admits a turn unless it drains, and a draining one admits none; idle is also one
 *   on which nothing is but the session of that turn, at rest;
 * - admitted + shed = asked: each refusal is counted once;
 * - inflight = live permits that do not rest, and a permit disposed twice is given back once;
 * - `peek` says what `tryAdmit` would do, and changes nothing.
 */
export class TurnGate {
  readonly #options: TurnGateOptions;
  readonly #permits: PermitBook;
  readonly #returns: ReturnTimes;
  readonly #fairShare = new FairShare();
  readonly #backoff = new AdmissionBackoff();
  readonly #shed = noneShed();
  #cache: ProcessCache = NO_CACHE;
  #admitted = 0;
  #isDraining = false;
  #lastAgentName: string | null = null;
  #lastDecision: GateSnapshot["lastDecision"] = null;

  constructor(options: TurnGateOptions) {
    this.#options = options;
    const { lane = null, random = Math.random, now = monotonicMs } = options;
    this.#permits = new PermitBook(now, (permit, nowMs) => this.#turnEnded(permit, nowMs));
    this.#returns = new ReturnTimes({ ...options, permits: this.#permits, lane, random });
  }

  get inflight(): number {
    return this.#permits.inflight;
  }

  /** From now on these make room for turns. */
  useCache(cache: ProcessCache): void {
    this.#cache = cache;
  }

  /** Checks and takes in one step: nothing can happen between the two. */
  tryAdmit(demand: Demand, nowMs: number): Admission {
    const judgement = this.#judge(demand, nowMs);
    if (judgement.reason !== null) {
      const shed = this.#describeShed(judgement.reason, judgement, demand.carriedBytes, nowMs);
      this.#countShed(shed, judgement, demand, nowMs);
      return { admitted: false, shed };
    }
    const permit = this.#take(demand, judgement, nowMs);
    const { carriedBytes } = demand;
    const text = admittedText({ ...judgement, carriedBytes, inflight: this.#permits.inflight });
    this.#decided(null, text, demand, nowMs);
    return { admitted: true, permit };
  }

  /**
   * What a turn would be told now: its refusal, or null if it would be admitted. Asking counts
   * nothing and promises nothing, so that probes may ask.
   * @param demand Without one, the smallest turn there can be.
   */
  peek(nowMs: number, demand: Demand | null = null): Shed | null {
    const judgement = this.#judge(demand, nowMs);
    const { reason } = judgement;
    if (reason === null) return null;
    return this.#describeShed(reason, judgement, demand?.carriedBytes ?? 0, nowMs);
  }

  /**
   * Refuses a turn before its body is read, if the smallest turn there can be would be shed now.
   * As in `tryAdmit` the check and the count are one step: a refusal returned here is counted, and
   * must be sent. Null takes nothing; the turn still has to be admitted by `tryAdmit`.
   */
  shedEarly(party: Asker, nowMs: number): Shed | null {
    // Whose turn can go on in a process that is there is known only once the body is read.
    const keptBytes = this.#cache.heldBytes() + this.#cache.promisedBytes();
    const mayHaveProcess = keptBytes > 0 || this.#permits.resting > 0;
    if (mayHaveProcess && !this.#isDraining) return null;
    const judgement = this.#judge(null, nowMs, party.isPriority);
    if (judgement.reason === null) return null;
    const shed = this.#describeShed(judgement.reason, judgement, 0, nowMs);
    this.#countShed(shed, judgement, party, nowMs);
    return shed;
  }

  /** Memory ran short although every admission was within the line. */
  ranShort(nowMs: number): void {
    this.#backoff.ranShort(this.#permits.inflight, nowMs);
  }

  /** Stops admitting, for good; running turns go on. */
  drain(): void {
    this.#isDraining = true;
  }

  /** What a turn is predicted to hold. @param carriedBytes Of transcript and input. */
  predictBytes(agentName: string, carriedBytes: number): number {
    return this.#options.weights.predictBytes(agentName, carriedBytes);
  }

  /** What is left for processes that nobody waits for. */
  spareRoomBytes(nowMs: number): number {
    return this.#pressureText(nowMs) === null ? this.#weigh(nowMs, null).load.headroomBytes : 0;
  }

  snapshot(nowMs: number): GateSnapshot {
    const { weights, maxTurns, priorityReserveBytes: reserveBytes = 0 } = this.#options;
    const { load, agentNames } = this.#weigh(nowMs, null);
    const pressure = this.#pressureText(nowMs);
    const limit = weights.limit();
    return {
      ...load,
      admission: weights.admission,
      limitBytes: limit.bytes,
      limitSource: limit.source,
      safetyReserveBytes: weights.safetyReserveBytes(),
      parentBytes: weights.parentBytes(),
      parentGrowthBytes: weights.parentGrowthBytes(),
      inflight: this.#permits.inflight,
      resting: this.#permits.resting,
      maxTurns,
      maxTurnsForNow: this.#backoff.ceiling,
      nextTurnBytes: this.#nextTurnBytes(),
      turnsThatFit: this.#capacity({ load, agentNames, reserveBytes, isHeld: pressure !== null }),
      draining: this.#isDraining,
      pressure,
      admitted: this.#admitted,
      shed: { ...this.#shed },
      lastDecision: this.#lastDecision,
      oldestTurnMs: this.#permits.elapsedMs(nowMs)[0] ?? null,
    };
  }

  /** @param demand The turn that asks, if there is one: the pool is for it as well. */
  #weigh(nowMs: number, demand: Demand | null) {
    const { weights } = this.#options;
    const { heldBytes, promisedBytes, agentNames } = this.#permits.sums(weights, demand?.resting);
    const cacheBytes = this.#cache.heldBytes() + (demand?.process?.currentBytes ?? 0);
    const usedBytes = weights.usedBytes({ turnsBytes: heldBytes, cacheBytes }, nowMs);
    const load = weigh({
      limitBytes: weights.limit().bytes,
      safetyReserveBytes: weights.safetyReserveBytes(),
      usedBytes: Math.max(0, usedBytes - this.#cache.leavingBytes()),
      promisedBytes: promisedBytes + this.#cache.promisedBytes(),
      poolBytes: weights.poolBytes(
        demand === null ? agentNames : [...agentNames, demand.agentName],
      ),
    });
    return { load, turnsBytes: heldBytes + promisedBytes, agentNames };
  }

  #judge(demand: Demand | null, nowMs: number, isPriority = demand?.isPriority): Judgement {
    const { weights, maxTurns, lane, priorityReserveBytes = 0 } = this.#options;
    const { load, turnsBytes, agentNames } = this.#weigh(nowMs, demand);
    const predictedBytes =
      demand === null
        ? weights.leastTurnBytes()
        : weights.predictBytes(demand.agentName, demand.carriedBytes);
    const there = demand?.process ?? demand?.resting?.holder;
    const costBytes = Math.max(0, predictedBytes - (there?.currentBytes ?? 0));
    const reserveBytes = isPriority === true ? 0 : priorityReserveBytes;
    const freeableBytes = this.#cache.freeableBytes();
    const { inflight } = this.#permits;
    const pressure = this.#pressureText(nowMs);
    const shortBytes = shortageBytes(load, costBytes + reserveBytes);
    const { reason, detail } = judge({
      isDraining: this.#isDraining,
      isIdle: !this.#permits.hasOthersThan(demand?.resting),
      pressure,
      inflight,
      maxTurns,
      ceiling: this.#backoff.ceiling,
      startWaitMs: there === undefined ? (lane?.expectedWaitMs() ?? 0) : 0,
      maxStartWaitMs: lane?.maxWaitMs ?? 0,
      shortBytes,
      freeableBytes,
      isKeptForOthers: () =>
        demand !== null &&
        this.#options.fairShare === true &&
        this.#fairShare.exceeds({
          party: demand,
          holdings: this.#permits.holdings(weights, demand.resting),
          rooms: roomsFor(demand, {
            askedBytes: predictedBytes,
            heldBytes: turnsBytes,
            leftBytes: load.headroomBytes + freeableBytes - reserveBytes,
            inflight,
            maxTurns: this.#maxInflight,
          }),
          nowMs,
        }),
    });
    // Named one by one: objects spread from one another get old before they are garbage, and
    // refusals come by the thousand (see docs/benchmarks.md).
    return {
      reason,
      detail,
      load,
      agentNames,
      predictedBytes,
      costBytes,
      reserveBytes,
      isHeld: pressure !== null,
      lackBytes: Math.max(0, shortBytes - freeableBytes),
      turnsTooMany: inflight + 1 - this.#maxInflight,
    };
  }

  get #maxInflight(): number {
    return Math.min(this.#options.maxTurns ?? Infinity, this.#backoff.ceiling ?? Infinity);
  }

  #pressureText(nowMs: number): string | null {
    const pressure = this.#options.pressure?.() ?? null;
    if (pressure !== null) return pressure;
    const pauseMs = this.#backoff.pauseLeftMs(nowMs);
    if (pauseMs === 0) return null;
    return `memory ran short: nothing is admitted for ${Math.ceil(pauseMs / 1000)} s`;
  }

  #take(demand: Demand, { load, costBytes, predictedBytes }: Judgement, nowMs: number): Permit {
    const shortBytes = Math.min(shortageBytes(load, costBytes), this.#cache.freeableBytes());
    const mustWait = shortBytes > 0 || this.#cache.leavingBytes() > 0;
    this.#admitted += 1;
    this.#lastAgentName = demand.agentName;
    this.#fairShare.admitted(demand);
    return this.#permits.take({
      id: this.#admitted,
      bytes: predictedBytes,
      demand,
      admittedAtMs: nowMs,
      roomFreed: mustWait ? this.#cache.evict(shortBytes) : Promise.resolve(),
    });
  }

  #turnEnded({ admittedAtMs, demand, holder }: Permit, nowMs: number): void {
    // It was refused after all, and no process was there for it: it teaches nothing of turns.
    if (holder === null) return;
    this.#backoff.completed(this.#permits.inflight, nowMs);
    // What outlives SIGKILL keeps the permit for hours, and says nothing of how long turns take.
    this.#returns.turnEnded(Math.min(nowMs - admittedAtMs, demand.turnTimeMs ?? Infinity));
  }

  #describeShed(
    reason: ShedReason,
    judgement: Judgement,
    carriedBytes: number,
    nowMs: number,
  ): Shed {
    const { load, predictedBytes, costBytes, reserveBytes } = judgement;
    const { inflight } = this.#permits;
    const detail =
      reason === "memory" ? this.#returns.restText(judgement, nowMs) : judgement.detail;
    const told = {
      load,
      detail,
      predictedBytes,
      costBytes,
      reserveBytes,
      carriedBytes,
      inflight,
    };
    return {
      reason,
      // Another replica is the answer to a draining one, and it is there now.
      retryAfterSeconds: reason === "draining" ? 1 : this.#retryAfter(judgement, nowMs),
      inflight,
      capacity: this.#capacity(judgement),
      text: shedText(reason, told),
    };
  }

  #retryAfter(judgement: Judgement, nowMs: number): number {
    const seconds = this.#returns.seconds(judgement, nowMs);
    return Math.max(seconds, Math.ceil(this.#backoff.pauseLeftMs(nowMs) / 1000));
  }

  #countShed(shed: Shed, judgement: Judgement, party: Asker, nowMs: number): void {
    const { reason, retryAfterSeconds, text } = shed;
    this.#shed[reason] += 1;
    this.#decided(reason, `shed (${reason}): ${text}`, party, nowMs);
    if (reason === "draining") return;
    this.#returns.promised(judgement, nowMs, retryAfterSeconds);
    const leastBytes = this.#options.weights.leastTurnBytes();
    this.#fairShare.shed(party, leastBytes, nowMs + 1000 * retryAfterSeconds);
  }

  #decided(
    reason: ShedReason | null,
    text: string,
    { tenant, agentName }: Asker,
    nowMs: number,
  ): void {
    this.#lastDecision = { atMs: nowMs, text };
    this.#options.onDecision?.({ reason, text, tenant, agentName });
  }

  /** Turns at once, as the next ones would be judged. */
  #capacity({ load, agentNames, reserveBytes, isHeld }: Occasion): number {
    const { weights } = this.#options;
    const { inflight } = this.#permits;
    const agentName = this.#nextAgentName();
    return turnsThatFit(load, {
      inflight,
      turnBytes: this.#nextTurnBytes(),
      maxTurns: isHeld ? Math.min(this.#maxInflight, inflight) : this.#maxInflight,
      isIdle: !this.#permits.hasOthersThan(undefined),
      poolBytesWith: (more) => {
        const added = agentName === null ? [] : Array<string>(more).fill(agentName);
        return weights.poolBytes([...agentNames, ...added]);
      },
      moreBytes: this.#cache.freeableBytes() - reserveBytes,
    });
  }

  #nextAgentName(): string | null {
    return this.#lastAgentName ?? this.#options.weights.leastAgentName();
  }

  #nextTurnBytes(): number {
    const { weights } = this.#options;
    const agentName = this.#nextAgentName();
    return agentName === null ? weights.leastTurnBytes() : weights.predictBytes(agentName, 0);
  }
}
