/**
 * Hands a controller of its own group down and takes it back, and prints what the kernel said each
 * time. To be run alone in a group of cgroup v2.
 *
 * Usage: node --import jiti/register delegate.child.ts DIRECTORY CONTROLLER
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { KERNEL_FILES } from "../../src/agent-process/control-group.ts";
import { delegate } from "../../src/agent-process/delegation.ts";
import { errnoOf } from "../../src/lib/errno.ts";

const [directory = "", controller = ""] = process.argv.slice(2);

export interface Report {
  /** What the kernel says to who hands down without leaving the group first. */
  readonly refusal: string | undefined;
  readonly delegated: Look;
  readonly undone: Look;
}

interface Look {
  /** Where this process is, below the group that it was started in. */
  readonly place: string;
  readonly handedDown: string;
  readonly groups: readonly string[];
  /** Whether a new group below `plimsoll-turns` has the controller. */
  readonly offered: string | null;
}

function look(turnsDirectory: string | null): Look {
  const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "";
  let offered: string | null = null;
  if (turnsDirectory !== null) {
    const group = join(turnsDirectory, "turn-1");
    KERNEL_FILES.make(group);
    offered = readFileSync(join(group, "cgroup.controllers"), "utf8").trim();
    KERNEL_FILES.remove(group);
  }
  return {
    place: own.slice(own.indexOf("/", 1) + 1 || own.length),
    handedDown: readFileSync(join(directory, "cgroup.subtree_control"), "utf8").trim(),
    groups: readdirSync(directory).filter((name) => name.startsWith("plimsoll-")),
    offered,
  };
}

function tryWithoutLeaving(): string | undefined {
  try {
    KERNEL_FILES.write(directory, "cgroup.subtree_control", `+${controller}`);
    return undefined;
  } catch (thrown) {
    return errnoOf(thrown);
  }
}

const refusal = tryWithoutLeaving();
const { turnsDirectory, undo } = delegate({
  directory,
  controllers: [controller],
  files: KERNEL_FILES,
});
const delegated = look(turnsDirectory);
undo();
const report: Report = { refusal, delegated, undone: look(null) };
process.stdout.write(JSON.stringify(report));
