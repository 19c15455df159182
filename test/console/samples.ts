/**
 * What a replica of 2 GiB tells, for tests of the page's pure parts.
 *
 * @module
 */
import type { FeedDecision, FeedHello, FeedTurn } from "../../src/protocol/feed.ts";
import type { Capacity, CapacityEvent, ProcessTree } from "../../console/src/feed/capacity.ts";

export const MIB = 2 ** 20;
export const START_MS = 1_800_000_000_000;

/** Figures that agree with each other: committed is used, promised and the pool. */
export function capacity(given: Partial<Capacity> = {}): Capacity {
  const limitBytes = 2048 * MIB;
  const loadLineBytes = 1867 * MIB;
  const { usedBytes = 130 * MIB, promisedBytes = 0, poolBytes = 0 } = given;
  const committedBytes = usedBytes + promisedBytes + poolBytes;
  const heldBytes = (given.turns ?? []).reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
  return {
    limitBytes,
    limitSource: "memory.max",
    safetyReserveBytes: limitBytes - loadLineBytes,
    loadLineBytes,
    usedBytes,
    parentBytes: Math.max(0, usedBytes - heldBytes),
    parentGrowthBytes: 0,
    promisedBytes,
    poolBytes,
    committedBytes,
    headroomBytes: Math.max(0, loadLineBytes - committedBytes),
    inflight: 0,
    resting: 0,
    nextTurnBytes: 136 * MIB,
    turnsThatFit: 12,
    maxTurns: null,
    maxTurnsForNow: null,
    draining: false,
    pressure: null,
    admitted: 0,
    shed: { memory: 0 },
    memory: { covers: "group" },
    binds: "memory",
    cpu: {
      cpus: 2,
      perTurn: null,
      turnsThatFit: null,
      starting: 0,
      startsAtOnce: 2,
      startsWaiting: 0,
    },
    containment: { text: "" },
    guard: { level: 0, text: "room for more: 1,700 MiB are free" },
    kept: { residents: 0, longRunning: 0, longRunningBytes: 0, spares: 0, evictableBytes: 0 },
    footprints: {},
    turns: [],
    ...given,
  };
}

export function capacityEvent(atMs: number, given: Partial<Capacity> = {}): CapacityEvent {
  return {
    type: "capacity",
    atMs,
    capacity: capacity(given),
    readiness: { state: "ready", reason: "" },
    sessions: { isShared: false, idle: 0, transcriptBytes: 0, countedAtMs: START_MS },
  };
}

export function tree(turnId: string | null, given: Partial<ProcessTree> = {}): ProcessTree {
  return {
    processId: turnId ?? "process",
    turnId,
    kind: turnId === null ? "resident" : "turn",
    ageMs: 1000,
    bytes: 100 * MIB,
    peakBytes: 100 * MIB,
    predictedBytes: turnId === null ? null : 136 * MIB,
    ceilingBytes: null,
    ...given,
  };
}

export function turn(turnId: string, given: Partial<FeedTurn> = {}): FeedTurn {
  return {
    turnId,
    agent: "hello",
    tenant: "default",
    caller: "anonymous",
    sessionId: "5f0c",
    threadId: "demo",
    startedAtMs: START_MS,
    processSource: "started",
    predictedBytes: 136 * MIB,
    carriedBytes: 0,
    stages: [{ stage: "writing", sinceMs: START_MS }],
    firstTokenMs: null,
    toolCalls: 0,
    toolsEnded: 0,
    toolsKilled: 0,
    endedAtMs: null,
    peakBytes: null,
    promptTokens: null,
    outputTokens: null,
    costUsd: null,
    outcome: null,
    ...given,
  };
}

export function ended(turnId: string, given: Partial<FeedTurn> = {}): FeedTurn {
  const outcome = { status: "completed", detail: null, message: null } as const;
  return turn(turnId, { endedAtMs: START_MS + 5000, peakBytes: 120 * MIB, outcome, ...given });
}

export function hello(startedAtMs = START_MS, nowMs = START_MS): FeedHello {
  return { type: "hello", nowMs, replica: "replica-1", version: "0.1.0", startedAtMs };
}

export function decision(atMs: number, given: Partial<FeedDecision> = {}): FeedDecision {
  return {
    type: "decision",
    atMs,
    admitted: true,
    reason: null,
    text: "admitted: 1 in flight",
    agent: "hello",
    tenant: "default",
    untold: 0,
    ...given,
  };
}
