/**
 * Agent processes, and tools of theirs, that outlived the server that started them. The lock on
 * the data directory guarantees that no other live server has our id, so whoever carries it when
 * we start is such a stray.
 *
 * @module
 */

import { SERVER_ID_MARKER } from "../lib/process-markers.ts";
import { type ProcessIdentity, readProcessTable, readVariable } from "./proc.ts";
import { grownMembers, markedProcesses } from "./process-tree.ts";
import { sweep, SWEEP_LIMIT_MS } from "./terminate.ts";

/**
 * Kills the strays of an earlier server with this id. Never kills this process, nor one that
 * carries another server's id. To be called while this server has no agent processes of its own.
 * @returns How many processes there were.
 */
export async function sweepStrays(serverId: string): Promise<number> {
  const killed = new Set<string>();
  await sweep(() => {
    const strays = findStrays(serverId);
    for (const { pid, startTicks } of strays) killed.add(`${pid} ${startTicks}`);
    return strays;
  }, SWEEP_LIMIT_MS);
  return killed.size;
}

/** How many processes carry this server's id, or descend from one that does. */
export function countStrays(serverId: string): number {
  return findStrays(serverId).length;
}

function findStrays(serverId: string): readonly ProcessIdentity[] {
  const table = readProcessTable();
  const marked = markedProcesses(table, SERVER_ID_MARKER, serverId, 0);
  const trees = grownMembers(marked, table);
  return [...trees.values()].filter(
    ({ pid }) => (readVariable(pid, SERVER_ID_MARKER) ?? serverId) === serverId,
  );
}
