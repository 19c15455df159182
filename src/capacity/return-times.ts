/**
 * When those who are shed should come back: remembers how long turns took and what was promised,
 * sees what is in the way of a turn, and asks `retry-after.ts`.
 *
 * @module
 */

import type { ShedReason } from "../telemetry/values.ts";
import type { PermitBook, PermitWeights } from "./permit-book.ts";
import {
  DurationWindow,
  type Leaving,
  msUntilGivenBack,
  PromiseBook,
  retryAfterSeconds,
  type Spread,
  spreadSeconds,
} from "./retry-after.ts";
import { restText } from "./shed.ts";
import type { StartLane } from "./start-lane.ts";

/** The longest wait that callers are told, unless it is set: `capacity.maxRetryAfter`. */
const MAX_RETRY_AFTER_MS = 600_000;

/** How long a process takes to go when its session leaves. */
const LEAVING_MS = 1_000;

export interface ReturnTimesOptions {
  readonly permits: Pick<
    PermitBook,
    "inflight" | "resting" | "endingMs" | "leaving" | "meanTurnBytes"
  >;
  readonly weights: PermitWeights;
  /** In which turns start, if their starts are counted. */
  readonly lane: Pick<StartLane, "expectedWaitMs" | "maxWaitMs"> | null;
  /** In [0, 1), for the jitter. */
  readonly random: () => number;
  /** The longest wait that callers are told, and so how long a promise is remembered. */
  readonly maxRetryAfterMs?: number;
}

/** A turn that is refused, with what is in its way. */
export interface Refused {
  /** Null of one that is not. */
  readonly reason: ShedReason | null;
  /** What the turn takes itself. */
  readonly costBytes: number;
  /** What has to be given back for the turn, beyond what can be evicted for it. */
  readonly lackBytes: number;
  /** Turns that have to end for it to be one of as many as there may be; 0 or less for none. */
  readonly turnsTooMany: number;
}

/** What sessions at rest have to give back, and which of them will. */
interface Rest {
  /** 0 where the turns in flight give back enough. */
  readonly bytes: number;
  /** Those of which is known when they leave. */
  readonly leaving: readonly Leaving[];
}

export class ReturnTimes {
  readonly #options: ReturnTimesOptions;
  readonly #durations = new DurationWindow();
  readonly #longestSeconds: number;
  readonly #promises: PromiseBook;
  /** Of starts alone: those who were refused for nothing else. */
  readonly #starts: PromiseBook;

  constructor(options: ReturnTimesOptions) {
    this.#options = options;
    this.#longestSeconds = Math.ceil((options.maxRetryAfterMs ?? MAX_RETRY_AFTER_MS) / 1000);
    this.#promises = new PromiseBook(this.#longestSeconds);
    this.#starts = new PromiseBook(this.#longestSeconds);
  }

  turnEnded(durationMs: number): void {
    this.#durations.add(durationMs);
  }

  /** The turn was refused, and told to come back then. */
  promised(refused: Refused, nowMs: number, seconds: number): void {
    if (refused.reason === "start") this.#starts.add(nowMs, seconds);
    if (needsStartOnly(refused)) return;
    // It will take the room of so many turns as they are. Sessions that rest give no measure.
    const { inflight } = this.#options.permits;
    const turns = inflight === 0 ? 1 : Math.round(refused.costBytes / this.#meanTurnBytes());
    this.#promises.add(nowMs, seconds, Math.max(1, turns));
  }

  /** Whole seconds, from 1 to the longest wait, until all that is in the way is likely to be gone. */
  seconds(refused: Refused, nowMs: number): number {
    const spread = { jitter: this.#options.random(), longestSeconds: this.#longestSeconds };
    const forStart = refused.reason === "start" ? this.#secondsToStart(nowMs, spread) : 0;
    if (needsStartOnly(refused)) return forStart;
    const { lackBytes, turnsTooMany } = refused;
    const elapsedMs = this.#options.permits.endingMs(nowMs);
    const promises = this.#promises.outstanding(nowMs);
    const forRest = this.#secondsToLeave(refused, nowMs, promises, spread);
    if (elapsedMs.length === 0 && forRest !== null) return Math.max(forStart, forRest);
    const forTurns = retryAfterSeconds({
      // With sessions alone that rest, and nothing known of when one gives its memory back, as good
      // a guess as any is the time that a turn takes.
      elapsedMs: elapsedMs.length === 0 ? [0] : elapsedMs,
      turnsToEnd: Math.max(1, turnsTooMany, Math.ceil(lackBytes / this.#meanTurnBytes())),
      durations: this.#durations,
      promises,
      spread,
    });
    return Math.max(forStart, forTurns, forRest ?? 0);
  }

  /** Until when sessions at rest keep what the turn lacks, in words; empty if they do not. */
  restText({ lackBytes }: Refused, nowMs: number): string {
    const { bytes, leaving } = this.#rest(lackBytes, nowMs);
    const waitMs = msUntilGivenBack(leaving, bytes);
    return waitMs === null ? "" : restText(this.#options.permits.resting, waitMs);
  }

  /** Until a process would start soon enough, after those who were told to come back for theirs. */
  #secondsToStart(nowMs: number, spread: Spread): number {
    const { lane } = this.#options;
    const waitMs = lane?.expectedWaitMs(this.#starts.outstanding(nowMs)) ?? 0;
    return spreadSeconds((waitMs - (lane?.maxWaitMs ?? 0)) / 1000, spread);
  }

  /** Null where sessions at rest are not in the way, or nobody knows when they leave. */
  #secondsToLeave(
    { lackBytes, costBytes }: Refused,
    nowMs: number,
    promises: number,
    spread: Spread,
  ): number | null {
    const { bytes, leaving } = this.#rest(lackBytes, nowMs);
    if (bytes === 0) return null;
    // While turns are in flight, the promises are of what these give back.
    const before = this.#options.permits.inflight === 0 ? promises * costBytes : 0;
    const waitMs = msUntilGivenBack(leaving, bytes + before);
    return waitMs === null ? null : spreadSeconds((waitMs + LEAVING_MS) / 1000, spread);
  }

  #rest(lackBytes: number, nowMs: number): Rest {
    const { permits, weights } = this.#options;
    const { inflight } = permits;
    const endingBytes = inflight === 0 ? 0 : inflight * this.#meanTurnBytes();
    if (lackBytes <= endingBytes) return { bytes: 0, leaving: [] };
    return { bytes: lackBytes - endingBytes, leaving: permits.leaving(weights, nowMs) };
  }

  #meanTurnBytes(): number {
    const { permits, weights } = this.#options;
    return Math.max(1, permits.meanTurnBytes(weights));
  }
}

/** Whether there is room for the turn, and all that it waits for is the start of its process. */
function needsStartOnly({ reason, lackBytes, turnsTooMany }: Refused): boolean {
  return reason === "start" && lackBytes === 0 && turnsTooMany <= 0;
}
