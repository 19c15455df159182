/**
 * What the memory guard sees and does, in words for people. Pure.
 *
 * @module
 */

import { inMebibytes } from "../lib/bytes.ts";
import type { GuardLevel, LevelCause } from "./guard-level.ts";
import type { EndReason } from "./guard.ts";

export interface GuardLook {
  readonly level: GuardLevel;
  readonly cause: LevelCause;
  readonly sparesInnocent: boolean;
  readonly slackBytes: number | null;
  readonly refaultsPerSecond: number | null;
  readonly stallRatio: number | null;
}

const LEVELS = [
  "room for more",
  "no admissions",
  "no admissions, and what is kept between turns is ended",
  "what balloons is ended",
] as const;

/** `no admissions: 150 MiB are free`. */
export function levelText(look: GuardLook): string {
  const { level, cause } = look;
  if (level === 0 && cause === "unknown") return "how much memory is in use cannot be told";
  if (level === 3 && look.sparesInnocent) {
    return `only what balloons is ended: ${causeText(look)}, and it is not the turns that hold it`;
  }
  return `${LEVELS[level]}: ${causeText(look)}`;
}

function causeText({ cause, slackBytes, refaultsPerSecond, stallRatio }: GuardLook): string {
  if (cause === "refaults") {
    const pages = Math.round(refaultsPerSecond ?? 0).toLocaleString("en-US");
    return `${pages} pages a second are read again soon after they were dropped`;
  }
  if (cause === "stalls") {
    return `nothing gets on for ${Math.round((stallRatio ?? 0) * 100)} % of the time`;
  }
  if (slackBytes === null) return "how much memory is in use cannot be told";
  return slackBytes < 0
    ? `${inMebibytes(-slackBytes)} MiB more are in use than there may be`
    : `${inMebibytes(slackBytes)} MiB are free`;
}

/** Why a turn, or a tool of it, was ended; for its caller. */
export function endText(end: {
  readonly bytes: number;
  readonly predictedBytes: number;
  readonly ceilingBytes: number | null;
  readonly reason: EndReason;
  /** Of a tool that was too many of them. */
  readonly processes?: number;
}): string {
  if (end.reason === "processes") return `it was ${end.processes ?? "too many"} processes`;
  const held = `it held ${inMebibytes(end.bytes)} MiB`;
  if (end.reason === "ceiling") {
    return `${held} of the ${inMebibytes(end.ceilingBytes ?? 0)} MiB that one turn may hold`;
  }
  const why = end.reason === "stuck" ? "nothing got on for want of memory" : "memory ran short";
  return `${why}, and ${held} where ${inMebibytes(end.predictedBytes)} MiB were predicted`;
}
