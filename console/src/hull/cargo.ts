/**
 * What the memory of a replica holds, from the keel up: the figures of the gate, told apart by what
 * they are for. Pure.
 *
 * The gate knows three sums: used, promised and the pool. Here used is split into the processes
 * that are known and the rest, which is the server, and promised is given to the turns it is for,
 * so that all parts together are what is committed.
 *
 * @module
 */

import type { FeedTurn } from "../../../src/protocol/feed.ts";
import type { CapacityEvent, ProcessTree } from "../feed/capacity.ts";

export interface Cargo {
  readonly limitBytes: number;
  readonly loadLineBytes: number;
  readonly committedBytes: number;
  readonly headroomBytes: number;
  /** The server, and whatever else counts against the limit. */
  readonly serverBytes: number;
  /** Sessions whose processes stay and are committed in full. */
  readonly restingBytes: number;
  /** Processes that give way to turns: residents and spares. */
  readonly keptBytes: number;
  readonly turns: readonly TurnCargo[];
  /** Promised to what is not drawn by itself, as spares that still start. */
  readonly otherBytes: number;
  readonly poolBytes: number;
}

export interface TurnCargo {
  readonly turnId: string;
  /** Null until the feed has told of it. */
  readonly turn: FeedTurn | null;
  readonly predictedBytes: number;
  /** Held now; null while nobody has measured it. */
  readonly heldBytes: number | null;
  readonly ceilingBytes: number | null;
  /** What it counts for: what it holds, and what is promised to it beyond that. */
  readonly weightBytes: number;
  /** Whether its turn is over and its processes are not yet gone. */
  readonly isClosing: boolean;
}

/**
 * The cargo as it was when its capacity was told: turns that came or went since then would not agree
 * with the sums.
 */
export function cargoOf(
  event: CapacityEvent,
  live: ReadonlyMap<string, FeedTurn>,
  ended: readonly FeedTurn[] = [],
): Cargo {
  const { atMs, capacity } = event;
  const { usedBytes, poolBytes, committedBytes, limitBytes, loadLineBytes } = capacity;
  const trees = capacity.turns.filter(({ kind }) => kind === "resident" || kind === "spare");
  const idleBytes = sum(trees.map(heldBytes));
  // Read one after the other: a process may have grown in between.
  const restingBytes = Math.min(idleBytes, capacity.kept.longRunningBytes);
  const leastServerBytes = capacity.parentBytes + capacity.parentGrowthBytes;
  const turns = within(
    weighed(turnsOf(capacity.turns, live, ended, atMs), capacity.promisedBytes),
    committedBytes - leastServerBytes - idleBytes - poolBytes,
  );
  const turnsHeldBytes = sum(turns.map((turn) => turn.heldBytes ?? 0));
  const aboveServerBytes = idleBytes + weightOf(turns) + poolBytes;
  const serverBytes = Math.max(
    0,
    Math.min(
      Math.max(leastServerBytes, usedBytes - idleBytes - turnsHeldBytes),
      committedBytes - aboveServerBytes,
    ),
  );
  return {
    limitBytes,
    loadLineBytes,
    committedBytes,
    headroomBytes: Math.max(0, loadLineBytes - committedBytes),
    serverBytes,
    restingBytes,
    keptBytes: idleBytes - restingBytes,
    turns,
    otherBytes: Math.max(0, committedBytes - aboveServerBytes - serverBytes),
    poolBytes,
  };
}

/**
 * What the gate has promised is all that turns may outgrow what they hold by: since they were
 * admitted it may have learned that they need less than was predicted then.
 */
function weighed(turns: readonly TurnCargo[], promisedBytes: number): readonly TurnCargo[] {
  const heldBytesOf = (turn: TurnCargo) => turn.heldBytes ?? 0;
  const missingBytes = sum(turns.map((turn) => turn.weightBytes - heldBytesOf(turn)));
  if (missingBytes <= promisedBytes) return turns;
  return turns.map((turn) => {
    const held = heldBytesOf(turn);
    const missing = (turn.weightBytes - held) * (promisedBytes / missingBytes);
    return { ...turn, weightBytes: held + missing };
  });
}

/**
 * Processes are looked at less often than all that is used: for a moment they are told to hold what
 * was given back already. It is taken from those whose turns are over, and then from all alike.
 */
function within(turns: readonly TurnCargo[], roomBytes: number): readonly TurnCargo[] {
  if (weightOf(turns) <= roomBytes) return turns;
  const runningBytes = weightOf(turns.filter(({ isClosing }) => !isClosing));
  const closingBytes = weightOf(turns) - runningBytes;
  const runningRatio = ratioOf(roomBytes, runningBytes);
  const closingRatio = ratioOf(roomBytes - runningBytes, closingBytes);
  return turns.map((turn) => {
    const ratio = turn.isClosing ? closingRatio : runningRatio;
    const toldBytes = turn.heldBytes;
    return {
      ...turn,
      heldBytes: toldBytes === null ? null : toldBytes * ratio,
      weightBytes: turn.weightBytes * ratio,
    };
  });
}

/** How much of it there is room for, from 0 to 1. */
function ratioOf(roomBytes: number, bytes: number): number {
  return bytes <= roomBytes ? 1 : Math.max(0, roomBytes) / bytes;
}

/** Those that have a process, and those that wait for theirs. One may have ended since. */
function turnsOf(
  trees: readonly ProcessTree[],
  live: ReadonlyMap<string, FeedTurn>,
  ended: readonly FeedTurn[],
  atMs: number,
): readonly TurnCargo[] {
  const processes = new Map<string, ProcessTree>();
  for (const tree of trees) {
    if (tree.kind === "turn" || tree.kind === "closing" || tree.kind === null) {
      processes.set(tree.turnId ?? tree.processId, tree);
    }
  }
  const waiting = [...live.values()].filter(
    ({ turnId, startedAtMs, stages }) =>
      startedAtMs <= atMs && !processes.has(turnId) && stages.at(-1)?.stage !== "ending",
  );
  const ids = [...processes.keys(), ...waiting.map(({ turnId }) => turnId)];
  const known = (turnId: string) =>
    live.get(turnId) ?? ended.find((turn) => turn.turnId === turnId);
  return ids.map((turnId) => turnOf(turnId, processes.get(turnId), known(turnId)));
}

function turnOf(
  turnId: string,
  tree: ProcessTree | undefined,
  turn: FeedTurn | undefined,
): TurnCargo {
  const held = tree?.bytes ?? null;
  const isClosing = tree?.kind === "closing";
  const predictedBytes = isClosing ? 0 : (tree?.predictedBytes ?? turn?.predictedBytes ?? 0);
  return {
    turnId,
    turn: turn ?? null,
    predictedBytes,
    heldBytes: held,
    ceilingBytes: tree?.ceilingBytes ?? null,
    weightBytes: Math.max(predictedBytes, held ?? 0),
    isClosing,
  };
}

/**
 * The place of each turn: it keeps its own while it is on board, and a new one takes the lowest that
 * is free, so that little moves when turns come and go.
 */
export function stowed(
  places: ReadonlyMap<string, number>,
  turns: readonly TurnCargo[],
): ReadonlyMap<string, number> {
  const kept = new Map<string, number>();
  for (const { turnId } of turns) {
    const place = places.get(turnId);
    if (place !== undefined) kept.set(turnId, place);
  }
  const taken = new Set(kept.values());
  let lowest = 0;
  for (const { turnId } of turns) {
    if (kept.has(turnId)) continue;
    while (taken.has(lowest)) lowest += 1;
    taken.add(lowest);
    kept.set(turnId, lowest);
  }
  return kept;
}

function weightOf(turns: readonly TurnCargo[]): number {
  return sum(turns.map(({ weightBytes }) => weightBytes));
}

function heldBytes(tree: ProcessTree): number {
  return tree.bytes ?? 0;
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}
