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

import {
  isAlive,
  type ProcessIdentity,
  type ProcessStat,
  type ProcessTable,
  readPrivateBytes,
  readVariable,
} from "./proc.ts";

export class ProcessTree {
  readonly turnId: string;
  /** Null where the system does not tell (no `/proc`); the tree then stays empty. */
  readonly root: ProcessIdentity | null;
  #members: ReadonlyMap<number, ProcessIdentity>;
  #currentBytes: number | null = null;
  #peakBytes: number | null = null;

  constructor(turnId: string, root: ProcessIdentity | null) {
    this.turnId = turnId;
    this.root = root;
    this.#members = new Map(root === null ? [] : [[root.pid, root]]);
  }

  /** Who was in the tree when it was last looked at. */
  get members(): readonly ProcessIdentity[] {
    return [...this.#members.values()];
  }

  /** Private memory of all members at the last measurement; null before it. */
  get currentBytes(): number | null {
    return this.#currentBytes;
  }

  /** The most that any measurement saw. */
  get peakBytes(): number | null {
    return this.#peakBytes;
  }

  /**
   * Brings the members up to date with the table, and returns those who are new.
   * @param marked Processes known to belong here by their marker.
   */
  grow(table: ProcessTable, marked: readonly ProcessIdentity[] = []): readonly ProcessIdentity[] {
    const before = this.#members;
    this.#members = grownMembers([...before.values(), ...marked], table);
    return this.members.filter(({ pid, startTicks }) => before.get(pid)?.startTicks !== startTicks);
  }

  /** Adds up the memory of the members. */
  measure(): void {
    const parts = this.members.map(({ pid }) => readPrivateBytes(pid));
    const known = parts.filter((bytes) => bytes !== null);
    if (known.length === 0) return;
    this.#currentBytes = known.reduce((sum, bytes) => sum + bytes, 0);
    this.#peakBytes = Math.max(this.#peakBytes ?? 0, this.#currentBytes);
  }
}

/** The members still alive, and all their descendants. */
export function grownMembers(
  members: readonly ProcessIdentity[],
  table: ProcessTable,
): ReadonlyMap<number, ProcessIdentity> {
  const grown = new Map<number, ProcessIdentity>();
  const queue = members.filter((member) => isAlive(member, table));
  for (const member of queue) {
    if (grown.has(member.pid)) continue;
    grown.set(member.pid, member);
    queue.push(...(table.childrenOf.get(member.pid) ?? []));
  }
  return grown;
}

/**
 * Processes that carry a marker with this value.
 * @param sinceTicks Older processes are not looked at: reading an environment is not free.
 */
export function markedProcesses(
  table: ProcessTable,
  marker: string,
  value: string,
  sinceTicks: number,
): readonly ProcessStat[] {
  return [...table.byPid.values()].filter(
    ({ pid, startTicks }) => startTicks >= sinceTicks && readVariable(pid, marker) === value,
  );
}
