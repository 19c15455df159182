/**
 * Makes room for the groups of agent processes below the server's own group in cgroup v2. There
 * only a group without processes can hand its controllers down, so the server goes first:
 *
 *     own group            own group               + memory, pids
 *       the server   ─▶      plimsoll-server         the server
 *                            plimsoll-turns        + memory, pids
 *
 * Nobody else is ever moved. See "No Internal Process Constraint" in cgroup-v2.rst of the
 * kernel's admin guide.
 *
 * @module
 */

import { join } from "node:path";
import { readText } from "../capacity/cgroup.ts";
import { errnoOf } from "../lib/errno.ts";
import type { GroupFiles } from "./control-group.ts";

export interface DelegateOptions {
  /** The server's own group; nobody else may be in it. */
  readonly directory: string;
  /** To hand down, all of them offered by `cgroup.controllers`. */
  readonly controllers: readonly string[];
  readonly files: GroupFiles;
}

export interface Delegation {
  /** Where the server is now. */
  readonly serverDirectory: string;
  /** Groups made below it have the controllers. */
  readonly turnsDirectory: string;
  /** Puts everything back as it was; what is still in use stays. Never throws. */
  readonly undo: () => void;
}

/** @throws What the kernel refused; everything is then as it was before. */
export function delegate({ directory, controllers, files }: DelegateOptions): Delegation {
  const leaf = join(directory, "plimsoll-server");
  const turnsDirectory = join(directory, "plimsoll-turns");
  const self = String(process.pid);
  const undos: (() => void)[] = [];
  const undo = (): void => {
    for (const step of undos.splice(0).toReversed()) {
      try {
        step();
      } catch {
        // The group has gone meanwhile, or someone is in it.
      }
    }
  };
  const make = (group: string): void => {
    makeIfMissing(group, files);
    undos.push(() => files.remove(group));
  };
  const handDown = (group: string): void => {
    const down = readText(group, "cgroup.subtree_control");
    const already = down.status === "read" ? down.text.trim().split(" ") : [];
    const missing = controllers.filter((controller) => !already.includes(controller));
    if (missing.length === 0) return;
    const order = (sign: string) => missing.map((controller) => sign + controller).join(" ");
    files.write(group, "cgroup.subtree_control", order("+"));
    undos.push(() => files.write(group, "cgroup.subtree_control", order("-")));
  };
  try {
    make(leaf);
    files.write(leaf, "cgroup.procs", self);
    undos.push(() => files.write(directory, "cgroup.procs", self));
    handDown(directory);
    make(turnsDirectory);
    handDown(turnsDirectory);
    return { serverDirectory: leaf, turnsDirectory, undo };
  } catch (thrown) {
    undo();
    throw thrown;
  }
}

/** A server that was killed may have left it. */
export function makeIfMissing(directory: string, files: GroupFiles): void {
  try {
    files.make(directory);
  } catch (thrown) {
    if (errnoOf(thrown) !== "EEXIST") throw thrown;
  }
}
