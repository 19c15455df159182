/**
 * Real control groups for tests: a parent of their own in the hierarchies of cgroup v1, with a
 * limit, so that no experiment with memory can reach the machine.
 *
 * @module
 */

import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { GroupParent } from "../../src/agent-process/control-group.ts";
import { until } from "./leaks.ts";

const MEMORY = "/sys/fs/cgroup/memory";
const PIDS = "/sys/fs/cgroup/pids";
export const UNIFIED = "/sys/fs/cgroup/unified";

let made = 0;

/** Where the groups of a test are made; disposing waits until they are empty and removes them. */
export interface TestGroups extends AsyncDisposable {
  readonly parent: GroupParent;
  /** Begins a command line that is run in the memory group of the parent. */
  readonly enter: readonly string[];
  /** Names of the groups there are now, in any hierarchy. */
  readonly names: () => readonly string[];
}

export function testGroups1(limitBytes: number): TestGroups {
  const [directory, pidsDirectory] = [newGroup(MEMORY), newGroup(PIDS)];
  writeFileSync(join(directory, "memory.limit_in_bytes"), String(limitBytes));
  return groupsAt({ version: "cgroup1", directory, pidsDirectory });
}

/** In a hierarchy of v2 that has no memory controller: all but its limits is real. */
export function testGroups2(): TestGroups {
  return groupsAt({ version: "cgroup2", directory: newGroup(UNIFIED), pidsDirectory: null });
}

export function readGroup(directory: string, name: string): string {
  return readFileSync(join(directory, name), "utf8").trim();
}

/** What a server that was killed leaves for its next start, which a test may not have. */
export function removeGroupsOf(serverId: string): void {
  const own = readFileSync("/proc/self/cgroup", "utf8");
  for (const hierarchy of [MEMORY, PIDS]) {
    const controller = hierarchy.slice(hierarchy.lastIndexOf("/") + 1);
    const path = new RegExp(`^\\d+:${controller}:(.*)$`, "m").exec(own)?.[1];
    if (path !== undefined) isRemoved(join(hierarchy, path, `plimsoll-${serverId}`));
  }
}

/** Null where v1 groups can be made. */
export function reasonForNoGroups1(): string | null {
  return refusalAt(MEMORY, "memory.limit_in_bytes") ?? refusalAt(PIDS, "pids.max");
}

export function reasonForNoGroups2(): string | null {
  return refusalAt(UNIFIED, "cgroup.kill");
}

/** Whether there is a group of this name, and what was tried. */
function refusalAt(hierarchy: string, file: string): string | null {
  let directory: string | null = null;
  try {
    directory = newGroup(hierarchy);
    // Without the hierarchy this is a directory like any other, or cannot be made at all.
    if (!readdirSync(directory).includes(file)) return `${hierarchy} has no ${file}`;
    return null;
  } catch {
    return `cannot make groups in ${hierarchy}`;
  } finally {
    if (directory !== null) rmdirSync(directory);
  }
}

function newGroup(hierarchy: string): string {
  made += 1;
  const directory = join(hierarchy, `plimsoll-test-${process.pid}-${made}`);
  mkdirSync(directory);
  return directory;
}

function groupsAt(parent: GroupParent): TestGroups {
  const directories = [parent.directory, parent.pidsDirectory].filter((each) => each !== null);
  return {
    parent,
    enter: [
      "/bin/sh",
      "-c",
      `echo $$ >${join(parent.directory, "cgroup.procs")} && exec "$@"`,
      "sh",
    ],
    names: () => directories.flatMap(groupNames),
    async [Symbol.asyncDispose]() {
      for (const directory of directories) {
        await until(() => isRemoved(directory), `the groups in ${directory} to be empty`);
      }
    },
  };
}

function isRemoved(directory: string): boolean {
  try {
    for (const name of groupNames(directory)) rmdirSync(join(directory, name));
    rmdirSync(directory);
    return true;
  } catch {
    return false;
  }
}

function groupNames(directory: string): readonly string[] {
  const entries = readdirSync(directory, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}
