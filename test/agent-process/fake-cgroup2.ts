/**
 * Stands for the kernel of a cgroup v2 system: real directories and files below a temporary root,
 * changed by the rules of cgroup-v2.rst. No v2 system with a memory controller is needed.
 *
 * @module
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type GroupFiles, KERNEL_FILES } from "../../src/agent-process/control-group.ts";
import { mount2, type SystemTree, writeTree } from "../capacity/system-tree.ts";

/** Controllers that cannot be handed down by a group with processes in it. */
const DOMAIN_CONTROLLERS = ["memory"];

const FILES_OF: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  memory: {
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "memory.oom.group": "0\n",
    "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
    "memory.peak": "0\n",
  },
  pids: { "pids.max": "max\n" },
};

export interface FakeCgroup2 extends SystemTree {
  readonly files: GroupFiles;
  /** The group this process is in at first, which is all that it sees. */
  readonly own: string;
  /** Every change that was asked for and done, oldest first. */
  readonly done: readonly string[];
  read(group: string, name: string): string;
  /** Names of the groups below the own one, with their members. */
  groups(): Readonly<Record<string, string>>;
}

export interface FakeOptions {
  readonly controllers?: string;
  /** Members of the own group; just this process without it. */
  readonly members?: readonly number[];
  readonly oomGroup?: string;
  /** Throws to refuse a change, e.g. `write plimsoll-turns/cgroup.subtree_control`. */
  readonly refuse?: (change: string) => void;
}

export function fakeCgroup2(options: FakeOptions = {}): FakeCgroup2 {
  const { controllers = "cpu memory pids", members = [process.pid], oomGroup = "0" } = options;
  const tree = writeTree({
    "proc/self/mountinfo": mount2("/sys/fs/cgroup"),
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/memory.max": `${2 ** 31}\n`,
    "sys/fs/cgroup/memory.oom.group": `${oomGroup}\n`,
    "sys/fs/cgroup/cgroup.controllers": `${controllers}\n`,
    "sys/fs/cgroup/cgroup.subtree_control": "\n",
    "sys/fs/cgroup/cgroup.procs": members.map((pid) => `${pid}\n`).join(""),
  });
  const own = join(tree.root, "sys/fs/cgroup");
  const done: string[] = [];
  const change = (what: string, act: () => void): void => {
    options.refuse?.(what);
    act();
    done.push(what);
  };
  const nameOf = (directory: string) => directory.slice(own.length + 1);
  const files: GroupFiles = {
    make: (directory) => change(`make ${nameOf(directory)}`, () => make(directory)),
    remove: (directory) => change(`remove ${nameOf(directory)}`, () => remove(directory)),
    write: (directory, name, text) =>
      change(`write ${join(nameOf(directory), name)} ${text}`, () => {
        if (!existsSync(join(directory, name))) throw refusal("ENOENT");
        if (name === "cgroup.procs") move(own, directory, text);
        else if (name === "cgroup.subtree_control") handDown(directory, text);
        else KERNEL_FILES.write(directory, name, text);
      }),
    writeAside: async (...args) => files.write(...args),
  };
  return {
    ...tree,
    files,
    own,
    done,
    read: (group, name) => readFileSync(join(own, group, name), "utf8").trim(),
    groups: () =>
      Object.fromEntries(
        allGroups(own).map((group) => [nameOf(group), membersOf(group).join(" ")]),
      ),
  };
}

export function refusal(code: string): Error {
  return Object.assign(new Error(code), { code, errno: -1 });
}

function make(directory: string): void {
  mkdirSync(directory);
  const offered = wordsIn(dirname(directory), "cgroup.subtree_control");
  write(directory, "cgroup.controllers", `${offered.join(" ")}\n`);
  write(directory, "cgroup.subtree_control", "\n");
  write(directory, "cgroup.procs", "");
  write(directory, "cgroup.kill", "");
  for (const controller of offered) offer(directory, controller);
}

function remove(directory: string): void {
  if (!existsSync(directory)) throw refusal("ENOENT");
  if (groupsIn(directory).length > 0 || membersOf(directory).length > 0) throw refusal("EBUSY");
  rmSync(directory, { recursive: true });
}

function move(own: string, to: string, pid: string): void {
  if (wordsIn(to, "cgroup.subtree_control").some((name) => DOMAIN_CONTROLLERS.includes(name))) {
    throw refusal("EBUSY");
  }
  for (const group of [own, ...allGroups(own)]) {
    const rest = membersOf(group).filter((member) => member !== pid);
    write(group, "cgroup.procs", rest.map((member) => `${member}\n`).join(""));
  }
  write(to, "cgroup.procs", [...membersOf(to), pid].map((member) => `${member}\n`).join(""));
}

/** `+memory +pids` or `-memory`: all of it, or nothing. */
function handDown(directory: string, order: string): void {
  const now = new Set(wordsIn(directory, "cgroup.subtree_control"));
  for (const word of order.split(" ")) {
    const controller = word.slice(1);
    if (!wordsIn(directory, "cgroup.controllers").includes(controller)) throw refusal("ENOENT");
    const below = groupsIn(directory);
    if (word.startsWith("+")) {
      const hasMembers = membersOf(directory).length > 0;
      if (hasMembers && DOMAIN_CONTROLLERS.includes(controller)) throw refusal("EBUSY");
      now.add(controller);
    } else {
      const isInUse = below.some((group) =>
        wordsIn(group, "cgroup.subtree_control").includes(controller),
      );
      if (isInUse) throw refusal("EBUSY");
      now.delete(controller);
    }
  }
  write(directory, "cgroup.subtree_control", `${[...now].join(" ")}\n`);
  for (const group of groupsIn(directory)) {
    write(group, "cgroup.controllers", `${[...now].join(" ")}\n`);
    for (const controller of Object.keys(FILES_OF)) {
      if (now.has(controller)) offer(group, controller);
      else withdraw(group, controller);
    }
  }
}

function offer(group: string, controller: string): void {
  for (const [name, text] of Object.entries(FILES_OF[controller] ?? {})) write(group, name, text);
}

function withdraw(group: string, controller: string): void {
  for (const name of Object.keys(FILES_OF[controller] ?? {}))
    rmSync(join(group, name), { force: true });
}

function write(group: string, name: string, text: string): void {
  writeFileSync(join(group, name), text);
}

function wordsIn(group: string, name: string): readonly string[] {
  return readFileSync(join(group, name), "utf8").trim().split(" ").filter(Boolean);
}

function membersOf(group: string): readonly string[] {
  return readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").filter(Boolean);
}

function groupsIn(group: string): readonly string[] {
  const entries = readdirSync(group, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(group, name));
}

function allGroups(group: string): readonly string[] {
  return groupsIn(group).flatMap((each) => [each, ...allGroups(each)]);
}
