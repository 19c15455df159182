/**
 * A control group for a whole server and all it starts: the memory of a container, made by the
 * kernel as for a container. It stands below the group of this process, so that no limit of ours is
 * escaped; where none may be made there, below the next one that can be seen.
 *
 * @module
 */

import { findHierarchies, groupNamesIn } from "../capacity/cgroup.ts";
import { ControlGroup, type GroupFiles, type GroupParent, KERNEL_FILES } from "./control-group.ts";
import { isAlive, readProcessStat, readProcessTable } from "./proc.ts";

const PREFIX = "plimsoll-measure";
/** How long what a killed run has left may take to go. */
const LEFT_LIMIT_MS = 3_000;

/**
 * Makes the group, and removes what runs that were killed have left beside it.
 *
 * @param root Directory that stands for `/`.
 * @returns Null where none may be made.
 */
export async function makeReplicaGroup(
  limitBytes: number,
  root = "/",
  files: GroupFiles = KERNEL_FILES,
): Promise<ControlGroup | null> {
  for (const { version, groups } of findHierarchies(root, "memory")) {
    for (const { directory } of groups) {
      const parent = { version, directory, pidsDirectory: null };
      await removeLeft(parent, files);
      const group = tryToMake(parent, limitBytes, files);
      if (group !== null) return group;
    }
  }
  return null;
}

function tryToMake(parent: GroupParent, limitBytes: number, files: GroupFiles) {
  try {
    const name = `${PREFIX}-${process.pid}-${readProcessStat(process.pid)?.startTicks ?? 0}`;
    const group = ControlGroup.make(parent, name, limitBytes, files);
    // A directory that is none has no such file.
    if (group.oomKills !== null) return group;
    void group.remove(AbortSignal.abort());
    return null;
  } catch {
    return null;
  }
}

/** Removes the groups of processes that are gone: the name says whose a group is. */
async function removeLeft(parent: GroupParent, files: GroupFiles): Promise<void> {
  const table = readProcessTable();
  for (const name of groupNamesIn(parent.directory)) {
    const [, pid, startTicks] = /^plimsoll-measure-(\d+)-(\d+)$/.exec(name) ?? [];
    if (pid === undefined || Number(pid) === process.pid) continue;
    if (isAlive({ pid: Number(pid), startTicks: Number(startTicks) }, table)) continue;
    const left = new ControlGroup(parent, name, files);
    left.killAll();
    await left.remove(AbortSignal.timeout(LEFT_LIMIT_MS), true);
  }
}
