/**
 * Agent processes, and tools of theirs, that outlived the server that started them. The lock on
 * the data directory guarantees that no other live server has our id, so whoever carries it when
 * we start is such a stray.
 *
 * @module
 */

import { SERVER_ID_MARKER } from "../lib/process-markers.ts";
import type { AgentProcess } from "./agent-process.ts";
import { type ProcessIdentity, readProcessTable, readVariable } from "./proc.ts";
import { grownMembers, markedProcesses } from "./process-tree.ts";
import { sweep, SWEEP_LIMIT_MS } from "./terminate.ts";

/**
 * Kills the strays of an earlier server with this id. Never kills this process, nor one that
 * carries another server's id. To be called while this server has no agent processes of its own.
 * @returns How many processes are gone by it.
 */
export async function sweepStrays(serverId: string): Promise<number> {
  const killed = new Set<string>();
  const left = await sweep(() => {
    const strays = findStrays(serverId);
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
  const strays = new Set(findStrays(serverId).map(({ pid }) => pid));
  for (const { tree, treeState } of live) {
    for (const { pid } of tree.members) {
      if (treeState === "surviving") strays.add(pid);
      else strays.delete(pid);
    }
  }
  return strays.size;
}

function findStrays(serverId: string): readonly ProcessIdentity[] {
  const table = readProcessTable();
  const marked = markedProcesses(table, SERVER_ID_MARKER, serverId, 0);
  const trees = grownMembers(marked, table);
  return [...trees.values()].filter(
    ({ pid }) => (readVariable(pid, SERVER_ID_MARKER) ?? serverId) === serverId,
  );
}
