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
  const turns = weighed(turnsOf(capacity.turns, live, ended, atMs), capacity.promisedBytes);
  const trees = capacity.turns.filter(({ kind }) => kind === "resident" || kind === "spare");
  const idleBytes = sum(trees.map(heldBytes));
  // Read one after the other: a process may have grown in between.
  const restingBytes = Math.min(idleBytes, capacity.kept.longRunningBytes);
  const { usedBytes, poolBytes, committedBytes, limitBytes, loadLineBytes } = capacity;
  const turnsHeldBytes = sum(turns.map((turn) => turn.heldBytes ?? 0));
  const turnsBytes = sum(turns.map((turn) => turn.weightBytes));
  const aboveServerBytes = idleBytes + turnsBytes + poolBytes;
  const serverBytes = Math.max(
    0,
    Math.min(usedBytes - idleBytes - turnsHeldBytes, committedBytes - aboveServerBytes),
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

function heldBytes(tree: ProcessTree): number {
  return tree.bytes ?? 0;
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}
