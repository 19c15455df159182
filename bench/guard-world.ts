/**
 * A replica on paper: the memory of its turns, the clock of its guard, and turns that misbehave. The
 * gate and the guard's policy are the real ones; what they see and do is played here.
 *
 * @module
 */

import {
  brakeNow,
  type EndAction,
  FIRST_GUARD_STATE,
  type GuardAction,
  type GuardState,
  stepGuard,
} from "../src/capacity/guard.ts";
import { lookPauseMs } from "../src/capacity/guard-lines.ts";
import type { GuardedTree } from "../src/capacity/guard-trees.ts";
import type { Permit } from "../src/capacity/permit.ts";

const MIB = 2 ** 20;

/** How a turn misbehaves: nothing, its process grows, a tool jumps, a tool starts ever more. */
export type Mischief = "none" | "growth" | "jump" | "storm";

export interface PlannedTurn {
  readonly peakBytes: number;
  readonly durationMs: number;
  readonly mischief: Mischief;
  /** When it begins, from the start of the turn. */
  readonly mischiefAtMs: number;
  readonly fillBytesPerMs: number;
  /** How much its tool takes, if it is let. */
  readonly balloonBytes: number;
}

interface Part {
  bytes: number;
  /** When the signal takes effect; it is filled until then, and emptied from then on. */
  diesAtMs: number;
}

interface LiveTurn {
  readonly id: string;
  readonly permit: Permit;
  readonly plan: PlannedTurn;
  readonly startedAtMs: number;
  readonly agent: Part;
  tool: (Part & { readonly id: number }) | null;
  hasMisbehaved: boolean;
}

export interface WorldOptions {
  readonly limitBytes: number;
  readonly brakeBytes: number;
  readonly floorBytes: number;
  readonly parentBytes: number;
  readonly random: () => number;
}

export interface WorldCounts {
  turns: number;
  completed: number;
  misbehaved: number;
  toolsEnded: number;
  turnsEnded: number;
  /** Turns that kept to their plan and were ended all the same. */
  innocentsEnded: number;
  /** Times that more was used than there may be. */
  crossings: number;
  leastSlackBytes: number;
  looks: number;
}

/**
 * Share of the footprint that a process holds so long after its start: recorded from Claude Code,
 * 41, 86 and 117 of 117 MiB after 100, 270 and 430 ms; the rest comes with what it does.
 */
const RAMP: readonly [RampPoint, ...RampPoint[]] = [
  { ms: 0, share: 0 },
  { ms: 100, share: 0.3 },
  { ms: 270, share: 0.63 },
  { ms: 430, share: 0.86 },
  { ms: 8000, share: 1 },
];

interface RampPoint {
  readonly ms: number;
  readonly share: number;
}

const RAMPED_MS = 8000;

/** Readings that this world does not have. */
const NOTHING_ELSE_TOLD = {
  isOfMachine: false,
  mappedFileBytes: null,
  refaultedPages: null,
  majorFaults: null,
  stallMs: null,
};

/** How long a tool holds what it took, if it is let. */
const TOOL_MS = 15_000;

/** What ends is given back so fast: 1.5 GiB in about 0.3 s, measured. */
const FREED_BYTES_PER_MS = 5 * MIB;
/** How late a timer is, measured under load: mostly not, sometimes 60 ms, hardly ever 100. */
const LATE = [
  [0.0001, 100],
  [0.01, 60],
  [0.2, 10],
] as const;
/** Between a look that names somebody and the moment he takes no more: measured 2 to 15 ms. */
const ACT_MS = { least: 4, more: 12 };
/** Trees are measured that often when nothing is short. */
const MEASURE_MS = 100;
/** While nobody misbehaves nothing happens between two looks, so fewer are played. */
const CALM_LOOK_MS = 500;
/** The fastest process that grows takes half of it until then. */
const CALM_ROOM_BYTES = 256 * MIB;
/** And else memory is played in steps of this: 25 MiB of the fastest balloon. */
const FINE_MS = 5;

export class World {
  readonly counts: WorldCounts = {
    turns: 0,
    completed: 0,
    misbehaved: 0,
    toolsEnded: 0,
    turnsEnded: 0,
    innocentsEnded: 0,
    crossings: 0,
    leastSlackBytes: Infinity,
    looks: 0,
  };
  nowMs = 0;
  limitBytes: number;
  /** Of a neighbour in the same group. */
  neighbourBytes = 0;
  readonly #options: WorldOptions;
  readonly #turns = new Set<LiveTurn>();
  #guard: GuardState = FIRST_GUARD_STATE;
  #measured: readonly GuardedTree[] = [];
  #measuredAtMs = -Infinity;
  #lookAtMs = 0;
  #count = 0;
  #isOver = false;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.limitBytes = options.limitBytes;
  }

  get usedBytes(): number {
    let bytes = this.#options.parentBytes + this.neighbourBytes;
    for (const turn of this.#turns) bytes += bytesOf(turn);
    return bytes;
  }

  get level(): number {
    return this.#guard.levels.level;
  }

  start(permit: Permit, plan: PlannedTurn): void {
    this.#count += 1;
    this.counts.turns += 1;
    const agent = { bytes: 0, diesAtMs: Infinity };
    const started = { id: `t${this.#count}`, permit, plan, startedAtMs: this.nowMs, agent };
    const turn: LiveTurn = { ...started, tool: null, hasMisbehaved: false };
    permit.holder = {
      get currentBytes() {
        return bytesOf(turn);
      },
    };
    this.#turns.add(turn);
    this.#lookAtMs = Math.min(this.#lookAtMs, this.nowMs + 20);
  }

  /** Plays until then. */
  goOn(untilMs: number): void {
    while (this.nowMs < untilMs) {
      const nextMs = Math.min(untilMs, Math.max(this.#lookAtMs, this.nowMs + 1));
      this.#fill(nextMs);
      this.nowMs = nextMs;
      if (this.nowMs >= this.#lookAtMs) this.#look();
    }
  }

  /** Memory from now until then; nobody acts in between. */
  #fill(untilMs: number): void {
    const isCalm = this.#isCalm();
    for (let atMs = this.nowMs; atMs < untilMs;) {
      const toMs = isCalm ? untilMs : Math.min(untilMs, atMs + FINE_MS);
      for (const turn of this.#turns) this.#fillTurn(turn, atMs, toMs);
      atMs = toMs;
      this.#judge();
    }
  }

  #fillTurn(turn: LiveTurn, fromMs: number, toMs: number): void {
    const { plan, agent } = turn;
    const ageMs = toMs - turn.startedAtMs;
    const isDue = ageMs >= plan.mischiefAtMs && plan.mischief !== "none";
    if (isDue && !turn.hasMisbehaved && agent.diesAtMs === Infinity) {
      turn.hasMisbehaved = true;
      this.counts.misbehaved += 1;
      if (plan.mischief !== "growth") {
        turn.tool = { id: (this.#count += 1), bytes: 0, diesAtMs: toMs + TOOL_MS };
      }
    }
    const isGrowing = isDue && plan.mischief === "growth";
    const planned = rampAt(ageMs) * plan.peakBytes;
    const grown = isGrowing ? (ageMs - plan.mischiefAtMs) * plan.fillBytesPerMs : 0;
    if (agent.diesAtMs > fromMs) agent.bytes = planned + grown;
    giveBack(agent, fromMs, toMs);
    if (turn.tool !== null) {
      const { tool } = turn;
      const filledMs = Math.min(toMs, tool.diesAtMs) - fromMs;
      if (filledMs > 0) {
        tool.bytes = Math.min(plan.balloonBytes, tool.bytes + filledMs * plan.fillBytesPerMs);
      }
      giveBack(tool, fromMs, toMs);
      if (tool.diesAtMs <= toMs && tool.bytes === 0) turn.tool = null;
    }
    const isDone = ageMs >= plan.durationMs && turn.tool === null && agent.diesAtMs === Infinity;
    if (isDone) {
      this.counts.completed += 1;
      agent.diesAtMs = toMs;
    }
    if (agent.diesAtMs <= toMs && agent.bytes === 0 && turn.tool === null) {
      this.#turns.delete(turn);
      turn.permit[Symbol.dispose]();
    }
  }

  #judge(): void {
    const slackBytes = this.limitBytes - this.usedBytes;
    this.counts.leastSlackBytes = Math.min(this.counts.leastSlackBytes, slackBytes);
    const isOver = slackBytes < 0;
    if (isOver && !this.#isOver) this.counts.crossings += 1;
    this.#isOver = isOver;
  }

  /** Whether nothing can come near the brake before the next calm look. */
  #isCalm(): boolean {
    const roomBytes = this.limitBytes - this.usedBytes - this.#options.brakeBytes;
    if (this.level > 0) return false;
    for (const { plan, startedAtMs, tool, agent, hasMisbehaved } of this.#turns) {
      const isDying = agent.diesAtMs !== Infinity || (tool?.diesAtMs ?? Infinity) <= this.nowMs;
      const isFilling = tool !== null && tool.bytes < plan.balloonBytes;
      if (isDying || isFilling) return false;
      if (plan.mischief === "none") continue;
      if (hasMisbehaved) {
        if (plan.mischief === "growth" && roomBytes < CALM_ROOM_BYTES) return false;
        continue;
      }
      if (this.nowMs + CALM_LOOK_MS + 100 >= startedAtMs + plan.mischiefAtMs) return false;
    }
    return true;
  }

  #look(): void {
    this.counts.looks += 1;
    const { usedBytes, limitBytes } = this;
    const { brakeBytes: restingBrakeBytes, floorBytes } = this.#options;
    const slackBytes = limitBytes - usedBytes;
    const seenNow = { limitBytes, restingBrakeBytes, usedBytes };
    const brake = brakeNow(this.#guard, seenNow, this.nowMs);
    const isUrgent = slackBytes < brake || this.#guard.ending.length > 0;
    if (isUrgent || this.nowMs - this.#measuredAtMs >= MEASURE_MS) this.#measure();
    const seen = {
      ...seenNow,
      floorBytes,
      trees: this.#measured,
      ...NOTHING_ELSE_TOLD,
    };
    const { state, actions } = stepGuard(this.#guard, seen, this.nowMs);
    this.#guard = state;
    for (const action of actions) this.#obey(action);
    const pauseMs = this.#isCalm() ? CALM_LOOK_MS : lookPauseMs(slackBytes - state.brakeBytes);
    this.#lookAtMs = this.nowMs + pauseMs + this.#lateness();
  }

  #lateness(): number {
    const drawn = this.#options.random();
    return LATE.find(([chance]) => drawn < chance)?.[1] ?? 0;
  }

  #measure(): void {
    this.#measuredAtMs = this.nowMs;
    this.#measured = Array.from(this.#turns, (turn) => ({
      id: turn.id,
      kind: turn.plan.durationMs <= this.nowMs - turn.startedAtMs ? "closing" : "turn",
      bytes: bytesOf(turn),
      predictedBytes: turn.permit.bytes,
      ceilingBytes: null,
      startedAtMs: turn.startedAtMs,
      hasOutput: this.nowMs - turn.startedAtMs > 1000,
      tools: turn.tool === null ? [] : [{ id: turn.tool.id, bytes: turn.tool.bytes }],
    }));
  }

  #obey(action: GuardAction): void {
    if (action.do === "evict") return;
    const turn = [...this.#turns].find(({ id }) => id === action.id);
    if (turn === undefined) return;
    const diesAtMs = this.nowMs + ACT_MS.least + this.#options.random() * ACT_MS.more;
    this.#countEnd(turn, action);
    if (turn.tool !== null) turn.tool.diesAtMs = Math.min(turn.tool.diesAtMs, diesAtMs);
    if (action.toolId === null) turn.agent.diesAtMs = Math.min(turn.agent.diesAtMs, diesAtMs);
  }

  #countEnd(turn: LiveTurn, { toolId }: EndAction): void {
    if (toolId !== null) this.counts.toolsEnded += 1;
    else this.counts.turnsEnded += 1;
    if (!turn.hasMisbehaved) this.counts.innocentsEnded += 1;
  }
}

/** What was told to die gives back what it took. */
function giveBack(part: Part, fromMs: number, toMs: number): void {
  if (part.diesAtMs >= toMs) return;
  const freedMs = toMs - Math.max(fromMs, part.diesAtMs);
  part.bytes = Math.max(0, part.bytes - freedMs * FREED_BYTES_PER_MS);
}

function bytesOf({ agent, tool }: LiveTurn): number {
  return agent.bytes + (tool?.bytes ?? 0);
}

function rampAt(ageMs: number): number {
  if (ageMs >= RAMPED_MS) return 1;
  let before = RAMP[0];
  for (const point of RAMP) {
    if (ageMs < point.ms) {
      const passed = (ageMs - before.ms) / (point.ms - before.ms);
      return before.share + (point.share - before.share) * passed;
    }
    before = point;
  }
  return 1;
}
