/**
 * Refusals for load, and the words in which decisions of the gate are told.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import { inMebibytes } from "../lib/bytes.ts";
import type { ShedReason } from "../telemetry/values.ts";
import type { Asker } from "./permit.ts";
import { type Load, shortageBytes } from "./load-line.ts";

/** A refusal for load. */
export interface Shed {
  readonly reason: ShedReason;
  /**
   * Whole seconds, from 1 to `capacity.maxRetryAfter`; while nothing is admitted after a shortage, no
   * less than is left of that.
   */
  readonly retryAfterSeconds: number;
  readonly inflight: number;
  /** Turns at once, as far as is known now. */
  readonly capacity: number;
  /** In words: `1,812 of 1,884 MiB committed; this turn is predicted 131 MiB …`. */
  readonly text: string;
}

/** What the gate decided on one turn that was asked for. */
export interface GateDecision extends Pick<Asker, "tenant" | "agentName"> {
  /** Null for a turn that was admitted. */
  readonly reason: ShedReason | null;
  /** In words, with its figures. */
  readonly text: string;
}

/** A count of refusals that begins. */
export function noneShed(): Record<ShedReason, number> {
  return { memory: 0, max_turns: 0, share: 0, start: 0, pressure: 0, draining: 0 };
}

/** What the words are made of. */
export interface Told {
  readonly load: Load;
  /** By how much the turn would add to what is committed. */
  readonly costBytes: number;
  readonly predictedBytes: number;
  /** Kept free for those who have priority, where this turn has none. */
  readonly reserveBytes: number;
  readonly carriedBytes: number;
  readonly inflight: number;
  /** Words on the ceiling that was reached, the pressure, or sessions at rest; empty for none. */
  readonly detail: string;
}

export function shedText(reason: ShedReason, told: Told): string {
  const { load, inflight, detail } = told;
  switch (reason) {
    case "draining":
      return `the replica is draining; turns in flight: ${inflight}`;
    case "max_turns":
      return `turns in flight: ${inflight}, as many as capacity.maxTurns`;
    case "pressure":
    case "start":
      return detail;
    case "share":
      return `this caller holds its share, and others are expected back; ${ofLine(load)}`;
    case "memory":
      return [ofLine(load) + reserved(told), prediction(told), detail].filter(Boolean).join("; ");
  }
}

/** What there is to say where turns that end do not give back enough. */
export function restText(resting: number, waitMs: number): string {
  const seconds = Math.ceil(waitMs / 1000);
  return `sessions at rest, which keep their memory: ${resting}; enough of them leave in ${seconds} s, if they have no turn before`;
}

function reserved({ reserveBytes }: Told): string {
  return reserveBytes === 0
    ? ""
    : `, ${inMebibytes(reserveBytes)} MiB more are kept for those with priority`;
}

export function admittedText({ load, ...told }: Told): string {
  const committedBytes = load.committedBytes + told.costBytes;
  const over = shortageBytes(load, told.costBytes) > 0 ? `, ${told.detail}` : "";
  return `admitted: ${ofLine({ ...load, committedBytes })}${over}; ${prediction({ load, ...told })}`;
}

function ofLine({ committedBytes, loadLineBytes }: Load): string {
  return `${inMebibytes(committedBytes)} of ${inMebibytes(loadLineBytes)} MiB committed`;
}

function prediction({ predictedBytes, carriedBytes }: Told): string {
  const text = `this turn is predicted ${inMebibytes(predictedBytes)} MiB`;
  if (carriedBytes < SMALLEST_CARRIED_BYTES) return text;
  const mebibytes = (carriedBytes / MIB).toFixed(1);
  return `${text} with a transcript of ${mebibytes} MiB`;
}

/** Below it a transcript does not change the prediction by a whole MiB. */
const SMALLEST_CARRIED_BYTES = MIB / 20;
