/**
 * The memory guard as the rest of the server sees it: what is watched, how short memory is, and
 * what the guard has done. It looks and acts on a thread of its own (`memory-guard-thread.ts`),
 * which is started with the first tree and started again should it die.
 *
 * @module
 */

import {
  type MessagePort,
  MessageChannel,
  receiveMessageOnPort,
  Worker,
} from "node:worker_threads";
import { levelText } from "../capacity/guard-words.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import {
  type EndVerdict,
  type EvictVerdict,
  type GuardLines,
  type GuardThreadData,
  type GuardVerdict,
  isLooking,
  makeShared,
  type Order,
  readShared,
  type SampleMessage,
  sawRoom,
  type SharedStatus,
  type TreeFacts,
} from "./guard-wire.ts";
import type { ProcessTree } from "./process-tree.ts";

export interface MemoryGuardOptions {
  /** Time between two measurements of all trees; more where that would take 5 % of a core. */
  readonly sampleIntervalMs: number;
  /** False to measure only, and end nothing. */
  readonly mayEnd: boolean;
  /**
   * A spare or a resident has to go. It is killed after `evictionMs` if it is there still; at once,
   * when there is no time to be polite.
   */
  readonly onEvict: (verdict: EvictVerdict) => void;
  /** A turn, or a tool of one, was ended. */
  readonly onVerdict: (verdict: EndVerdict) => void;
  /** The thread died, or could not be started; it is started again. */
  readonly onRestart: (thrown: unknown) => void;
  /** 250 unless told; more for tests that are about who was in time, not about how long that is. */
  readonly evictionMs?: number;
  /** Another program for the thread, for tests. */
  readonly thread?: URL;
}

export interface GuardStatus extends Omit<SharedStatus, "lookedAtMs" | "cause"> {
  /**
   * Whether it has looked within the last seconds, or is only just being loaded; until it has
   * looked, `usedBytes` is null. Nothing else here is to be relied on without.
   */
  readonly isAlive: boolean;
  /** For people: the level, and what it is for. */
  readonly reason: string;
}

interface Watched {
  readonly tree: ProcessTree;
  readonly startedAtMs: number;
  facts: TreeFacts;
  verdict: GuardVerdict | null;
  toolsEnded: number;
}

const EVICTION_MS = 250;
const RESTART_PAUSE_MS = 1000;
/**
 * A limit, and no use: 4 MiB are used as a rule, beside what any thread costs; the tables of 12,000
 * processes take 17, of 32,000 take 26. A guard that ends by its own limit leaves all unwatched.
 */
const HEAP_MIB = 96;
/** For what is read and dropped at once. V8 would let it grow to 48 MiB; after 360 turns it was 13. */
const YOUNG_HEAP_MIB = 3;
/** The limit for the TypeScript sources: what compiles them runs in the thread too. */
const SOURCE_HEAP_MIB = 256;

/**
 * Holds, between any two calls:
 * - the thread knows every tree that is watched, also after it died and was started again;
 * - a verdict is told once, and can be asked for as soon as its process has ended.
 */
export class MemoryGuard implements AsyncDisposable {
  readonly #options: MemoryGuardOptions;
  readonly #shared = makeShared();
  readonly #watched = new Map<string, Watched>();
  #lines: GuardLines | null = null;
  #worker: Worker | null = null;
  #verdicts: MessagePort | null = null;
  #restart: NodeJS.Timeout | undefined;
  #restarts = 0;
  #startedAtMs = 0;
  #isClosed = false;

  constructor(options: MemoryGuardOptions) {
    this.#options = options;
  }

  /** How often the thread had to be started again. */
  get restarts(): number {
    return this.#restarts;
  }

  get status(): GuardStatus {
    const { lookedAtMs: _, cause, ...seen } = readShared(this.#shared);
    const isAlive = this.#worker !== null && isLooking(this.#shared, this.#startedAtMs);
    const reason = isAlive ? levelText({ ...seen, cause }) : "the memory guard is silent";
    return { ...seen, isAlive, reason };
  }

  /**
   * Whether it looks, and sees room: what an admission asks. Before the first process there is
   * nothing to look at, and turns of the first burst must not be shed for it.
   */
  get seesRoom(): boolean {
    if (this.#worker === null) return this.#restart === undefined;
    return isLooking(this.#shared, this.#startedAtMs) && sawRoom(this.#shared);
  }

  /** Says, or says again, where the lines are. Until then nothing is short. */
  setLimit(limit: GuardLines["limit"], reserve: Omit<GuardLines, "limit">): void {
    const { bytes, kind, group, outer = [] } = limit;
    const { brakeBytes, floorBytes } = reserve;
    this.#lines = { limit: { bytes, kind, group, outer }, brakeBytes, floorBytes };
    this.#order({ type: "lines", lines: this.#lines });
  }

  /** Measures the tree from now on, and may end it. A tree without a root is let be. */
  watch(tree: ProcessTree, facts: TreeFacts): void {
    if (tree.root === null) return;
    const startedAtMs = monotonicMs();
    const watched = { tree, facts, startedAtMs, verdict: null, toolsEnded: 0 };
    this.#watched.set(tree.processId, watched);
    if (this.#worker === null && this.#restart === undefined) this.#start();
    else this.#orderToWatch(watched);
  }

  /** Tells what has changed of a tree: what it is, how much it may hold. */
  update(id: string, facts: Partial<TreeFacts>): void {
    const watched = this.#watched.get(id);
    if (watched === undefined) return;
    watched.facts = { ...watched.facts, ...facts };
    // Claimed as it was to go: it stays, and how its turn ends is another matter.
    if (facts.kind === "turn" && watched.verdict?.what === "evicted") watched.verdict = null;
    this.#order({ type: "update", id, facts });
  }

  unwatch(tree: ProcessTree): void {
    if (this.#watched.get(tree.processId)?.tree !== tree) return;
    this.#watched.delete(tree.processId);
    this.#order({ type: "unwatch", id: tree.processId });
  }

  /** What the guard knows of a tree; null of one that is not watched. */
  factsOf(id: string): TreeFacts | null {
    return this.#watched.get(id)?.facts ?? null;
  }

  /** Why the guard ended this tree as a whole, or has it go; null if it does neither. */
  verdictOn(id: string): GuardVerdict | null {
    this.#collectVerdicts();
    return this.#watched.get(id)?.verdict ?? null;
  }

  /** How many tools of this tree the guard has ended; 0 of one that is not watched. */
  toolsEndedOf(id: string): number {
    this.#collectVerdicts();
    return this.#watched.get(id)?.toolsEnded ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#restart);
    this.#verdicts?.close();
    await this.#worker?.terminate();
    this.#worker = null;
  }

  #start(): void {
    const { port1, port2 } = new MessageChannel();
    this.#startedAtMs = monotonicMs();
    let worker: Worker;
    try {
      worker = this.#newThread(port2);
    } catch (thrown) {
      // The system has no thread left for us (EAGAIN), which another may give back.
      port1.close();
      this.#startLater(thrown);
      return;
    }
    worker.unref();
    worker.on("message", (samples: readonly SampleMessage[]) => this.#take(samples));
    let cause: unknown;
    worker.on("error", (thrown) => (cause = thrown));
    worker.on("exit", () => this.#ended(worker, cause));
    port1.on("message", (verdict: GuardVerdict) => this.#hear(verdict));
    port1.unref();
    this.#worker = worker;
    this.#verdicts = port1;
    if (this.#lines !== null) this.#order({ type: "lines", lines: this.#lines });
    for (const watched of this.#watched.values()) this.#orderToWatch(watched);
  }

  #newThread(verdicts: MessagePort): Worker {
    const { sampleIntervalMs, mayEnd, evictionMs = EVICTION_MS, thread = THREAD } = this.#options;
    const shared = this.#shared;
    const data: GuardThreadData = { shared, verdicts, sampleIntervalMs, mayEnd, evictionMs };
    return new Worker(thread, {
      workerData: data,
      transferList: [verdicts],
      name: "memory-guard",
      execArgv: IS_SOURCE ? ["--import", "jiti/register"] : [],
      resourceLimits: {
        maxOldGenerationSizeMb: IS_SOURCE ? SOURCE_HEAP_MIB : HEAP_MIB,
        ...(!IS_SOURCE && { maxYoungGenerationSizeMb: YOUNG_HEAP_MIB }),
      },
    });
  }

  #ended(worker: Worker, cause: unknown): void {
    if (this.#isClosed || this.#worker !== worker) return;
    this.#collectVerdicts();
    this.#verdicts?.close();
    this.#worker = null;
    this.#startLater(cause);
  }

  #startLater(cause: unknown): void {
    this.#restarts += 1;
    this.#options.onRestart(cause);
    this.#restart = setTimeout(() => {
      this.#restart = undefined;
      this.#start();
    }, RESTART_PAUSE_MS).unref();
  }

  #take(samples: readonly SampleMessage[]): void {
    for (const { id, sample, members } of samples) {
      this.#watched.get(id)?.tree.adopt(sample, members);
    }
    this.#order({ type: "taken" });
  }

  #hear(verdict: GuardVerdict): void {
    const watched = this.#watched.get(verdict.id);
    if (watched === undefined) return;
    if (verdict.what === "evicted") {
      // What was claimed before this was heard of is not cache any more.
      if (watched.facts.kind !== "turn") watched.verdict = verdict;
      this.#options.onEvict(verdict);
      return;
    }
    if (verdict.what === "turn") watched.verdict = verdict;
    else watched.toolsEnded += 1;
    this.#options.onVerdict(verdict);
  }

  /** Hears the verdicts that were sent and not yet heard of. */
  #collectVerdicts(): void {
    for (;;) {
      const next = this.#verdicts === null ? undefined : receiveMessageOnPort(this.#verdicts);
      if (next === undefined) return;
      this.#hear(next.message as GuardVerdict);
    }
  }

  #orderToWatch({ tree, facts, startedAtMs }: Watched): void {
    if (tree.root === null) return;
    this.#order({ type: "watch", id: tree.processId, root: tree.root, facts, startedAtMs });
  }

  #order(order: Order): void {
    this.#worker?.postMessage(order);
  }
}

/** Tests and benchmarks run the sources, which Node cannot read by itself in all our versions. */
const IS_SOURCE = import.meta.url.endsWith(".ts");
const THREAD = new URL(`./memory-guard-thread.${IS_SOURCE ? "ts" : "js"}`, import.meta.url);
