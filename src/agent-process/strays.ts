/**
 * Agent processes, and tools of theirs, that outlived the server that started them. The lock on
 * the data directory guarantees that no other live server has our id, so whoever carries it when
 * we start is such a stray.
 *
 * @module
 */

import { SERVER_ID_MARKER } from "../lib/process-markers.ts";
import type { AgentProcess } from "./agent-process.ts";
import { type ProcessIdentity, type ProcessTable, readProcessTable } from "./proc.ts";
import { grownMembers, markedProcesses, markerOf } from "./process-tree.ts";
import { sweep, SWEEP_LIMIT_MS } from "./terminate.ts";

/**
 * Kills the strays of an earlier server with this id. Never kills this process, nor one that
 * carries another server's id. To be called while this server has no agent processes of its own.
 * @returns How many processes are gone by it.
 */
export async function sweepStrays(serverId: string): Promise<number> {
  const killed = new Set<string>();
  const left = await sweep(() => {
    const strays = findStrays(serverId, readProcessTable());
    for (const { pid, startTicks } of strays) killed.add(`${pid} ${startTicks}`);
    return strays;
  }, SWEEP_LIMIT_MS);
  return killed.size - left;
}

/**
 * How many processes carry this server's id, or descend from one that does.
 * @param live Whose running trees are no strays. What survives of a tree is one, also where the
 *   kernel does not tell its environment any more.
 */
export function countStrays(
  serverId: string,
  live: Iterable<Pick<AgentProcess, "tree" | "treeState">> = [],
): number {
  const table = readProcessTable();
  const strays = new Set(findStrays(serverId, table).map(({ pid }) => pid));
  for (const { tree, treeState } of live) {
    // As they are now: when the tree was last looked at, it may have been smaller.
    for (const pid of grownMembers(tree.members, table).keys()) {
      if (treeState === "surviving") strays.add(pid);
      else strays.delete(pid);
    }
  }
  return strays.size;
}

function findStrays(serverId: string, table: ProcessTable): readonly ProcessIdentity[] {
  const marked = markedProcesses(table, SERVER_ID_MARKER, serverId, 0);
  const trees = grownMembers(marked, table);
  return [...trees.values()].filter(
    (stat) => (markerOf(stat, SERVER_ID_MARKER) ?? serverId) === serverId,
  );
}
