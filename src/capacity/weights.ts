/**
 * What the gate is told about memory: how much there is, how much is used, and what a turn is
 * predicted to hold. There are two answers:
 *
 *     measured   the use of the group that sets the limit, and footprints learned from turns
 *     static     two fixed reserves; also where memory cannot be measured
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { MemoryLimit } from "./memory-limit.ts";
import { type MemoryUse, usedBytesOf } from "./memory-reading.ts";
import type { Permit } from "./permit.ts";

export interface Weights {
  readonly admission: "measured" | "static";
  /** What there is now: a replica may be resized while it runs. */
  limit(): Pick<MemoryLimit, "bytes" | "source">;
  /** Kept free below the limit. */
  safetyReserveBytes(): number;
  /**
   * What is in use and cannot be taken back.
   * @param own What the server's processes were measured to hold: at least that is used.
   */
  usedBytes(own: OwnBytes, nowMs: number): number;
  /** How much of the last answer the server's own process holds. */
  parentBytes(): number;
  /** What the server's own process may still grow by. */
  parentGrowthBytes(): number;
  /** How much of the used memory is this turn's. */
  heldBytes(permit: Permit): number;
  /**
   * What it was predicted to hold, in the light of what was learned since: the first turns of an
   * agent are predicted far too much, and would keep others out until they end.
   */
  expectedBytes(permit: Permit): number;
  /** What a turn of this agent will hold. @param carriedBytes Of transcript and input. */
  predictBytes(agentName: string, carriedBytes: number): number;
  /** The least that any turn is predicted to hold. */
  leastTurnBytes(): number;
  /** The agent that it is predicted of; null where it is of all. */
  leastAgentName(): string | null;
  /** What is set aside for turns of these agents together. */
  poolBytes(agentNames: readonly string[]): number;
}

/** Private memory of the server's processes. */
export interface OwnBytes {
  readonly turnsBytes: number;
  /** Processes kept between turns. */
  readonly cacheBytes: number;
}

/** Fixed reserves: `(limit - parentReserve) / turnReserve` turns. */
export function staticWeights(options: {
  readonly limit: Weights["limit"];
  readonly parentReserveBytes: number;
  readonly turnReserveBytes: number;
  readonly safetyReserveBytes: number | null;
}): Weights {
  const { limit, parentReserveBytes, turnReserveBytes } = options;
  return {
    admission: "static",
    limit,
    // Its reserves are so large that they carry the margin.
    safetyReserveBytes: () => options.safetyReserveBytes ?? 0,
    usedBytes: ({ cacheBytes }) => parentReserveBytes + cacheBytes,
    parentBytes: () => parentReserveBytes,
    // The reserve has it.
    parentGrowthBytes: () => 0,
    heldBytes: () => 0,
    expectedBytes: ({ bytes }) => bytes,
    predictBytes: () => turnReserveBytes,
    leastTurnBytes: () => turnReserveBytes,
    leastAgentName: () => null,
    poolBytes: () => 0,
  };
}

/** What turns of each agent were seen to hold. */
export interface Footprints {
  predict(agentName: string, carriedBytes: number): number;
  poolBytes(agentNames: readonly string[]): number;
}

export interface MeasuredWeightsOptions {
  readonly limit: () => MemoryLimit;
  readonly readUse: (limit: MemoryLimit) => MemoryUse;
  /** Anonymous memory of the server's own process; null where it cannot be read. */
  readonly readParentBytes: () => number | null;
  readonly safetyReserveBytes: () => number;
  readonly footprints: Footprints;
  readonly agentNames: readonly string[];
  /** What readings are timed by, in ms. */
  readonly clock?: () => number;
}

/**
 * A reading takes about 0.1 ms; refusals come by the thousand, and within this time a turn that
 * fills 2.5 GiB/s, the fastest seen, takes 25 MiB: less than the margin.
 */
const USE_MAX_AGE_MS = 10;
/** The share of the time that readings may take: in a full group with many turns one takes 1 ms. */
const READING_LOAD_RATIO = 0.05;
/** The most age of a dear reading: one that had to wait for a core took longer than it cost. */
const DEAR_USE_MAX_AGE_MS = 50;
/** What the server itself may grow by, from where it was at its start. */
const PARENT_GROWTH_BYTES = 48 * MIB;
/**
 * Half of what the server once took beyond that is forgotten in this time. A burst of large requests
 * comes again within minutes or not at all, and room kept for one of yesterday is lost to turns.
 */
const PARENT_PEAK_HALF_LIFE_MS = 5 * 60_000;

export class MeasuredWeights implements Weights {
  readonly admission = "measured";
  readonly #options: MeasuredWeightsOptions;
  readonly #parentAtStartBytes: number;
  #use: MemoryUse = { bytes: 0, source: "", covers: "process" };
  #useAtMs = -Infinity;
  #useMaxAgeMs = USE_MAX_AGE_MS;
  #parentBytes = 0;
  /** What it may become, as of its last reading. */
  #parentExpectedBytes = 0;

  constructor(options: MeasuredWeightsOptions) {
    this.#options = options;
    this.#parentAtStartBytes = options.readParentBytes() ?? 0;
  }

  limit(): MemoryLimit {
    return this.#options.limit();
  }

  safetyReserveBytes(): number {
    return this.#options.safetyReserveBytes();
  }

  usedBytes({ turnsBytes, cacheBytes }: OwnBytes, nowMs: number): number {
    // Also after the clock was set back.
    if (nowMs - this.#useAtMs >= this.#useMaxAgeMs || nowMs < this.#useAtMs) {
      const passedMs = Math.max(0, nowMs - this.#useAtMs);
      this.#useAtMs = nowMs;
      this.#read(passedMs);
    }
    const measured = { serverBytes: this.#parentBytes, agentsBytes: turnsBytes + cacheBytes };
    return usedBytesOf(this.#use, measured) + this.parentGrowthBytes();
  }

  parentBytes(): number {
    return this.#parentBytes;
  }

  parentGrowthBytes(): number {
    return this.#parentExpectedBytes - this.#parentBytes;
  }

  heldBytes({ holder }: Permit): number {
    return holder?.currentBytes ?? 0;
  }

  expectedBytes({ demand: { agentName, carriedBytes } }: Permit): number {
    return this.predictBytes(agentName, carriedBytes);
  }

  predictBytes(agentName: string, carriedBytes: number): number {
    return this.#options.footprints.predict(agentName, carriedBytes);
  }

  leastTurnBytes(): number {
    const { agentNames } = this.#options;
    return Math.min(...agentNames.map((name) => this.predictBytes(name, 0)));
  }

  leastAgentName(): string | null {
    const leastBytes = this.leastTurnBytes();
    const isLeast = (name: string) => this.predictBytes(name, 0) === leastBytes;
    return this.#options.agentNames.find(isLeast) ?? null;
  }

  poolBytes(agentNames: readonly string[]): number {
    return this.#options.footprints.poolBytes(agentNames);
  }

  /** @param passedMs Since the last time. */
  #read(passedMs: number): void {
    const { clock = monotonicMs } = this.#options;
    const beganAtMs = clock();
    this.#use = this.#options.readUse(this.limit());
    this.#weighParent(this.#options.readParentBytes() ?? 0, passedMs);
    const maxAgeMs = (clock() - beganAtMs) / READING_LOAD_RATIO;
    this.#useMaxAgeMs = Math.min(Math.max(USE_MAX_AGE_MS, maxAgeMs), DEAR_USE_MAX_AGE_MS);
  }

  /** Takes in what the server holds: it may become as large again as it was a while ago. */
  #weighParent(parentBytes: number, passedMs: number): void {
    const leastBytes = this.#parentAtStartBytes + PARENT_GROWTH_BYTES;
    const beyondBytes = Math.max(0, this.#parentExpectedBytes - leastBytes);
    const rememberedBytes = beyondBytes * 0.5 ** (passedMs / PARENT_PEAK_HALF_LIFE_MS);
    this.#parentBytes = parentBytes;
    this.#parentExpectedBytes = Math.max(parentBytes, leastBytes + Math.floor(rememberedBytes));
  }
}
