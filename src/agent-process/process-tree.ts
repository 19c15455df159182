/**
 * The processes that belong to one agent process: itself, its tools, and whatever those started.
 *
 * Parentage alone does not hold a tree together: a Bash tool is in a session of its own, and a
 * process whose parent ends is given to init. So membership sticks: who was once seen in the tree
 * stays in it until it ends; and {@link markedProcesses} finds those who left before being seen,
 * by the marker in their environment.
 *
 * @module
 */

import type { ForkedMemory } from "./forked-memory.ts";
import { KnownMarkers, type Marker } from "./known-markers.ts";
import {
  isAlive,
  type ProcessIdentity,
  type ProcessStat,
  type ProcessTable,
  readPrivateBytes,
  readProcessStat,
} from "./proc.ts";

/** A tool of an agent process, or an MCP server, a hook: what it started, with all below it. */
export interface ToolTree {
  /** Pid of its first process; of the oldest, where the first has ended. */
  readonly id: number;
  readonly members: readonly MeasuredProcess[];
}

export interface MeasuredProcess extends ProcessStat {
  readonly bytes: number;
}

/** What one look at a tree found. */
export interface TreeSample {
  /** Private memory of all members. */
  readonly currentBytes: number;
  /** The most that any look found since {@link ProcessTree.forgetPeak}. */
  readonly peakBytes: number;
  /** Private memory of the agent process alone. */
  readonly agentBytes: number;
  /** Private memory of all that the agent process started. */
  readonly toolBytes: number;
  /** Time of a core that all of it has used so far, as far as it was seen. */
  readonly cpuMs: number;
}

export class ProcessTree {
  /** Unique among the processes that live; in the environment of all members as their marker. */
  readonly processId: string;
  /** The agent process; null where the system does not tell (no `/proc`): then the tree is empty. */
  readonly root: ProcessStat | null;
  #members: ReadonlyMap<number, ProcessStat>;
  /** Members that the thread that samples has found, see {@link adopt}. */
  #adopted: readonly ProcessIdentity[] = [];
  #sample: TreeSample | null = null;
  #tools: readonly ToolTree[] = [];
  /** What members that have ended had used, as last seen. */
  #endedCpuMs = 0;

  constructor(processId: string, root: ProcessStat | null) {
    this.processId = processId;
    this.root = root;
    this.#members = new Map(root === null ? [] : [[root.pid, root]]);
  }

  /** Who was in the tree when it was looked at last, here or by the thread that samples. */
  get members(): readonly ProcessIdentity[] {
    const all = new Map<number, ProcessIdentity>(this.#members);
    for (const member of this.#adopted) all.set(member.pid, member);
    return [...all.values()];
  }

  /** Who was in the tree, and how, when it was looked at here. */
  get stats(): readonly ProcessStat[] {
    return [...this.#members.values()];
  }

  has(pid: number): boolean {
    return this.#members.has(pid);
  }

  /** The last measurement; null before it. */
  get sample(): TreeSample | null {
    return this.#sample;
  }

  /**
   * CPU time of the members that are known, read now; null where it cannot be told, and while one of
   * them waits in the kernel, as for a disk.
   */
  cpuNowMs(): number | null {
    const stats = this.members
      .map(({ pid }) => readProcessStat(pid))
      .filter((stat) => stat !== null);
    if (stats.length === 0 || stats.some(({ waitsInKernel }) => waitsInKernel)) return null;
    return stats.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
  }

  /** Private memory of all members at the last measurement; null before it. */
  get currentBytes(): number | null {
    return this.#sample?.currentBytes ?? null;
  }

  /** The most that any measurement saw since {@link forgetPeak}. */
  get peakBytes(): number | null {
    return this.#sample?.peakBytes ?? null;
  }

  /** The tools at the last measurement that was made here. */
  get tools(): readonly ToolTree[] {
    return this.#tools;
  }

  /** The tools as the members are now, which nobody has measured yet. */
  toolsNow(): ReturnType<typeof toolsOf> {
    return toolsOf(this.root, this.#members);
  }

  /**
   * Brings the members up to date with the table, and returns those who are new.
   * @param marked Processes known to belong here by their marker.
   */
  grow(table: ProcessTable, marked: readonly ProcessIdentity[] = []): readonly ProcessStat[] {
    const before = this.#members;
    const known = new Map(this.members.map(({ pid, startTicks }) => [pid, startTicks]));
    this.#members = grownMembers([...this.members, ...marked], table);
    this.#adopted = [];
    for (const { pid, startTicks, cpuMs } of before.values()) {
      if (this.#members.get(pid)?.startTicks !== startTicks) this.#endedCpuMs += cpuMs;
    }
    return [...this.#members.values()].filter(
      ({ pid, startTicks }) => known.get(pid) !== startTicks,
    );
  }

  /**
   * Adds up the memory of the members.
   * @param forked What is known of those that only forked; without it they are worth little.
   */
  measure(forked: ForkedMemory | null = null): void {
    const bytesOf = ownBytesOf(this.#members, forked);
    if (bytesOf.size === 0) return;
    const agentBytes = bytesOf.get(this.root?.pid ?? 0) ?? 0;
    let toolBytes = 0;
    this.#tools = toolsOf(this.root, this.#members).map(({ id, members }) => {
      const measured = members.map((each) => ({ ...each, bytes: bytesOf.get(each.pid) ?? 0 }));
      for (const { bytes } of measured) toolBytes += bytes;
      return { id, members: measured };
    });
    const currentBytes = agentBytes + toolBytes;
    const cpuMs = [...this.#members.values()].reduce((sum, member) => sum + member.cpuMs, 0);
    this.#keep({ currentBytes, agentBytes, toolBytes, cpuMs: cpuMs + this.#endedCpuMs });
  }

  /**
   * Takes over what was found elsewhere.
   * @param members Who is in the tree; null for the same as before.
   */
  adopt(sample: TreeSample, members: readonly ProcessIdentity[] | null): void {
    if (members !== null) this.#adopted = members;
    this.#keep(sample);
  }

  /** A new turn begins: from now on the peak is that of what comes. */
  forgetPeak(): void {
    if (this.#sample === null) return;
    this.#sample = { ...this.#sample, peakBytes: this.#sample.currentBytes };
  }

  /** The peak was told: the next one is of looks to come, and not of the last, which may be old. */
  toldPeak(): void {
    if (this.#sample !== null) this.#sample = { ...this.#sample, peakBytes: 0 };
  }

  /** Peak and used time never fall by a look, whoever looked. */
  #keep(sample: Omit<TreeSample, "peakBytes"> & Partial<TreeSample>): void {
    const { currentBytes, peakBytes = currentBytes, cpuMs } = sample;
    this.#sample = {
      ...sample,
      peakBytes: Math.max(peakBytes, this.#sample?.peakBytes ?? 0),
      cpuMs: Math.max(cpuMs, this.#sample?.cpuMs ?? 0),
    };
  }
}

/**
 * Private memory of each process. One that was forked and runs no program of its own yet shows the
 * pages of its parent, which still has them: only what it has beyond those is its own. In the
 * moment between fork and exec a tool would else count as large as the agent process itself.
 */
function ownBytesOf(
  members: ReadonlyMap<number, ProcessStat>,
  forked: ForkedMemory | null,
): ReadonlyMap<number, number> {
  const shown = new Map<number, number | null>();
  const read = (pid: number): number | null => {
    const known = shown.get(pid);
    if (known !== undefined) return known;
    const bytes = readPrivateBytes(pid);
    shown.set(pid, bytes);
    return bytes;
  };
  const own = new Map<number, number>();
  for (const member of members.values()) {
    const { pid, parentPid, hasOwnProgram } = member;
    const bytes = read(pid);
    if (bytes === null) continue;
    if (hasOwnProgram) own.set(pid, bytes);
    else if (forked === null) own.set(pid, Math.max(0, bytes - (read(parentPid) ?? 0)));
    else
      own.set(pid, forked.ownBytes(member, bytes, members.has(parentPid) ? read(parentPid) : null));
  }
  return own;
}

/** The members still alive, and all their descendants, as the table has them. */
export function grownMembers(
  members: readonly ProcessIdentity[],
  table: ProcessTable,
): ReadonlyMap<number, ProcessStat> {
  const grown = new Map<number, ProcessStat>();
  const queue = members
    .filter((member) => isAlive(member, table))
    .flatMap(({ pid }) => table.byPid.get(pid) ?? []);
  for (const member of queue) {
    if (grown.has(member.pid)) continue;
    grown.set(member.pid, member);
    queue.push(...(table.childrenOf.get(member.pid) ?? []));
  }
  return grown;
}

/**
 * The members apart from the agent process, by the process that it started. One whose parents have
 * ended belongs to the tool whose session it is in; the others that tools left behind are as one.
 */
export function toolsOf(
  root: ProcessIdentity | null,
  members: ReadonlyMap<number, ProcessStat>,
): readonly { readonly id: number; readonly members: readonly ProcessStat[] }[] {
  const tools = new Map<number, ProcessStat[]>();
  const add = (id: number, member: ProcessStat): void => {
    const those = tools.get(id);
    if (those === undefined) tools.set(id, [member]);
    else those.push(member);
  };
  const orphans: ProcessStat[] = [];
  const toolOfSession = new Map<number, number>();
  const ownSession = members.get(root?.pid ?? 0)?.sessionId;
  for (const member of members.values()) {
    if (member.pid === root?.pid) continue;
    const first = firstBelow(root, member, members);
    if (first === null) {
      orphans.push(member);
      continue;
    }
    add(first.pid, member);
    if (member.sessionId !== ownSession) toolOfSession.set(member.sessionId, first.pid);
  }
  orphans.sort((one, other) => one.startTicks - other.startTicks || one.pid - other.pid);
  const [oldest] = orphans.filter(({ sessionId }) => !toolOfSession.has(sessionId));
  for (const orphan of orphans) {
    const id = toolOfSession.get(orphan.sessionId) ?? oldest?.pid ?? orphan.pid;
    add(id, orphan);
  }
  return Array.from(tools, ([id, those]) => ({ id, members: those }));
}

/** The member or its ancestor that the agent process started; null if that has ended. */
function firstBelow(
  root: ProcessIdentity | null,
  member: ProcessStat,
  members: ReadonlyMap<number, ProcessStat>,
): ProcessStat | null {
  let at: ProcessStat | undefined = member;
  // The table is read while processes end: a parent may seem to be its own descendant.
  for (let steps = 0; at !== undefined && steps <= members.size; steps += 1) {
    if (at.parentPid === root?.pid) return at;
    at = members.get(at.parentPid);
  }
  return null;
}

/** What the main thread knows, which looks for the same processes again and again. */
const KNOWN = new KnownMarkers();

/**
 * Processes that carry a marker with this value.
 * @param sinceTicks Older processes are not looked at: reading an environment is not free.
 */
export function markedProcesses(
  table: ProcessTable,
  marker: Marker,
  value: string,
  sinceTicks: number,
  known: KnownMarkers = KNOWN,
): readonly ProcessStat[] {
  known.keepOnly(table);
  return [...table.byPid.values()].filter(
    (stat) => stat.startTicks >= sinceTicks && known.valueOf(stat, marker) === value,
  );
}

/** The value of a marker of a process; null for none. */
export function markerOf(stat: ProcessStat, marker: Marker): string | null {
  return KNOWN.valueOf(stat, marker);
}
