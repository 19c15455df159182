/**
 * How short memory is, as a level from 0 to 3. Pure.
 *
 *     level   when                                                        then (`guard.ts`)
 *       0     else
 *       1     less free than brake and margin; many refaults; stalls      no admissions
 *       2     level 1 for 2 s; many stalls                                cache is evicted
 *       3     less free than the brake; or hardly anything gets on        one after another is ended
 *
 * A level is taken at once, and left when there was enough room for 3 s: 32 MiB more than what
 * would bring it back, or half the rates.
 *
 * Bytes show the way to the kernel's own kill. The other death crosses no line of bytes: the text
 * that all agent processes share is dropped and read again for ever, and nobody is killed. So
 * refaults count, but only together with faults on mapped pages that waited for the disk: a tool
 * that reads a large file again and again makes as many refaults, and harms nobody. How many there
 * can be is up to the disk. Fewer are as deadly on a slow one, where they last and hardly any text is
 * left: measured, 2 to 20 % of it where nothing got on, 36 % and more where turns did. Stalls count as
 * refaults do: where there is room for all text, only together with such faults.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import { MOST_TEXT_BYTES } from "./guard-lines.ts";
import type { Rates } from "./guard-rates.ts";

export type GuardLevel = 0 | 1 | 2 | 3;

/** Why the level is not 0; `unknown`: it cannot be told how much is used. */
export type LevelCause = "none" | "bytes" | "refaults" | "stalls" | "unknown";

export interface LevelState {
  readonly level: GuardLevel;
  readonly cause: LevelCause;
  /** What makes level 3, now and not by the delay of leaving it. */
  readonly emergency: "short" | "stuck" | null;
  readonly strainedSinceMs: number | null;
  readonly stalledSinceMs: number | null;
  /** Since when text is read again without a pause. */
  readonly thrashedSinceMs: number | null;
  /** Since when a lower level would do, and the highest one that was needed since. */
  readonly calm: { readonly sinceMs: number; readonly level: GuardLevel } | null;
}

/** What the level is judged by. */
export interface Strain {
  /** Limit less use; null if it is not known. */
  readonly slackBytes: number | null;
  readonly brakeBytes: number;
  /** With less free nothing gets on; at most the brake. */
  readonly floorBytes: number;
  readonly rates: Rates;
  /** The rates are those of the machine, the trouble of other groups included. */
  readonly isOfMachine: boolean;
  /** How much of the text that was mapped in good times is mapped now; null if it is not told. */
  readonly textRatio: number | null;
}

type Figures = Pick<Strain, "slackBytes" | "brakeBytes" | "rates">;

export const FIRST_LEVEL: LevelState = {
  level: 0,
  cause: "unknown",
  emergency: null,
  strainedSinceMs: null,
  stalledSinceMs: null,
  thrashedSinceMs: null,
  calm: null,
};

/**
 * Between the line of admission and the brake, so that an admission never walks into it. Small,
 * because what is committed is the sum of what turns hold at their peaks, which are seldom at once:
 * of a turn of 9 s, 0.5 s at the end, 25 MiB above the rest.
 */
export const MARGIN_BYTES = 16 * MIB;
/** So much more room than would bring it back before a level is left. */
export const RELEASE_BYTES = 32 * MIB;
const RELEASE_MS = 3000;
const STRAINED_MS = 2000;
const STALLED_MS = 2000;
const THRASHED_MS = 3000;
const TEXT_GONE_RATIO = 0.3;

const STRAINED_REFAULTS = 25_000;
const STUCK_REFAULTS = 100_000;
/** Fewer come with any process that starts; see `majorFaults` in `memory-pressure.ts`. */
const LEAST_FAULTS = 20;

const STRAINED_STALL_RATIO = 0.05;
const SEVERE_STALL_RATIO = 0.2;
const STUCK_STALL_RATIO = 0.5;
/** Where stalls are told, nothing is stuck without some. */
const WITNESS_STALL_RATIO = 0.1;

/** @param nowMs Of a clock that never jumps. */
export function nextLevel(before: LevelState, seen: Strain, nowMs: number): LevelState {
  const at = eased(before.level);
  const strain = ofOurs(seen, at(1));
  const cause = strainOf(strain, at(1));
  const isStrained = cause === "bytes" || cause === "refaults" || cause === "stalls";
  const strainedSinceMs = isStrained ? (before.strainedSinceMs ?? nowMs) : null;
  const isStalled = (strain.rates.stallRatio ?? 0) >= STUCK_STALL_RATIO;
  const stalledSinceMs = isStalled ? (before.stalledSinceMs ?? nowMs) : null;
  const isLongStalled = stalledSinceMs !== null && nowMs - stalledSinceMs >= STALLED_MS;
  const isTextGone = isThrashing(strain, at(1)) && (strain.textRatio ?? 1) < TEXT_GONE_RATIO;
  const thrashedSinceMs = isTextGone ? (before.thrashedSinceMs ?? nowMs) : null;
  const isLongThrashed = thrashedSinceMs !== null && nowMs - thrashedSinceMs >= THRASHED_MS;
  const isLongStuck = isLongStalled || isLongThrashed;
  const isLongStrained = strainedSinceMs !== null && nowMs - strainedSinceMs >= STRAINED_MS;
  const needsThree = isShort(strain, at(3)) || isStuck(strain, at(3)) || isLongStuck;
  const needsTwo =
    isLongStrained || (strain.rates.stallRatio ?? 0) >= SEVERE_STALL_RATIO * at(2).rateShare;
  const needed = needsThree ? 3 : needsTwo ? 2 : isStrained ? 1 : 0;

  const calm = needed >= before.level ? null : calmer(before, needed, nowMs);
  const level =
    calm === null ? needed : nowMs - calm.sinceMs < RELEASE_MS ? before.level : calm.level;
  const hard = eased(0)(3);
  const stuck = isStuck(strain, hard) || isLongStuck;
  return {
    level,
    cause: cause === "none" && level > 0 ? before.cause : cause,
    emergency: emergencyOf(strain, isShort(strain, hard), stuck),
    strainedSinceMs,
    stalledSinceMs,
    thrashedSinceMs,
    calm: level < before.level ? null : calm,
  };
}

/**
 * Where so much is free, what waits is not for want of room: on a machine it is others, at limits of
 * theirs; in a group it is who reads files larger than the group, in a loop (measured, 7 % of the
 * time with hardly anything else in it). Unless it is our own text that is waited for: then how much
 * is free is not what it seems.
 */
function ofOurs(seen: Strain, ease: Ease): Strain {
  const { slackBytes, brakeBytes, rates, isOfMachine } = seen;
  if (!hasRoomForText(slackBytes, brakeBytes)) return seen;
  const isOfText = !isOfMachine && rates.faultsPerSecond !== null && waitsForText(rates, ease);
  return isOfText ? seen : { ...seen, rates: { ...rates, stallRatio: null } };
}

/** How much easier it is to stay at a level than to come to it. */
interface Ease {
  readonly extraBytes: number;
  readonly rateShare: number;
}

function eased(current: GuardLevel): (level: GuardLevel) => Ease {
  return (level) =>
    current >= level
      ? { extraBytes: RELEASE_BYTES, rateShare: 0.5 }
      : { extraBytes: 0, rateShare: 1 };
}

function calmer(before: LevelState, needed: GuardLevel, nowMs: number) {
  const { sinceMs, level } = before.calm ?? { sinceMs: nowMs, level: needed };
  return { sinceMs, level: needed > level ? needed : level };
}

function strainOf({ slackBytes, brakeBytes, rates }: Figures, ease: Ease): LevelCause {
  if (slackBytes !== null && slackBytes < brakeBytes + MARGIN_BYTES + ease.extraBytes) {
    return "bytes";
  }
  if ((rates.stallRatio ?? 0) >= STRAINED_STALL_RATIO * ease.rateShare) return "stalls";
  if (isThrashing({ slackBytes, brakeBytes, rates }, ease)) return "refaults";
  return slackBytes === null ? "unknown" : "none";
}

/** Whether the shared text is read again, be it at a rate that leaves others room to go on. */
function isThrashing({ slackBytes, brakeBytes, rates }: Figures, ease: Ease): boolean {
  const hasRefaults = (rates.refaultsPerSecond ?? 0) >= STRAINED_REFAULTS * ease.rateShare;
  return hasRefaults && !hasRoomForText(slackBytes, brakeBytes) && waitsForText(rates, ease);
}

function isShort({ slackBytes, brakeBytes }: Strain, ease: Ease): boolean {
  return slackBytes !== null && slackBytes < brakeBytes + ease.extraBytes;
}

/** Above the floor that nothing gets on is the graver. */
function emergencyOf(
  { slackBytes, floorBytes }: Strain,
  short: boolean,
  stuck: boolean,
): LevelState["emergency"] {
  if (stuck && !(slackBytes !== null && slackBytes < floorBytes)) return "stuck";
  return short ? "short" : null;
}

/** Whether the shared text is read again so fast that nothing gets on. */
function isStuck({ slackBytes, brakeBytes, rates }: Figures, ease: Ease): boolean {
  const { refaultsPerSecond, stallRatio } = rates;
  if (hasRoomForText(slackBytes, brakeBytes)) return false;
  if (stallRatio !== null && stallRatio < WITNESS_STALL_RATIO * ease.rateShare) return false;
  const hasRefaults = (refaultsPerSecond ?? 0) >= STUCK_REFAULTS * ease.rateShare;
  return hasRefaults && waitsForText(rates, ease);
}

/**
 * So much is free that the text that runs cannot have been dropped for want of room: somebody reads
 * files, or, where the figures are the machine's, another group is short.
 */
function hasRoomForText(slackBytes: number | null, brakeBytes: number): boolean {
  return slackBytes !== null && slackBytes >= brakeBytes + MOST_TEXT_BYTES;
}

/** Where faults are not told, refaults must do. */
function waitsForText({ faultsPerSecond }: Rates, ease: Ease): boolean {
  return faultsPerSecond === null || faultsPerSecond >= LEAST_FAULTS * ease.rateShare;
}
