/**
 * What the memory guard knows of the agent processes and of what they started. Pure.
 *
 * @module
 */

/**
 * `closing`: told to end, and ending by itself. Its agent process is let be; a tool of it that
 * balloons is not, since nobody waits for what it does.
 */
export type TreeKind = "turn" | "resident" | "spare" | "closing";

/** One agent process with all it started, as last measured. */
export interface GuardedTree {
  readonly id: string;
  readonly kind: TreeKind;
  /** Private memory of all of it. */
  readonly bytes: number;
  readonly predictedBytes: number;
  /** The most it may hold; null for no limit of its own. */
  readonly ceilingBytes: number | null;
  /** On any one clock for all trees. */
  readonly startedAtMs: number;
  /** Whether its caller has read something of it. */
  readonly hasOutput: boolean;
  readonly tools: readonly GuardedTool[];
}

/** What an agent process started, with everything below it: a Bash call, an MCP server, a hook. */
export interface GuardedTool {
  /** Unique within the tree for as long as it lives. */
  readonly id: number;
  readonly bytes: number;
}

/** One who was told to end, or is about to be. */
export interface EndingOne {
  readonly id: string;
  /** Null for the whole tree. */
  readonly toolId: number | null;
}

export function excessOf(tree: GuardedTree): number {
  return tree.bytes - tree.predictedBytes;
}

export function heldBy(all: readonly { readonly bytes: number }[]): number {
  return all.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The tree as it will be when what is being ended of it is gone; none if that is all of it. */
export function withoutEnding(tree: GuardedTree, ending: readonly EndingOne[]): GuardedTree[] {
  const ends = ending.filter(({ id }) => id === tree.id);
  if (ends.some(({ toolId }) => toolId === null)) return [];
  const isEnding = (toolId: number) => ends.some((one) => one.toolId === toolId);
  const leaving = tree.tools.filter(({ id }) => isEnding(id));
  const tools = tree.tools.filter(({ id }) => !isEnding(id));
  return [{ ...tree, tools, bytes: tree.bytes - heldBy(leaving) }];
}

export function isThere({ id, toolId }: EndingOne, trees: readonly GuardedTree[]): boolean {
  const tree = trees.find((each) => each.id === id);
  if (tree === undefined || toolId === null) return tree !== undefined;
  return tree.tools.some((tool) => tool.id === toolId);
}
