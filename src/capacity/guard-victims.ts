/**
 * Whom the memory guard ends, and in what order. Pure; when it comes to it is `guard.ts`.
 *
 *     1  spares, then residents        cache: nobody's work is lost
 *     2  a tool of the turn furthest over its prediction: the turn goes on without it
 *     3  the turn furthest over its prediction
 *     4  the largest tool, though its turn is within its prediction
 *     5  the youngest turn that has said nothing yet, else the youngest
 *
 * 4 and 5 are turns that did nothing wrong, in a replica that took on too much. It comes to them
 * only below the floor, or when nothing gets on.
 *
 * @module
 */

import { MIB } from "../lib/byte-units.ts";
import {
  excessOf,
  type GuardedTool,
  type GuardedTree,
  heldBy,
  type TreeKind,
} from "./guard-trees.ts";

export interface Victim {
  readonly tree: GuardedTree;
  /** Null to end the whole tree. */
  readonly tool: GuardedTool | null;
}

/**
 * How far it may go: to `all`; only to who is over his prediction (1 to 3); or only to who is the
 * cause, whatever else there is, for when ending another would not help.
 */
export type Reach = "all" | "swollen" | "balloons";

/** Ending a smaller tool would free too little to matter. */
const TOOL_LEAST_BYTES = 64 * MIB;
/** Less is within the error of a prediction. */
const TURN_EXCESS_LEAST_BYTES = 32 * MIB;
/** From here on a tree is the cause of a shortage, whatever else there is. */
const BALLOON_EXCESS_BYTES = 64 * MIB;

/** Spares and residents, spares first, the largest first among equals. */
export function cacheOf(trees: readonly GuardedTree[]): readonly GuardedTree[] {
  const sizes = (kind: TreeKind) =>
    trees.filter((tree) => tree.kind === kind).sort((one, other) => other.bytes - one.bytes);
  return [...sizes("spare"), ...sizes("resident")];
}

/**
 * The next to be ended, once the cache is gone; null if there is nobody left.
 * @param trees Without those that are being ended.
 */
export function nextVictim(trees: readonly GuardedTree[], reach: Reach): Victim | null {
  const byExcess = trees
    .filter(({ kind }) => kind === "turn" || kind === "closing")
    .sort((one, other) => excessOf(other) - excessOf(one));
  const leastExcess = reach === "balloons" ? BALLOON_EXCESS_BYTES : 0;
  const swollen = byExcess.filter((tree) => excessOf(tree) > leastExcess);
  const turns = byExcess.filter(({ kind }) => kind === "turn");
  const [furthest] = turns.filter(
    (tree) => excessOf(tree) > Math.max(leastExcess, TURN_EXCESS_LEAST_BYTES),
  );
  return (
    largestTool(swollen.filter(isCausedByTools)) ??
    (furthest === undefined ? null : { tree: furthest, tool: null }) ??
    (reach === "all" ? (largestTool(byExcess) ?? youngest(turns)) : null)
  );
}

/** What is to be ended of a tree above its own ceiling; null if it is not. */
export function overCeiling(tree: GuardedTree): Victim | null {
  if (tree.kind !== "turn" || tree.ceilingBytes === null) return null;
  if (tree.bytes <= tree.ceilingBytes) return null;
  const [largest] = bySize(tree.tools);
  // Without its tools the turn would be within its ceiling: it can go on.
  const isOfTools = tree.bytes - heldBy(tree.tools) <= tree.ceilingBytes;
  return { tree, tool: isOfTools && largest !== undefined ? largest : null };
}

/** Ending a tool does not help against an agent process that grows. */
function isCausedByTools(tree: GuardedTree): boolean {
  return heldBy(tree.tools) >= excessOf(tree) / 2;
}

/** The largest tool of the first tree that has one worth ending. */
function largestTool(trees: readonly GuardedTree[]): Victim | null {
  for (const tree of trees) {
    const [tool] = bySize(tree.tools);
    if (tool !== undefined && tool.bytes >= TOOL_LEAST_BYTES) return { tree, tool };
  }
  return null;
}

function bySize(tools: readonly GuardedTool[]): readonly GuardedTool[] {
  return [...tools].sort((one, other) => other.bytes - one.bytes);
}

function youngest(turns: readonly GuardedTree[]): Victim | null {
  const [tree] = [...turns].sort(
    (one, other) =>
      Number(one.hasOutput) - Number(other.hasOutput) || other.startedAtMs - one.startedAtMs,
  );
  return tree === undefined ? null : { tree, tool: null };
}
