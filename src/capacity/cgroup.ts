/**
 * Finds the control groups this process lives in, for one controller: its own group first, then
 * every ancestor that can be seen. What the files of a group mean is for those who read them.
 *
 * Two maps are laid over each other: `/proc/self/cgroup` says where the process is in the
 * hierarchy, `/proc/self/mountinfo` where that hierarchy can be read, and from which group on
 * (proc(5), cgroups(7)). In a private cgroup namespace both say `/`.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export type Controller = "memory" | "cpu" | "pids";
export type CgroupVersion = "cgroup2" | "cgroup1";

export interface CgroupGroup {
  /** Path inside the hierarchy as this process sees it, for people to read: `/kubepods/pod1`. */
  readonly path: string;
  /** Where its files are, below the root that was given. */
  readonly directory: string;
  /** Whether this is the topmost group that can be seen. */
  readonly isTop: boolean;
}

/** One hierarchy that manages, or could manage, the controller. */
export interface Hierarchy {
  readonly version: CgroupVersion;
  /** Own group first, the topmost visible one last; never empty. */
  readonly groups: readonly CgroupGroup[];
}

/** What reading a small file of the system came to. */
export type FileText =
  | {
      readonly status: "read";
      readonly text: string;
      /** Why the text is an earlier one, in words; absent if it is that of now. */
      readonly failure?: string;
    }
  | { readonly status: "missing" }
  | { readonly status: "unreadable"; readonly reason: string };

export type ReadFile = (directory: string, name: string) => FileText;

interface Mount {
  readonly version: CgroupVersion;
  /** The group that is visible at the mount point. */
  readonly topGroup: string;
  readonly mountPoint: string;
}

/** Reads a file, keeping apart that it is not there and that it cannot be read. */
export function readText(directory: string, name: string): FileText {
  try {
    return { status: "read", text: readFileSync(join(directory, name), "utf8") };
  } catch (thrown) {
    const reason = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "unknown";
    // ENODEV: the group was removed while its file was open.
    const isMissing = reason === "ENOENT" || reason === "ENOTDIR" || reason === "ENODEV";
    return isMissing ? { status: "missing" } : { status: "unreadable", reason };
  }
}

/**
 * The hierarchies that carry the controller, v2 before v1; empty where there are no control groups.
 * Both exist at once on hybrid systems, where only one of them has the controller's files.
 */
export function findHierarchies(
  root: string,
  controller: Controller,
  readFile: ReadFile = readText,
): readonly Hierarchy[] {
  const mounts = cgroupMounts(linesOf(readFile(root, "proc/self/mountinfo")), controller);
  const paths = ownPaths(linesOf(readFile(root, "proc/self/cgroup")), controller);
  return (["cgroup2", "cgroup1"] as const).flatMap((version) => {
    const candidates = mounts.filter((mount) => mount.version === version);
    const ownPath = paths[version];
    const mount =
      candidates.find((candidate) => isWithin(ownPath, candidate.topGroup)) ?? candidates[0];
    return mount === undefined ? [] : [{ version, groups: groupsOf(root, mount, ownPath) }];
  });
}

/** The directories of all groups below this one, the deepest first. */
export function* groupsBelow(directory: string): Generator<string, void> {
  for (const name of groupNamesIn(directory)) {
    const group = join(directory, name);
    yield* groupsBelow(group);
    yield group;
  }
}

/** What is asked group by group has to end, also in a hierarchy with thousands of them. */
const MAX_ASKED_GROUPS = 256;

/** As {@link groupsBelow}, the first 256 of them. */
export function* someBelow(directory: string): Generator<string, void> {
  let count = 0;
  for (const group of groupsBelow(directory)) {
    if (count >= MAX_ASKED_GROUPS) return;
    count += 1;
    yield group;
  }
}

export function groupNamesIn(directory: string): readonly string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    return []; // It has gone meanwhile.
  }
}

/** From the own group up to the mount point, whose group sets limits as every ancestor does. */
function groupsOf(root: string, mount: Mount, ownPath: string): CgroupGroup[] {
  // A path outside of what is mounted says nothing about where the own files are. The mount
  // point is then the best there is: usually the own group, at worst an ancestor.
  const below = isWithin(ownPath, mount.topGroup) ? ownPath.slice(mount.topGroup.length) : "";
  const names = below.split("/").filter((name) => name !== "");
  const groups: CgroupGroup[] = [];
  for (let depth = names.length; depth >= 0; depth -= 1) {
    const relative = names.slice(0, depth).join("/");
    groups.push({
      path: join("/", mount.topGroup, relative),
      directory: join(root, mount.mountPoint, relative),
      isTop: depth === 0,
    });
  }
  return groups;
}

function isWithin(path: string, topGroup: string): boolean {
  if (path.includes("/..")) return false; // Outside of the cgroup namespace.
  return topGroup === "" || path === topGroup || path.startsWith(`${topGroup}/`);
}

/** Lines of `/proc/self/cgroup`: `4:memory:/docker/1f` in v1, `0::/kubepods/pod1` in v2. */
function ownPaths(lines: readonly string[], controller: Controller): Record<CgroupVersion, string> {
  const paths = { cgroup2: "", cgroup1: "" };
  for (const line of lines) {
    const [, id, controllers = "", path = ""] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    if (id === "0" && controllers === "") paths.cgroup2 = trimSlash(path);
    else if (controllers.split(",").includes(controller)) paths.cgroup1 = trimSlash(path);
  }
  return paths;
}

/** Lines of `/proc/self/mountinfo`; fields 4 and 5 are the root and the mount point, proc(5). */
function cgroupMounts(lines: readonly string[], controller: Controller): Mount[] {
  const mounts: Mount[] = [];
  for (const line of lines) {
    const [before = "", after = ""] = line.split(" - ", 2);
    const [, , , topGroup = "/", mountPoint = "/"] = before.split(" ").map(unescapeOctal);
    const [type = "", , superOptions = ""] = after.split(" ");
    if (type === "cgroup2") {
      mounts.push({ version: "cgroup2", topGroup: trimSlash(topGroup), mountPoint });
    } else if (type === "cgroup" && superOptions.split(",").includes(controller)) {
      mounts.push({ version: "cgroup1", topGroup: trimSlash(topGroup), mountPoint });
    }
  }
  return mounts.length > 0 ? mounts : usualMounts(controller);
}

/** Where the hierarchies are by custom, for sandboxes that hide or simplify mountinfo. */
function usualMounts(controller: Controller): Mount[] {
  return [
    { version: "cgroup2", topGroup: "", mountPoint: "/sys/fs/cgroup" },
    { version: "cgroup1", topGroup: "", mountPoint: `/sys/fs/cgroup/${controller}` },
  ];
}

function linesOf(file: FileText): string[] {
  return file.status === "read" ? file.text.split("\n").filter((line) => line !== "") : [];
}

/** The kernel writes space, tab, newline and backslash of a path as `\040` and so on. */
function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

function trimSlash(path: string): string {
  return path.replace(/\/+$/, "");
}
