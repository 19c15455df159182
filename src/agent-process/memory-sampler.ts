/**
 * Measures the memory of all process trees, in one walk over `/proc` each time.
 *
 * It also keeps the ladder (`oom-ladder.ts`): whatever an agent process starts goes to the step of
 * tools. The tool shell does so before a Bash tool runs its command; stdio MCP servers, hooks and
 * all else are caught here, one sample late.
 *
 * @module
 */

import { TURN_ID_MARKER } from "../lib/process-markers.ts";
import { placeToolOnLadder } from "./oom-ladder.ts";
import { type ProcessIdentity, type ProcessTable, readProcessTable, readVariable } from "./proc.ts";
import type { ProcessTree } from "./process-tree.ts";

/** The most of one core that sampling may take; on a crowded host it samples less often. */
const MAX_LOAD_RATIO = 0.05;
/** No sample is later than this, or one that had to wait for a core would blind us for long. */
const MAX_PAUSE_MS = 2_000;

export class MemorySampler implements Disposable {
  readonly #intervalMs: number;
  readonly #trees = new Map<string, ProcessTree>();
  /** Every process of the last walk, with its start: whose environment need not be read again. */
  #seen: ReadonlyMap<number, number> = new Map();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: { readonly intervalMs: number }) {
    this.#intervalMs = options.intervalMs;
  }

  add(tree: ProcessTree): void {
    this.#trees.set(tree.turnId, tree);
    // However long the last sample took: beside the start of a process, one is nothing.
    this.#timer ??= this.#schedule(this.#intervalMs);
  }

  /** The timer runs only while there is something to measure. */
  remove(tree: ProcessTree): void {
    if (this.#trees.get(tree.turnId) === tree) this.#trees.delete(tree.turnId);
    if (this.#trees.size === 0) this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Takes a sample at once. @returns How long the main thread was busy with it, in ms. */
  sample(): number {
    const startMs = performance.now();
    const table = readProcessTable();
    const marked = this.#newlyMarked(table);
    for (const tree of this.#trees.values()) {
      for (const { pid } of tree.grow(table, marked.get(tree.turnId))) placeToolOnLadder(pid);
      tree.measure();
    }
    return performance.now() - startMs;
  }

  /**
   * Processes that were not there at the last walk, by the turn in their environment. It finds
   * those who lost their parent between two samples, and reads each environment once.
   */
  #newlyMarked(table: ProcessTable): ReadonlyMap<string, readonly ProcessIdentity[]> {
    const roots = [...this.#trees.values()].map(({ root }) => root?.startTicks ?? Infinity);
    const sinceTicks = Math.min(...roots);
    const marked = new Map<string, ProcessIdentity[]>();
    for (const stat of table.byPid.values()) {
      if (stat.startTicks < sinceTicks || this.#seen.get(stat.pid) === stat.startTicks) continue;
      const turnId = readVariable(stat.pid, TURN_ID_MARKER);
      if (turnId !== null) marked.set(turnId, [...(marked.get(turnId) ?? []), stat]);
    }
    this.#seen = new Map([...table.byPid.values()].map((stat) => [stat.pid, stat.startTicks]));
    return marked;
  }

  #schedule(pauseMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      const tookMs = this.sample();
      this.#timer = this.#schedule(pauseAfter(tookMs, this.#intervalMs));
    }, pauseMs).unref();
  }
}

/** The pause before the next sample, in milliseconds. @param tookMs What the last one took. */
export function pauseAfter(tookMs: number, intervalMs: number): number {
  return Math.max(intervalMs, Math.min(tookMs / MAX_LOAD_RATIO, MAX_PAUSE_MS));
}
