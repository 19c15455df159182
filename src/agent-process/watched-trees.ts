/**
 * The trees that the memory guard watches: measures them, in one walk over `/proc` each time, and
 * ends them or parts of them. Runs on the guard's thread.
 *
 * Each look also keeps the ladder (`oom-ladder.ts`): whatever an agent process starts goes to the
 * step of tools. The tool shell does so before a Bash tool runs its command; stdio MCP servers,
 * hooks and all else are caught here, one look late.
 *
 * @module
 */

import type { MeasuredBytes } from "../capacity/memory-reading.ts";
import type { GuardedTool, GuardedTree } from "../capacity/guard-trees.ts";
import { MIB } from "../lib/byte-units.ts";
import { PROCESS_ID_MARKER } from "../lib/process-markers.ts";
import { ForkedMemory } from "./forked-memory.ts";
import type { Order, SampleMessage, TreeFacts } from "./guard-wire.ts";
import { placeToolOnLadder } from "./oom-ladder.ts";
import {
  killAll,
  type ProcessIdentity,
  type ProcessStat,
  type ProcessTable,
  readPrivateBytes,
  readProcessTable,
  readEnvironment,
  signalProcess,
  variableIn,
} from "./proc.ts";
import { type MeasuredProcess, ProcessTree } from "./process-tree.ts";

/** A larger shell is none that only waits. */
const SHELL_MOST_BYTES = 16 * MIB;
/**
 * The most processes that one tool may be. Where turns have groups of their own the kernel has refused
 * long before (`MAX_TASKS`); here nothing else bounds a fork storm, and each look at it costs more than
 * the last.
 */
const MOST_TOOL_PROCESSES = 1024;
/** How long a shell may wait for what was ended to be gone. */
const TELLING_MS = 2000;
/** How long a shell may take to end by itself when nothing of its tool is left. */
const LAST_WORD_MS = 250;

interface Watched {
  readonly tree: ProcessTree;
  readonly root: ProcessStat;
  /** When its process started, or the last turn of that: it may have had many. */
  startedAtMs: number;
  facts: TreeFacts;
  /** Whether the whole tree is to be ended, until nothing of it is left. */
  isEnding: boolean;
  /** Sessions of tools that are to be ended, with whoever was started in them meanwhile. */
  readonly endingSessions: Set<number>;
  /** Processes that were sent the signal, with the tool each was of: it takes a while to go. */
  readonly killed: Map<number, { readonly startTicks: number; readonly toolId: number }>;
  /** Shells of tools that were ended, by their pid, and until when they may tell of it. */
  readonly telling: Map<number, { readonly startTicks: number; untilMs: number }>;
  /** Whether the main thread has not been told who is in it. */
  hasNews: boolean;
}

/** A tool that is too many processes. */
export interface Swarm {
  readonly id: string;
  readonly toolId: number;
  readonly processes: number;
  /** What its whole tree held when it was measured last. */
  readonly bytes: number;
}

export interface WatchedTreesOptions {
  /** Reads the environment of a process: {@link readEnvironment} without it. */
  readonly readEnvironment?: (pid: number) => string | null;
  /** Told just before a swarm is ended; without it none is. */
  readonly onSwarm?: (swarm: Swarm) => void;
  /** The most processes that one tool may be. */
  readonly mostProcesses?: number;
}

export class WatchedTrees {
  readonly #trees = new Map<string, Watched>();
  readonly #readEnvironment: (pid: number) => string | null;
  readonly #mostProcesses: number;
  readonly #onSwarm: ((swarm: Swarm) => void) | null;
  #serverBytes = 0;
  readonly #forked = new ForkedMemory();
  /** Processes of the last look, with their start, whose environment need not be read again. */
  #seen: ReadonlyMap<number, number> = new Map();

  constructor(options: WatchedTreesOptions = {}) {
    this.#readEnvironment = options.readEnvironment ?? readEnvironment;
    this.#onSwarm = options.onSwarm ?? null;
    this.#mostProcesses = options.mostProcesses ?? MOST_TOOL_PROCESSES;
  }

  get size(): number {
    return this.#trees.size;
  }

  watch({ id, root, facts, startedAtMs }: Extract<Order, { type: "watch" }>): void {
    const tree = new ProcessTree(id, root);
    const fresh = {
      isEnding: false,
      endingSessions: new Set<number>(),
      killed: new Map<number, { startTicks: number; toolId: number }>(),
      telling: new Map<number, { startTicks: number; untilMs: number }>(),
      hasNews: true,
    };
    this.#trees.set(id, { tree, root, startedAtMs, facts, ...fresh });
  }

  /** @param nowMs Of the clock of `startedAtMs`: of the turns, the youngest may have to go. */
  update(id: string, facts: Partial<TreeFacts>, nowMs: number): void {
    const watched = this.#trees.get(id);
    if (watched === undefined) return;
    const { turnId = null } = facts;
    if (turnId !== null && turnId !== watched.facts.turnId) watched.startedAtMs = nowMs;
    watched.facts = { ...watched.facts, ...facts };
  }

  unwatch(id: string): void {
    this.#trees.delete(id);
  }

  /** Private memory of all trees, and of the server, as last measured. */
  get measured(): MeasuredBytes {
    const agentsBytes = Array.from(this.#trees.keys(), (id) => this.bytesOf(id)).reduce(
      (sum, bytes) => sum + bytes,
      0,
    );
    return { serverBytes: this.#serverBytes, agentsBytes };
  }

  bytesOf(id: string): number {
    return this.#trees.get(id)?.tree.currentBytes ?? 0;
  }

  factsOf(id: string): TreeFacts | null {
    return this.#trees.get(id)?.facts ?? null;
  }

  /**
   * Finds and measures all members, and ends again what ought to have ended. What is too many of
   * them is ended before anything is measured.
   */
  look(nowMs: number, table: ProcessTable = readProcessTable()): void {
    const marked = this.#newlyMarked(table);
    const swarming = new Set<Watched>();
    this.#forked.beginLook(nowMs);
    this.#serverBytes = readPrivateBytes(process.pid) ?? 0;
    for (const watched of this.#trees.values()) {
      const { tree, killed } = watched;
      const before = tree.members.length;
      const arrived = tree.grow(table, marked.get(tree.processId));
      for (const { pid } of arrived) placeToolOnLadder(pid);
      watched.hasNews ||= arrived.length > 0 || tree.members.length !== before;
      for (const pid of killed.keys()) if (!tree.has(pid)) killed.delete(pid);
      if (this.#endSwarms(watched)) swarming.add(watched);
    }
    for (const watched of this.#trees.values()) {
      if (swarming.has(watched)) continue;
      watched.tree.measure(this.#forked);
      endAgain(watched, nowMs);
    }
  }

  /** The trees as last measured, without those of which nothing is left. */
  guarded(): readonly GuardedTree[] {
    return [...this.#trees.values()].flatMap((watched) => {
      const { tree, facts, startedAtMs } = watched;
      if (tree.stats.length === 0) return [];
      const bytes = tree.currentBytes ?? 0;
      return [{ id: tree.processId, ...facts, startedAtMs, bytes, tools: guardedTools(watched) }];
    });
  }

  /**
   * All that is new since the last call, of the peak too: what a process held before its present
   * turn is nothing of that turn.
   */
  samples(): readonly SampleMessage[] {
    return [...this.#trees.values()].flatMap((watched) => {
      const { sample, members, processId: id } = watched.tree;
      if (sample === null) return [];
      const identities = members.map(({ pid, startTicks }) => ({ pid, startTicks }));
      const message = { id, sample, members: watched.hasNews ? identities : null };
      watched.hasNews = false;
      watched.tree.toldPeak();
      return [message];
    });
  }

  /** Ends the tree, or one tool of it. */
  end(id: string, toolId: number | null, nowMs: number): void {
    const watched = this.#trees.get(id);
    if (watched === undefined) return;
    if (toolId === null) {
      watched.isEnding = true;
      endAgain(watched, nowMs);
      return;
    }
    const members = watched.tree.tools.find((tool) => tool.id === toolId)?.members ?? [];
    const shell = shellOf(toolId, members);
    if (shell !== null) {
      watched.telling.set(shell.pid, { ...shell, untilMs: nowMs + TELLING_MS });
    }
    endTool(
      watched,
      toolId,
      members.filter((member) => member !== shell),
    );
  }

  /** @returns Whether it had any, and is not worth measuring before they are gone. */
  #endSwarms(watched: Watched): boolean {
    const { tree, isEnding, killed, endingSessions } = watched;
    if (this.#onSwarm === null || isEnding || tree.stats.length <= this.#mostProcesses) {
      return false;
    }
    let hadAny = false;
    for (const { id: toolId, members } of tree.toolsNow()) {
      const left = members.filter(
        ({ pid, startTicks, sessionId }) =>
          killed.get(pid)?.startTicks !== startTicks && !endingSessions.has(sessionId),
      );
      if (left.length <= this.#mostProcesses) continue;
      hadAny = true;
      const bytes = tree.currentBytes ?? 0;
      this.#onSwarm({ id: tree.processId, toolId, processes: members.length, bytes });
      watched.telling.delete(toolId);
      endTool(watched, toolId, members);
    }
    return hadAny;
  }

  /**
   * Processes that were not there at the last look, by the id in their environment. It finds
   * those who lost their parent between two looks, and reads each environment once.
   */
  #newlyMarked(table: ProcessTable): ReadonlyMap<string, readonly ProcessIdentity[]> {
    const sinceTicks = Math.min(...Array.from(this.#trees.values(), ({ root }) => root.startTicks));
    const marked = new Map<string, ProcessIdentity[]>();
    const seen = new Map<number, number>();
    for (const stat of table.byPid.values()) {
      if (stat.startTicks < sinceTicks) continue;
      if (this.#seen.get(stat.pid) !== stat.startTicks) {
        // Its memory may be locked for as long as it waits, and the guard would wait with it.
        if (stat.waitsInKernel) continue;
        const environment = this.#readEnvironment(stat.pid);
        // In the middle of an exec it has none; it will at the next look.
        if (environment === "") continue;
        const id = environment === null ? null : variableIn(environment, PROCESS_ID_MARKER);
        if (id !== null) marked.set(id, [...(marked.get(id) ?? []), stat]);
        // Of a tree that this thread is yet to be told of: it will be found then.
        if (id !== null && !this.#trees.has(id)) continue;
      }
      seen.set(stat.pid, stat.startTicks);
    }
    this.#seen = seen;
    return marked;
  }
}

/** What dies stays with the tool it was of, whose first process may be gone before it. */
function guardedTools({ tree, killed }: Watched): readonly GuardedTool[] {
  const bytesOf = new Map<number, number>();
  for (const { id, members } of tree.tools) {
    for (const { pid, startTicks, bytes } of members) {
      const dying = killed.get(pid);
      const toolId = dying?.startTicks === startTicks ? dying.toolId : id;
      bytesOf.set(toolId, (bytesOf.get(toolId) ?? 0) + bytes);
    }
  }
  return Array.from(bytesOf, ([id, bytes]) => ({ id, bytes }));
}

/**
 * The shell of a tool that only waits for one command. It is left a moment to end by itself, with
 * the 137 of a command that was killed: else all the model hears is that something went wrong.
 */
function shellOf(toolId: number, members: readonly MeasuredProcess[]): MeasuredProcess | null {
  const first = members.find(({ pid }) => pid === toolId);
  const children = members.filter(({ parentPid }) => parentPid === toolId);
  if (first === undefined || children.length !== 1) return null;
  return first.bytes < SHELL_MOST_BYTES ? first : null;
}

function endTool(watched: Watched, toolId: number, members: readonly ProcessStat[]): void {
  const { root, telling } = watched;
  const isSpared = telling.has(toolId);
  for (const { pid, startTicks, sessionId } of members) {
    watched.killed.set(pid, { startTicks, toolId });
    if (!isSpared && sessionId !== root.sessionId) watched.endingSessions.add(sessionId);
  }
  if (!isSpared) killAll(members, root);
  // Not their groups, which the shell is in.
  else for (const member of members) signalProcess(member, "SIGKILL");
}

/** A process can start another one in the moment before it dies. */
function endAgain(watched: Watched, nowMs: number): void {
  const { tree, root, isEnding, endingSessions } = watched;
  if (isEnding) {
    killAll(tree.stats, root);
    return;
  }
  hurryShells(watched, nowMs);
  if (endingSessions.size === 0) return;
  const left = tree.stats.filter(({ sessionId }) => endingSessions.has(sessionId));
  killAll(left, root);
}

/** A shell that has had its time, or goes on to something else, is ended as its tool was. */
function hurryShells(watched: Watched, nowMs: number): void {
  const { tree, killed, telling } = watched;
  for (const [pid, shell] of telling) {
    const members = tree.tools.find(({ id }) => id === pid)?.members ?? [];
    const others = members.filter((member) => member.pid !== pid);
    const isNew = ({ pid: other, startTicks }: ProcessStat) =>
      killed.get(other)?.startTicks !== startTicks;
    if (others.length === 0) shell.untilMs = Math.min(shell.untilMs, nowMs + LAST_WORD_MS);
    const isThere = members.some(({ startTicks }) => startTicks === shell.startTicks);
    if (isThere && nowMs < shell.untilMs && !others.some(isNew)) continue;
    telling.delete(pid);
    endTool(watched, pid, members);
  }
}
