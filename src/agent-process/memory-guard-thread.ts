/**
 * The thread of the memory guard: looks at memory on a timer of its own that no other part of the
 * server can hold up, and ends by itself whom the policy (`capacity/guard.ts`) names. Everything in
 * it is synchronous; the main thread hears of it after the fact.
 *
 * @module
 */

import { parentPort, workerData } from "node:worker_threads";
import {
  brakeNow,
  FIRST_GUARD_STATE,
  type GuardAction,
  type GuardObservation,
  stepGuard,
} from "../capacity/guard.ts";
import type { GuardedTree } from "../capacity/guard-trees.ts";
import { LOOK_PAUSE_MS, lookPauseMs } from "../capacity/guard-lines.ts";
import { readMemoryPressure } from "../capacity/memory-pressure.ts";
import { MemoryMeter, type MemoryUse, usedBytesOf } from "../capacity/memory-reading.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import {
  type GuardLines,
  type GuardThreadData,
  type GuardVerdict,
  type Order,
  writeShared,
} from "./guard-wire.ts";
import { type Swarm, WatchedTrees } from "./watched-trees.ts";

const IDLE_PAUSE_MS = 500;
/** The most of one core that measuring trees may take; on a crowded host it is done less often. */
const MAX_LOAD_RATIO = 0.05;
/** No measurement is later than this, or one that had to wait for a core would blind us for long. */
const MAX_MEASURE_PAUSE_MS = 2000;
/** The share of a core in an emergency, when a choice must not be made by old figures. */
const URGENT_LOAD_RATIO = 0.3;

const { shared, verdicts, sampleIntervalMs, mayEnd, evictionMs } = workerData as GuardThreadData;
const meter = new MemoryMeter();
const trees = new WatchedTrees(mayEnd ? { onSwarm: tellOfSwarm } : {});
const evictions = new Map<string, number>();
let lines: GuardLines | null = null;
let state = FIRST_GUARD_STATE;
let measuredAtMs = -Infinity;
/** What the last measurements took. One that had to wait for a core took longer than it cost. */
let measuringTookMs: readonly number[] = [0, 0, 0];
let isSampleUnderWay = false;
let hasSamples = false;
let timer: NodeJS.Timeout | undefined;

const NOTHING_READ = {
  limitBytes: Number.NaN,
  restingBrakeBytes: 0,
  floorBytes: 0,
  use: null,
  isOfMachine: false,
  mappedFileBytes: null,
  refaultedPages: null,
  majorFaults: null,
  stallMs: null,
};

parentPort?.on("message", (order: Order) => {
  if (order.type === "watch") trees.watch(order);
  else if (order.type === "update") trees.update(order.id, order.facts, monotonicMs());
  else if (order.type === "unwatch") trees.unwatch(order.id);
  else if (order.type === "lines") lines = order.lines;
  else isSampleUnderWay = false;
  // Someone who was idle until now must not sleep on.
  if (order.type === "watch") look();
});
look();

function look(): void {
  clearTimeout(timer);
  const nowMs = monotonicMs();
  const { use, ...reading } = read();
  // Nobody is chosen by old figures.
  if (isTimeToMeasure(nowMs, usedWith(use))) measure(nowMs);
  const guarded = trees.guarded();
  const seen = {
    ...reading,
    usedBytes: usedWith(use),
    trees: mayEnd ? guarded : guarded.map(untouchable),
  };
  const step = stepGuard(state, seen, nowMs);
  state = step.state;
  for (const action of step.actions) carryOut(action, nowMs);
  finishEvictions(nowMs);
  publish(nowMs);
  timer = setTimeout(look, pauseMs());
}

/** The tree as one that is weighed, and of which nothing is to be ended. */
function untouchable(tree: GuardedTree): GuardedTree {
  return { ...tree, kind: "closing", tools: [] };
}

/** What is used: no less than the server and the trees held when they were measured last. */
function usedWith(use: MemoryUse | null): number | null {
  return use === null ? null : usedBytesOf(use, trees.measured);
}

type Readings = Omit<GuardObservation, "trees" | "usedBytes"> & { readonly use: MemoryUse | null };

function read(): Readings {
  if (lines === null) return NOTHING_READ;
  const { limit, brakeBytes, floorBytes } = lines;
  const pressure = readMemoryPressure({ limit });
  return {
    limitBytes: limit.bytes,
    restingBrakeBytes: brakeBytes,
    floorBytes,
    use: meter.read(limit),
    isOfMachine: limit.group === null,
    mappedFileBytes: pressure.mappedFileBytes.value,
    refaultedPages: pressure.refaultedPages.value,
    majorFaults: pressure.majorFaults.value,
    stallMs: pressure.stallMs.value,
  };
}

/** Whether trees are measured: as the load allows, and more often while somebody may have to go. */
function isTimeToMeasure(nowMs: number, usedBytes: number | null): boolean {
  if (trees.size === 0) return false;
  const isShort = lines !== null && usedBytes !== null && isBelowBrake(lines, usedBytes, nowMs);
  const isUrgent =
    (isShort && !state.sparesInnocent) ||
    state.levels.emergency === "stuck" ||
    state.ending.length > 0;
  const costMs = Math.min(...measuringTookMs);
  const pause = isUrgent
    ? Math.max(LOOK_PAUSE_MS, costMs / URGENT_LOAD_RATIO)
    : Math.max(sampleIntervalMs, costMs / MAX_LOAD_RATIO);
  return nowMs - measuredAtMs >= Math.min(pause, MAX_MEASURE_PAUSE_MS);
}

function isBelowBrake(
  { limit, brakeBytes }: GuardLines,
  usedBytes: number,
  nowMs: number,
): boolean {
  const seen = { limitBytes: limit.bytes, restingBrakeBytes: brakeBytes, usedBytes };
  return limit.bytes - usedBytes < brakeNow(state, seen, nowMs);
}

function measure(nowMs: number): void {
  measuredAtMs = nowMs;
  trees.look(nowMs);
  measuringTookMs = [...measuringTookMs.slice(1), monotonicMs() - nowMs];
  hasSamples = true;
}

/** Tells first and acts then, so that the main thread can always ask why a process has ended. */
function carryOut(action: GuardAction, nowMs: number): void {
  const facts = trees.factsOf(action.id);
  if (facts === null) return;
  const { predictedBytes, ceilingBytes } = facts;
  if (action.do === "end") {
    const { id, toolId, bytes, reason } = action;
    const what = toolId === null ? "turn" : "tool";
    tell({ id, what, bytes, predictedBytes, ceilingBytes, reason });
    trees.end(id, toolId, nowMs);
    return;
  }
  const { id, isUrgent } = action;
  const reason = state.levels.emergency ?? "short";
  tell({ id, what: "evicted", bytes: trees.bytesOf(id), predictedBytes, ceilingBytes, reason });
  evictions.set(id, isUrgent ? nowMs : nowMs + evictionMs);
}

function tellOfSwarm({ id, processes, bytes }: Swarm): void {
  const facts = trees.factsOf(id);
  if (facts === null) return;
  const { predictedBytes, ceilingBytes } = facts;
  tell({ id, what: "tool", bytes, predictedBytes, ceilingBytes, reason: "processes", processes });
}

function tell(verdict: GuardVerdict): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- no window, a thread
  verdicts.postMessage(verdict);
}

function finishEvictions(nowMs: number): void {
  for (const [id, dueMs] of evictions) {
    const kind = trees.factsOf(id)?.kind;
    // Claimed for a turn in the meantime, or ended already.
    if (kind !== "spare" && kind !== "resident") evictions.delete(id);
    else if (nowMs >= dueMs) {
      evictions.delete(id);
      trees.end(id, null, nowMs);
    }
  }
}

function publish(nowMs: number): void {
  const { levels, sparesInnocent, usedBytes, slackBytes, rates } = state;
  const { refaultsPerSecond, stallRatio } = rates;
  const { level, cause } = levels;
  const readings = { usedBytes, slackBytes, refaultsPerSecond, stallRatio };
  writeShared(shared, { level, cause, sparesInnocent, ...readings, lookedAtMs: nowMs });
  if (!hasSamples || isSampleUnderWay) return;
  hasSamples = false;
  isSampleUnderWay = true;
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- no window, a thread
  parentPort?.postMessage(trees.samples());
}

function pauseMs(): number {
  if (trees.size === 0) return IDLE_PAUSE_MS;
  return lookPauseMs((state.slackBytes ?? Infinity) - state.brakeBytes);
}
