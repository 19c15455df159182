/**
 * What turns of each agent are predicted to hold, learned from turns that have ended. Asked at every
 * admission and refusal: the models are fitted when a turn teaches, and only read when one asks.
 *
 * The book has no clock, no file and no log of its own; `server/footprint-file.ts` keeps it.
 *
 * @module
 */

import {
  fitFootprint,
  type FootprintModel,
  type FootprintSample,
  poolBytes,
  predictBytes,
  SETTLED_SAMPLES,
} from "./footprint-model.ts";
import { readFootprints, writeFootprints } from "./footprint-records.ts";

/**
 * Turns remembered of an agent. Twice as many would keep the size of turns that have become smaller
 * for too long; fewer see too little of what is rare but large, see the test against an oracle.
 */
export const WINDOW_SAMPLES = 96;
/** Older turns are forgotten when one teaches; but never the last of them. */
const SAMPLE_MAX_AGE_MS = 24 * 3_600_000;
/** As many are kept however old they are: an agent that rests for a day is not a stranger. */
const LEAST_KEPT_SAMPLES = SETTLED_SAMPLES;
/** What is known of another version of an agent counts as so many turns at most. */
const INHERITED_SAMPLES = 4;

export interface FootprintBookOptions {
  /** Taken for a turn of which nothing is known. */
  readonly priorBytes: number;
  /**
   * What footprints depend on: another version makes what is known a mere hint. Null for an agent
   * that is not served; nothing is kept of it.
   */
  readonly versionOf: (agentName: string) => string | null;
  /**
   * Whether turns of it start programs. What a process held that only started says nothing of those:
   * such an agent is taken for the prior until one of its turns was seen.
   */
  readonly startsPrograms?: (agentName: string) => boolean;
}

/** What is known of an agent, for people. */
export interface FootprintDescription {
  readonly source: "prior" | "calibrated" | "learned";
  /** Turns that it rests on. */
  readonly samples: number;
  /** Predicted for a turn that carries nothing. */
  readonly baseBytes: number;
  readonly bytesPerCarriedByte: number;
  readonly deviationBytes: number;
  /** The most that was seen; 0 if nothing was. */
  readonly largestBytes: number;
}

interface Known {
  /** In the order in which they were learned. */
  readonly samples: readonly FootprintSample[];
  readonly model: FootprintModel;
}

/**
 * Holds, whatever it is told:
 * - a prediction is finite and above 0;
 * - a turn that held more, or that was ended for memory, never lowers a prediction or the pool;
 * - before {@link SETTLED_SAMPLES} turns were seen, a turn is predicted no less than one that
 *   carried as much was seen to hold.
 */
export class FootprintBook {
  readonly #options: FootprintBookOptions;
  readonly #known = new Map<string, Known>();
  #startPeakBytes: number | null = null;
  /** Of an agent without any sample. */
  #unknown: FootprintModel;
  /** Of one whose turns start programs. */
  readonly #presumed: FootprintModel;
  #changes = 0;

  constructor(options: FootprintBookOptions) {
    this.#options = options;
    this.#unknown = this.#fit([]);
    this.#presumed = this.#unknown;
  }

  /** Goes up whenever there is something new to keep. */
  get changes(): number {
    return this.#changes;
  }

  /** Bytes that a turn will hold. Constant time. */
  predict(agentName: string, carriedBytes: number): number {
    return predictBytes(this.#modelOf(agentName), carriedBytes);
  }

  /**
   * To set aside beside what is predicted for each of these turns: one name for each turn.
   * Linear in their number.
   */
  poolBytes(agentNames: readonly string[]): number {
    return poolBytes(agentNames.map((agentName) => this.#modelOf(agentName)));
  }

  /**
   * Takes in a turn that has ended. Not for one that was cancelled or failed before its process
   * was up: what it held says nothing.
   */
  learn(agentName: string, sample: FootprintSample): void {
    if (!isUsable(sample) || this.#options.versionOf(agentName) === null) return;
    const before = this.#known.get(agentName)?.samples ?? [];
    this.#keep(agentName, stillTelling([...before, sample]));
    this.#changes += 1;
  }

  /**
   * Takes in what a process held that was started and did nothing: a first idea of every agent
   * whose turns are that process alone.
   */
  calibrate(bootPeakBytes: number): void {
    if (!(bootPeakBytes > 0 && Number.isFinite(bootPeakBytes))) return;
    this.#startPeakBytes = bootPeakBytes;
    this.#unknown = this.#fit([]);
    for (const [agentName, { samples }] of this.#known) this.#keep(agentName, samples);
  }

  describe(agentName: string): FootprintDescription {
    const model = this.#modelOf(agentName);
    const presumed = model === this.#presumed ? "prior" : "calibrated";
    return {
      source: model.samples > 0 ? "learned" : presumed,
      samples: model.samples,
      baseBytes: predictBytes(model, 0),
      bytesPerCarriedByte: model.bytesPerCarriedByte,
      deviationBytes: Math.round(model.deviationBytes),
      largestBytes: Math.round(model.largestBytes),
    };
  }

  /** All that is worth keeping, as text for {@link restore}. */
  toJson(): string {
    return writeFootprints(
      Array.from(this.#known, ([agentName, { samples }]) => ({
        agentName,
        version: this.#options.versionOf(agentName) ?? "",
        samples,
      })),
    );
  }

  /**
   * Takes over what another book knew. What cannot be read is passed over: it is learned anew.
   *
   * @param json From {@link toJson}, or anything.
   * @returns What people should know about it; null when all was taken over.
   */
  restore(json: string): string | null {
    const records = readFootprints(json);
    if (records === null) return "what was learned of footprints cannot be read: learning anew";
    const changed: string[] = [];
    for (const { agentName, version, samples } of records) {
      const current = this.#options.versionOf(agentName);
      if (current === null) continue;
      const isSame = version === current;
      if (!isSame) changed.push(agentName);
      this.#keep(agentName, isSame ? samples : representatives(samples));
    }
    if (changed.length === 0) return null;
    return `what was learned of another version is a hint only: ${changed.join(", ")}`;
  }

  #modelOf(agentName: string): FootprintModel {
    const known = this.#known.get(agentName);
    if (known !== undefined) return known.model;
    return this.#options.startsPrograms?.(agentName) === true ? this.#presumed : this.#unknown;
  }

  #keep(agentName: string, samples: readonly FootprintSample[]): void {
    if (samples.length === 0) return;
    this.#known.set(agentName, { samples, model: this.#fit(samples) });
  }

  #fit(samples: readonly FootprintSample[]): FootprintModel {
    const { priorBytes } = this.#options;
    return fitFootprint({ samples, startPeakBytes: this.#startPeakBytes, priorBytes });
  }
}

function isUsable({ carriedBytes, peakBytes, atMs }: FootprintSample): boolean {
  return carriedBytes >= 0 && peakBytes > 0 && Number.isFinite(carriedBytes + peakBytes + atMs);
}

/**
 * The latest of the window, but for those too old. Age is counted from the latest sample: should
 * the clock have been ahead, samples of the future leave as the others do, by number.
 */
function stillTelling(samples: readonly FootprintSample[]): readonly FootprintSample[] {
  const oldestMs = (samples.at(-1)?.atMs ?? 0) - SAMPLE_MAX_AGE_MS;
  const latest = samples.slice(-WINDOW_SAMPLES);
  const surplus = latest.length - LEAST_KEPT_SAMPLES;
  return latest.filter(({ atMs }, index) => atMs >= oldestMs || index >= surplus);
}

/** A few that stand for all: evenly spread by size, without the largest and the smallest. */
function representatives(samples: readonly FootprintSample[]): readonly FootprintSample[] {
  const count = Math.min(samples.length, INHERITED_SAMPLES);
  const bySize = samples.toSorted((a, b) => a.peakBytes - b.peakBytes);
  return Array.from(
    { length: count },
    (_, index) => bySize[Math.floor(((index + 0.5) / count) * samples.length)],
  ).filter((sample) => sample !== undefined);
}
