/**
 * What keeps one agent process from taking the memory of all others. At best each has a control
 * group of its own with a ceiling: there the kernel chooses among the processes of that group
 * alone. That takes groups that we may make, which is found out by making one. Where it is
 * refused, the memory guard and the ladder (`oom-ladder.ts`) are what there is.
 *
 * @module
 */

import { join } from "node:path";
import {
  type CgroupVersion,
  findHierarchies,
  groupNamesIn,
  type Hierarchy,
  readText,
} from "../capacity/cgroup.ts";
import { groupLimitBytes, MIN_CEILING_BYTES } from "../capacity/turn-ceiling.ts";
import { errnoOf } from "../lib/errno.ts";
import {
  ControlGroup,
  type GroupFiles,
  type GroupParent,
  KERNEL_FILES,
  pidsIn,
  tryToRemove,
} from "./control-group.ts";
import { delegate, makeIfMissing } from "./delegation.ts";
import { EntryLock } from "./entry-lock.ts";

/** Disposing removes what was made, and puts the server back where it was. */
export interface Containment extends AsyncDisposable {
  readonly kind: CgroupVersion | "guard";
  /** One sentence for people: what holds, or why no more than the guard does. */
  readonly text: string;
  /**
   * Whether at the limit of the replica the kernel ends everything in it, as Kubernetes has it
   * since 1.28 (`memory.oom.group`). No ladder helps then: the memory guard has to come first.
   */
  readonly killsAll: boolean;
  /** What was refused, for the log. */
  readonly notes: readonly string[];
  /**
   * A group for one process that is about to start; whoever gets it removes it.
   * @param processId Unique among those that live; only letters, digits and `-`.
   * @returns Null where there are none, or this one was refused.
   */
  openGroup(processId: string, limitBytes: number): ControlGroup | null;
  /** A process is about to be started, and to enter its group: see {@link EntryLock}. */
  expectStart(): void;
}

export interface ContainmentOptions {
  /** The setting `agentProcess.ownGroup`. */
  readonly ownGroup: boolean;
  /** Identifies the data directory: groups of another server are not ours to clean up. */
  readonly serverId: string;
  /** Directory that stands for `/`; all files are read below it. */
  readonly root?: string;
  readonly files?: GroupFiles;
}

/** How long what a killed server has left in its groups may take to go. */
const LEFT_LIMIT_MS = 3000;
/** How long their removal may take at our own end: all but survivors has gone already. */
const CLOSE_LIMIT_MS = 500;

/**
 * Finds out what holds, by trying it. Kills what an earlier server with this id left in its groups,
 * and removes them. To be called before anything else is started: in cgroup v2 the server must be
 * alone in its group.
 */
export async function detectContainment(options: ContainmentOptions): Promise<Containment> {
  const hierarchies = findHierarchies(options.root ?? "/", "memory");
  const killsAll = killsAllAtOnce(hierarchies);
  if (!options.ownGroup) {
    return guardOnly({ reason: "agentProcess.ownGroup is off", killsAll, notes: [] });
  }
  const refusals: Refusal[] = [];
  for (const hierarchy of hierarchies) {
    const tried = await tryHierarchy(hierarchy, options);
    if (!("reason" in tried)) {
      const notes = tried.parent.pidsDirectory === null ? [NO_PIDS] : [];
      return inOwnGroups(tried, { killsAll, notes, files: options.files ?? KERNEL_FILES });
    }
    refusals.push(tried);
  }
  // On a hybrid system only one hierarchy has the controller; its refusal is the one that counts.
  const telling = refusals.find(({ hasController }) => hasController) ?? NO_CONTROLLER;
  const notes = refusals.map(({ version, reason }) => `${LABELS[version]}: ${reason}`);
  return guardOnly({ reason: telling.reason, killsAll, notes });
}

const LABELS = { cgroup1: "cgroup v1", cgroup2: "cgroup v2" } as const;
const NO_CONTROLLER = { reason: "this system has no memory control groups" };
const NO_PIDS = "The pids controller is not there: the number of a turn's processes is not bounded";

interface Refusal {
  readonly version: CgroupVersion;
  readonly hasController: boolean;
  readonly reason: string;
}

/** A place for groups, in which one was made and removed again. */
interface Place {
  readonly parent: GroupParent;
  /** The group that the server is in. */
  readonly serverDirectory: string;
  readonly undo: () => void;
}

async function tryHierarchy(
  hierarchy: Hierarchy,
  options: ContainmentOptions,
): Promise<Place | Refusal> {
  const { version, groups } = hierarchy;
  const directory = groups[0]?.directory ?? "";
  const refuse = (reason: string): Refusal => ({ version, hasController: true, reason });
  if (!hasMemoryController(version, directory)) {
    return { version, hasController: false, reason: "the memory controller is not there" };
  }
  const members = pidsIn(directory);
  if (!members.includes(process.pid)) return refuse("the server's own group cannot be seen");
  if (version === "cgroup2" && members.length > 1) {
    return refuse(`the server shares its group with ${members.length - 1} other processes`);
  }
  if (version === "cgroup1" && !countsChildren(directory)) {
    return refuse("memory.use_hierarchy is off, so groups below would escape the limit");
  }
  const files = options.files ?? KERNEL_FILES;
  let place: Place | null = null;
  try {
    place = version === "cgroup2" ? openPlaceV2(directory, files) : openPlaceV1(directory, options);
    await removeLeft(place.parent, files, LEFT_LIMIT_MS);
    await tryGroup(place.parent, files);
    return place;
  } catch (thrown) {
    place?.undo();
    return refuse(reasonOf(thrown));
  }
}

function reasonOf(thrown: unknown): string {
  const errno = errnoOf(thrown);
  if (errno === "EROFS") return "the control groups are read-only here (EROFS)";
  if (errno === "EACCES" || errno === "EPERM") return `its user may make none (${errno})`;
  return `none could be made (${errno ?? String(thrown)})`;
}

function hasMemoryController(version: CgroupVersion, directory: string): boolean {
  if (version === "cgroup1") return readText(directory, "memory.limit_in_bytes").status === "read";
  const file = readText(directory, "cgroup.controllers");
  return file.status === "read" && file.text.trim().split(" ").includes("memory");
}

/** Old kernels could have limits that did not count what is in the groups below. */
function countsChildren(directory: string): boolean {
  const file = readText(directory, "memory.use_hierarchy");
  return file.status !== "read" || file.text.trim() !== "0";
}

function openPlaceV2(directory: string, files: GroupFiles): Place {
  const offered = readText(directory, "cgroup.controllers");
  const hasPids = offered.status === "read" && offered.text.trim().split(" ").includes("pids");
  const controllers = hasPids ? ["memory", "pids"] : ["memory"];
  const { turnsDirectory, serverDirectory, undo } = delegate({ directory, controllers, files });
  const pidsDirectory = hasPids ? turnsDirectory : null;
  const parent = { version: "cgroup2", directory: turnsDirectory, pidsDirectory } as const;
  return { parent, serverDirectory, undo };
}

/** Several servers may have the same own group in v1, so each has its name. */
function openPlaceV1(ownDirectory: string, options: ContainmentOptions): Place {
  const files = options.files ?? KERNEL_FILES;
  const name = `plimsoll-${options.serverId}`;
  const directory = join(ownDirectory, name);
  makeIfMissing(directory, files);
  const ownPids = findHierarchies(options.root ?? "/", "pids").find(
    ({ version }) => version === "cgroup1",
  )?.groups[0]?.directory;
  let pidsDirectory: string | null = null;
  try {
    if (ownPids !== undefined && pidsIn(ownPids).includes(process.pid)) {
      makeIfMissing(join(ownPids, name), files);
      pidsDirectory = join(ownPids, name);
    }
  } catch {
    // A hierarchy of its own, which may be closed while that of memory is open.
  }
  const undo = (): void => {
    for (const made of [directory, pidsDirectory]) if (made !== null) tryToRemove(made, files);
  };
  const parent = { version: "cgroup1", directory, pidsDirectory } as const;
  return { parent, serverDirectory: ownDirectory, undo };
}

/** Ends and removes what is left in groups of ours; what does not go in time stays. */
async function removeLeft(parent: GroupParent, files: GroupFiles, limitMs: number): Promise<void> {
  const limit = AbortSignal.timeout(limitMs);
  const names = groupNamesIn(parent.directory);
  const inPids = parent.pidsDirectory === null ? [] : groupNamesIn(parent.pidsDirectory);
  await Promise.all(
    [...new Set([...names, ...inPids])].map(async (name) => {
      const left = new ControlGroup(parent, name, files);
      left.killAll();
      await left.remove(limit, true);
    }),
  );
}

/**
 * Makes a group and removes it.
 * @throws What was refused. A sandbox that has the files and no kernel behind them (gVisor) does
 *   not count what it kills; its ceilings would be worth nothing.
 */
async function tryGroup(parent: GroupParent, files: GroupFiles): Promise<void> {
  const group = ControlGroup.make(parent, "probe", groupLimitBytes(MIN_CEILING_BYTES), files);
  const { oomKills } = group;
  await group.remove(AbortSignal.timeout(CLOSE_LIMIT_MS), true);
  if (oomKills === null) throw new Error("it does not count what it kills");
}

/**
 * Whether the kernel ends all of a group at its limit. In a container the group on which Kubernetes
 * sets that is the topmost one that can be seen.
 */
function killsAllAtOnce(hierarchies: readonly Hierarchy[]): boolean {
  const groups = hierarchies.flatMap((each) => (each.version === "cgroup2" ? each.groups : []));
  return groups.some(({ directory }) => {
    const file = readText(directory, "memory.oom.group");
    return file.status === "read" && file.text.trim() === "1";
  });
}

interface Known {
  readonly killsAll: boolean;
  readonly notes: readonly string[];
}

function inOwnGroups(place: Place, known: Known & { readonly files: GroupFiles }): Containment {
  const { parent, serverDirectory, undo } = place;
  const { killsAll, notes, files } = known;
  const entryLock = new EntryLock(serverDirectory, files);
  const text =
    `Each turn runs in a control group of its own (${LABELS[parent.version]}): ` +
    "over its ceiling the kernel ends a process of that turn, and no other";
  return {
    kind: parent.version,
    text: killsAll ? text + KILLS_ALL : text,
    killsAll,
    notes,
    openGroup: (processId, limitBytes) => {
      try {
        return ControlGroup.make(parent, processId, limitBytes, files);
      } catch {
        return null;
      }
    },
    expectStart: () => entryLock.expectEntry(),
    async [Symbol.asyncDispose]() {
      await removeLeft(parent, files, CLOSE_LIMIT_MS);
      undo();
    },
  };
}

function guardOnly({ reason, killsAll, notes }: Known & { readonly reason: string }): Containment {
  const text =
    `Turns have no control groups of their own, as ${reason}: the memory guard ends what ` +
    "balloons, and the kernel is told to kill tools first";
  return {
    kind: "guard",
    text: killsAll ? text + KILLS_ALL : text,
    killsAll,
    notes,
    openGroup: () => null,
    expectStart() {},
    async [Symbol.asyncDispose]() {},
  };
}

const KILLS_ALL =
  "; at the limit of the replica it ends all processes at once, as Kubernetes sets " +
  "memory.oom.group, so the memory guard has to come first";
