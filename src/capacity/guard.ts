/**
 * The policy of the memory guard: what is to be done when memory is short, and to whom. Pure; a
 * thread looks and acts for it (`agent-process/memory-guard-thread.ts`). How short it is, is
 * `guard-level.ts`; in what order they go, `guard-victims.ts`.
 *
 * It ends one at a time, and looks whether that helped before it ends the next. When it did not
 * help twice, or cannot help because others hold the memory (a neighbour in the same group, files
 * in memory, a reading that lies), whoever is within his prediction is spared: only what balloons
 * itself is still ended. It never ends anything because a reading is missing.
 *
 * @module
 */

import {
  END_PAUSE_MS,
  type Ends,
  isTimeForNext,
  judgeLastEnd,
  othersBytes,
  PATIENCE_MS,
} from "./guard-last-end.ts";
import {
  FIRST_LEVEL,
  type LevelState,
  MARGIN_BYTES,
  nextLevel,
  RELEASE_BYTES,
} from "./guard-level.ts";
import { brakeAtPaceBytes, textPeakBytes } from "./guard-lines.ts";
import {
  growth,
  NO_RATES,
  nextRates,
  type Rates,
  type Totals,
  type TotalsAt,
} from "./guard-rates.ts";
import { type EndingOne, type GuardedTree, heldBy, isThere, withoutEnding } from "./guard-trees.ts";
import { cacheOf, nextVictim, overCeiling, type Reach, type Victim } from "./guard-victims.ts";

export interface GuardObservation extends Totals {
  readonly limitBytes: number;
  /** Less free than this is an emergency while nothing fills, see `guard-lines.ts`. */
  readonly restingBrakeBytes: number;
  /** With less free nothing gets on; at most the brake. */
  readonly floorBytes: number;
  /** Null if it cannot be read. */
  readonly usedBytes: number | null;
  /** The totals are those of the machine, the trouble of other groups included. */
  readonly isOfMachine: boolean;
  /** File pages that are mapped; null if it is not told. */
  readonly mappedFileBytes: number | null;
  /** All agent processes that live. */
  readonly trees: readonly GuardedTree[];
}

/**
 * Why one is ended: memory was short, nothing got on, it went over its own ceiling, or it was too many
 * processes to be watched at all.
 */
export type EndReason = "short" | "stuck" | "ceiling" | "processes";

export type GuardAction = EvictAction | EndAction;

/** A spare or a resident is to go; when it is urgent, not politely. */
export interface EvictAction {
  readonly do: "evict";
  readonly id: string;
  readonly isUrgent: boolean;
}

export interface EndAction {
  readonly do: "end";
  readonly id: string;
  /** Null to end the whole tree. */
  readonly toolId: number | null;
  /** What it held; of a tool, the tool alone. */
  readonly bytes: number;
  /** What the whole tree was predicted to hold. */
  readonly predictedBytes: number;
  readonly reason: EndReason;
}

export interface GuardState extends Ends {
  readonly levels: LevelState;
  readonly usedBytes: number | null;
  /** Limit less use; negative when more is used than there may be. */
  readonly slackBytes: number | null;
  readonly rates: Rates;
  /** Less free than this is an emergency at the pace of now, see `brakeNow`. */
  readonly brakeBytes: number;
  /** Whether those who keep to their prediction are spared, as ending them would not help. */
  readonly sparesInnocent: boolean;
  /**
   * Time that was watched. A long pause counts as a short one: nothing lasts because nobody looked.
   */
  readonly clockMs: number;
  readonly nowMs: number | null;
  readonly totals: readonly TotalsAt[];
  /** See `textPeakBytes` in `guard-lines.ts`. */
  readonly mappedPeakBytes: number;
  readonly filledPerMs: number;
  readonly evicting: readonly string[];
  /** Those who were told to go and may be gone any moment. */
  readonly leaving: readonly Leaving[];
  readonly evictedAtMs: number;
  readonly ending: readonly EndingOne[];
}

interface Leaving {
  readonly id: string;
  readonly sinceMs: number;
}

export const FIRST_GUARD_STATE: GuardState = {
  levels: FIRST_LEVEL,
  usedBytes: null,
  slackBytes: null,
  rates: NO_RATES,
  brakeBytes: 0,
  sparesInnocent: false,
  clockMs: 0,
  nowMs: null,
  totals: [],
  mappedPeakBytes: 0,
  filledPerMs: 0,
  evicting: [],
  leaving: [],
  evictedAtMs: -Infinity,
  ending: [],
  lastEnd: null,
  inVainAtMs: [],
};

/** How often ending somebody may be of no use before the innocent are spared. */
const IN_VAIN_MOST = 2;
/** A longer pause is a clock that jumped, or a thread that was held up. */
const LOOK_MOST_MS = 1000;

/**
 * One look at memory.
 * @param nowMs Of a monotonic clock. One that jumps makes the guard slower, never hasty: the rates
 *   after a jump forward are lower than they were, and there are none after one back.
 */
export function stepGuard(
  before: GuardState,
  seen: GuardObservation,
  nowMs: number,
): { readonly state: GuardState; readonly actions: readonly GuardAction[] } {
  const looked = look(before, seen, nowMs);
  const evictions = toEvict(looked, seen);
  const end = toEnd(looked, seen, evictions.length > 0);
  const state = remember(looked, seen, evictions, end);
  return { state, actions: end === null ? evictions : [...evictions, end] };
}

/**
 * Less free than this is an emergency at the pace at which memory fills at this moment: the brake,
 * or more where a balloon would be through it before the guard has acted. The pace of two looks,
 * since what jumps in one may be a reading that was late.
 */
export function brakeNow(
  before: Pick<GuardState, "usedBytes" | "nowMs" | "filledPerMs">,
  seen: Pick<GuardObservation, "restingBrakeBytes" | "limitBytes" | "usedBytes">,
  nowMs: number,
): number {
  const filledPerMs = Math.min(before.filledPerMs, paceOf(before, seen.usedBytes, nowMs));
  return brakeAtPaceBytes(seen.restingBrakeBytes, filledPerMs, seen.limitBytes);
}

/** Bytes a millisecond since the last look. */
function paceOf(
  { usedBytes, nowMs: beforeMs }: Pick<GuardState, "usedBytes" | "nowMs">,
  nowBytes: number | null,
  nowMs: number,
): number {
  const pausedMs = beforeMs === null ? 0 : nowMs - beforeMs;
  return pausedMs > 0 ? (growth(usedBytes, nowBytes) ?? 0) / pausedMs : 0;
}

/** The new readings, and what became of those who were told to go. */
function look(before: GuardState, seen: GuardObservation, nowMs: number): GuardState {
  const pausedMs = before.nowMs === null ? 0 : nowMs - before.nowMs;
  const hasJumped = !(pausedMs >= 0);
  const stepMs = Math.min(Math.max(pausedMs, 0), LOOK_MOST_MS);
  const clockMs = before.clockMs + stepMs;
  const usedBytes = isSize(seen.usedBytes) ? seen.usedBytes : null;
  const slackBytes =
    usedBytes === null || !isSize(seen.limitBytes) ? null : seen.limitBytes - usedBytes;
  const { refaultedPages, majorFaults, stallMs } = seen;
  const now = { refaultedPages, majorFaults, stallMs, atMs: nowMs };
  const { kept, rates } = nextRates(hasJumped ? [] : before.totals, now);
  const { floorBytes, isOfMachine, mappedFileBytes } = seen;
  const brakeBytes = brakeNow(before, { ...seen, usedBytes }, nowMs);
  const mappedPeakBytes = mappedPeak(before, seen, stepMs);
  const textRatio =
    mappedFileBytes === null ? null : mappedFileBytes / Math.max(1, mappedPeakBytes);
  const strain = { slackBytes, brakeBytes, floorBytes, rates, isOfMachine, textRatio };
  const levels = nextLevel(before.levels, strain, clockMs);
  const { trees } = seen;
  const isShort = levels.emergency === "short";
  const moment = { clockMs, usedBytes, slackBytes, trees };
  const { lastEnd, inVainAtMs } = judgeLastEnd(before, moment, isShort);
  // Named one by one: there are fifty looks a second, and a spread is half the cost of one.
  return {
    levels,
    usedBytes,
    slackBytes,
    rates,
    brakeBytes,
    sparesInnocent: isShort && (inVainAtMs.length >= IN_VAIN_MOST || !wouldHelp(slackBytes, seen)),
    clockMs,
    nowMs,
    totals: kept,
    mappedPeakBytes,
    filledPerMs: paceOf(before, usedBytes, nowMs),
    evicting: before.evicting.filter((id) => trees.some((tree) => isCache(tree, id))),
    leaving: before.leaving.filter((one) => isLeaving(one, trees, clockMs)),
    evictedAtMs: before.evictedAtMs,
    ending: before.ending.filter((one) => isThere(one, trees)),
    lastEnd,
    inVainAtMs,
  };
}

/** The most text of late: what is mapped in good times, and while there are turns to map it. */
function mappedPeak(
  { mappedPeakBytes, levels }: GuardState,
  { mappedFileBytes, trees }: GuardObservation,
  stepMs: number,
): number {
  if (mappedFileBytes === null || levels.level > 0) return mappedPeakBytes;
  return textPeakBytes(mappedPeakBytes, mappedFileBytes, trees.length === 0 ? 0 : stepMs);
}

/** Whether there would be room if all our agent processes were gone. */
function wouldHelp(slackBytes: number | null, seen: GuardObservation): boolean {
  return slackBytes !== null && slackBytes + heldBy(seen.trees) >= seen.restingBrakeBytes;
}

function toEvict(state: GuardState, seen: GuardObservation): EvictAction[] {
  const { trees, restingBrakeBytes } = seen;
  const { level, cause, emergency } = state.levels;
  if (level < 2) return [];
  const isUrgent = emergency !== null;
  const isOfBytes = !isUrgent && cause === "bytes" && state.slackBytes !== null;
  const leaving = trees.filter((tree) => state.leaving.some(({ id }) => id === tree.id));
  const roomBytes = (state.slackBytes ?? 0) + heldBy(leaving);
  // Of bytes it is known how many are enough.
  let missingBytes = isOfBytes
    ? restingBrakeBytes + MARGIN_BYTES + RELEASE_BYTES - roomBytes
    : Infinity;
  const actions: EvictAction[] = [];
  for (const { id, bytes } of cacheOf(trees)) {
    if (missingBytes <= 0) break;
    if (state.evicting.includes(id)) continue;
    actions.push({ do: "evict", id, isUrgent });
    missingBytes -= bytes;
  }
  return actions;
}

function toEnd(state: GuardState, seen: GuardObservation, evictsNow: boolean): EndAction | null {
  const { lastEnd, clockMs } = state;
  const { emergency } = state.levels;
  if (lastEnd !== null && clockMs - lastEnd.atMs < END_PAUSE_MS) return null;
  if (emergency === null && seen.trees.every((tree) => overCeiling(tree) === null)) return null;
  const trees = seen.trees.flatMap((tree) => withoutEnding(tree, state.ending));
  const isTime = isTimeForNext(lastEnd, { ...state, trees: seen.trees });
  if (emergency !== null && isTime && !waitsForCache(state, seen, evictsNow)) {
    const victim = nextVictim(trees, reachOf(state, seen));
    if (victim !== null) return endOf(victim, emergency);
  }
  const over = trees.map(overCeiling).find((victim) => victim !== null);
  return over === undefined ? null : endOf(over, "ceiling");
}

/**
 * How far it may go. Between the floor and the brake everything gets on: what is free there is time to
 * win against a balloon, and no reason to end a turn that is none.
 */
function reachOf(
  { levels, slackBytes, sparesInnocent }: GuardState,
  seen: GuardObservation,
): Reach {
  if (sparesInnocent) return "balloons";
  const getsOn = levels.emergency === "short" && (slackBytes ?? 0) >= seen.floorBytes;
  return getsOn ? "swollen" : "all";
}

/** Whether to wait for cache that goes: it makes room within the pause, if memory fills no faster. */
function waitsForCache(state: GuardState, seen: GuardObservation, evictsNow: boolean): boolean {
  if (!evictsNow && state.clockMs - state.evictedAtMs >= END_PAUSE_MS) return false;
  const left = (state.slackBytes ?? Infinity) - state.filledPerMs * END_PAUSE_MS;
  return left >= seen.restingBrakeBytes / 2;
}

function remember(
  state: GuardState,
  seen: GuardObservation,
  evictions: readonly EvictAction[],
  end: EndAction | null,
): GuardState {
  const isEviction = evictions.length > 0;
  if (!isEviction && end === null) return state;
  // Rates speak of the time before: whether this helped shows only in new ones.
  const isForgotten = state.levels.emergency === "stuck";
  return {
    ...state,
    totals: isForgotten ? [] : state.totals,
    levels: isForgotten
      ? { ...state.levels, stalledSinceMs: null, thrashedSinceMs: null }
      : state.levels,
    evicting: [...state.evicting, ...evictions.map(({ id }) => id)],
    leaving: [...state.leaving, ...evictions.map(({ id }) => ({ id, sinceMs: state.clockMs }))],
    evictedAtMs: isEviction ? state.clockMs : state.evictedAtMs,
    ...(end !== null && {
      ending: [...state.ending, { id: end.id, toolId: end.toolId }],
      lastEnd: {
        id: end.id,
        toolId: end.toolId,
        atMs: state.clockMs,
        bytes: end.bytes,
        othersBytes: othersBytes({ usedBytes: state.usedBytes, trees: seen.trees }),
        slackBytes: null,
        isJudged: end.reason !== "short",
      },
    }),
  };
}

function endOf({ tree, tool }: Victim, reason: EndReason): EndAction {
  const { id, predictedBytes } = tree;
  const { bytes } = tool ?? tree;
  return { do: "end", id, toolId: tool?.id ?? null, bytes, predictedBytes, reason };
}

function isCache({ id, kind }: GuardedTree, wanted: string): boolean {
  return id === wanted && (kind === "spare" || kind === "resident");
}

/**
 * Whether what it holds will soon be free. Whoever was told to go is `closing` within a millisecond,
 * and holds what it held for some hundred of them. Claimed for a turn, it stays; and who hangs in the
 * kernel makes no room.
 */
function isLeaving(
  { id, sinceMs }: Leaving,
  trees: readonly GuardedTree[],
  clockMs: number,
): boolean {
  const isThereStill = trees.some((tree) => tree.id === id && tree.kind !== "turn");
  return isThereStill && clockMs - sinceMs < PATIENCE_MS;
}

/** Whether it is a size: a reading may be missing, or be nonsense. */
function isSize(bytes: number | null): bytes is number {
  return bytes !== null && Number.isFinite(bytes) && bytes >= 0;
}
