/**
 * What the main thread and the thread of the memory guard say to each other.
 *
 * What must be known at once is in memory that both see. Verdicts have a channel of their own that
 * the main thread can empty without waiting: they are sent before the signal, so whoever sees that
 * a process has ended can ask why. Samples are sent one batch at a time, the next when the last was
 * taken: however long the main thread is busy, no more than one lies waiting.
 *
 * @module
 */

import type { MessagePort } from "node:worker_threads";
import type { GuardLevel, LevelCause } from "../capacity/guard-level.ts";
import type { TreeKind } from "../capacity/guard-trees.ts";
import type { EndReason } from "../capacity/guard.ts";
import type { MeteredLimit } from "../capacity/memory-reading.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { ProcessIdentity, ProcessStat } from "./proc.ts";
import type { TreeSample } from "./process-tree.ts";

/** What the guard has to know of a tree to judge it. */
export interface TreeFacts {
  readonly kind: TreeKind;
  /** The turn that it works for now; null for none. */
  readonly turnId: string | null;
  readonly predictedBytes: number;
  /** The most it may hold; null for no limit of its own. */
  readonly ceilingBytes: number | null;
  /** Whether its caller has read something of it. */
  readonly hasOutput: boolean;
}

/** Where the lines are, of `guard-lines.ts`. */
export interface GuardLines {
  readonly limit: MeteredLimit;
  readonly brakeBytes: number;
  readonly floorBytes: number;
}

export type Order =
  | ({ readonly type: "watch"; readonly id: string; readonly root: ProcessStat } & {
      readonly facts: TreeFacts;
      readonly startedAtMs: number;
    })
  | { readonly type: "update"; readonly id: string; readonly facts: Partial<TreeFacts> }
  | { readonly type: "unwatch"; readonly id: string }
  | { readonly type: "lines"; readonly lines: GuardLines }
  /** The last samples were taken. */
  | { readonly type: "taken" };

export interface SampleMessage {
  readonly id: string;
  readonly sample: TreeSample;
  /** Who is in the tree; null for the same as last time. */
  readonly members: readonly ProcessIdentity[] | null;
}

/** What the guard did, or is about to do. */
export type GuardVerdict = EndVerdict | EvictVerdict;

/** A turn was ended, or a tool of one. */
export interface EndVerdict extends VerdictGrounds {
  readonly what: "tool" | "turn";
  /** How many processes a tool was that was ended for their number. */
  readonly processes?: number;
}

/** A spare or a resident has to go. */
export interface EvictVerdict extends VerdictGrounds {
  readonly what: "evicted";
}

interface VerdictGrounds {
  readonly id: string;
  /** What was ended held; of a tool, the tool alone. */
  readonly bytes: number;
  /** What the whole tree was predicted to hold. */
  readonly predictedBytes: number;
  readonly ceilingBytes: number | null;
  readonly reason: EndReason;
}

export interface GuardThreadData {
  /** What both threads see: a {@link SharedStatus}, of which each part is at its {@link FIELD}. */
  readonly shared: SharedArrayBuffer;
  readonly verdicts: MessagePort;
  readonly sampleIntervalMs: number;
  /** False to measure only, and end nothing. */
  readonly mayEnd: boolean;
  /** What the main thread has to end a spare or a resident politely. */
  readonly evictionMs: number;
}

/** What both threads see, as the guard has looked at it last. */
export interface SharedStatus {
  readonly level: GuardLevel;
  readonly cause: LevelCause;
  readonly sparesInnocent: boolean;
  readonly usedBytes: number | null;
  readonly slackBytes: number | null;
  readonly refaultsPerSecond: number | null;
  readonly stallRatio: number | null;
  /** By {@link monotonicMs}. */
  readonly lookedAtMs: number;
}

const CAUSES: readonly LevelCause[] = ["none", "bytes", "refaults", "stalls", "unknown"];
/** Where in the shared memory each part of the status is. */
const FIELD = {
  level: 0,
  cause: 1,
  sparesInnocent: 2,
  usedBytes: 3,
  slackBytes: 4,
  refaultsPerSecond: 5,
  stallRatio: 6,
  lookedAtMs: 7,
} as const satisfies Record<keyof SharedStatus, number>;
const FIELD_COUNT = Object.keys(FIELD).length;
const FIELD_BYTES = BigInt64Array.BYTES_PER_ELEMENT;
/** Stands for null: nothing real is that small. */
const NOTHING = -(2n ** 62n);

export function makeShared(): SharedArrayBuffer {
  const shared = new SharedArrayBuffer(FIELD_COUNT * FIELD_BYTES);
  const cause = "unknown";
  const nothing = { usedBytes: null, slackBytes: null, refaultsPerSecond: null, stallRatio: null };
  writeShared(shared, { level: 0, cause, sparesInnocent: false, ...nothing, lookedAtMs: 0 });
  return shared;
}

/** One field after the other: a reader in between sees parts of two looks, each of them true. */
export function writeShared(shared: SharedArrayBuffer, status: SharedStatus): void {
  const fields = new BigInt64Array(shared);
  const put = (index: number, value: number | null): void => {
    Atomics.store(fields, index, value === null ? NOTHING : BigInt(Math.round(value)));
  };
  put(FIELD.level, status.level);
  put(FIELD.cause, CAUSES.indexOf(status.cause));
  put(FIELD.sparesInnocent, status.sparesInnocent ? 1 : 0);
  put(FIELD.usedBytes, status.usedBytes);
  put(FIELD.slackBytes, status.slackBytes);
  put(FIELD.refaultsPerSecond, status.refaultsPerSecond);
  put(FIELD.stallRatio, status.stallRatio === null ? null : status.stallRatio * PARTS);
  put(FIELD.lookedAtMs, status.lookedAtMs);
}

export function readShared(shared: SharedArrayBuffer): SharedStatus {
  const fields = new BigInt64Array(shared);
  const get = (index: number): number | null => {
    const value = Atomics.load(fields, index);
    return value === NOTHING ? null : Number(value);
  };
  const stall = get(FIELD.stallRatio);
  return {
    level: (get(FIELD.level) ?? 0) as GuardLevel,
    cause: CAUSES[get(FIELD.cause) ?? 0] ?? "unknown",
    sparesInnocent: get(FIELD.sparesInnocent) === 1,
    usedBytes: get(FIELD.usedBytes),
    slackBytes: get(FIELD.slackBytes),
    refaultsPerSecond: get(FIELD.refaultsPerSecond),
    stallRatio: stall === null ? null : stall / PARTS,
    lookedAtMs: get(FIELD.lookedAtMs) ?? 0,
  };
}

/**
 * Whether the guard looks. Every admission and refusal asks, so nothing is made for the answer.
 * @param startedAtMs When its thread was started, by {@link monotonicMs}.
 */
export function isLooking(shared: SharedArrayBuffer, startedAtMs: number): boolean {
  const lookedAtMs = Number(Atomics.load(new BigInt64Array(shared), FIELD.lookedAtMs));
  const hasLooked = lookedAtMs >= startedAtMs;
  const silentMs = monotonicMs() - (hasLooked ? lookedAtMs : startedAtMs);
  return silentMs < (hasLooked ? ALIVE_MS : FIRST_LOOK_MS);
}

/** Whether nothing was wrong when the guard looked last; as cheap as {@link isLooking}. */
export function sawRoom(shared: SharedArrayBuffer): boolean {
  return Atomics.load(new BigInt64Array(shared), FIELD.level) === 0n;
}

/** A guard that looked longer ago is silent. It looks twice a second when idle, else fifty times. */
const ALIVE_MS = 2_500;
/** For the first look a thread has to load its program, in the middle of the first burst. */
const FIRST_LOOK_MS = 15_000;

/** A ratio is kept in thousandths. */
const PARTS = 1000;
