/**
 * One running agent process and everything it started, from its spawn (`spawn.ts`) to the moment
 * when nothing of its tree is left.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import type { SpawnedProcess } from "@anthropic-ai/claude-agent-sdk";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { ControlGroup } from "./control-group.ts";
import type { GuardVerdict } from "./guard-wire.ts";
import type { MemoryGuard } from "./memory-guard.ts";
import { readOomKillCount } from "./oom-kill-counter.ts";
import { type ProcessIdentity, readProcessTable, sendSignal } from "./proc.ts";
import type { ProcessTree } from "./process-tree.ts";
import { SdkProcess } from "./sdk-process.ts";
import { StderrTail } from "./stderr-tail.ts";
import {
  askThenForce,
  type Endable,
  findTree,
  outlast,
  sweep,
  SWEEP_LIMIT_MS,
} from "./terminate.ts";

/** How far we had gone when the process ended; `exited` when it ended by itself. */
export type EndStep = (typeof END_STEPS)[number];

const END_STEPS = ["exited", "stdin_closed", "sigterm", "sigkill"] as const;

/** `surviving`: it has ended as far as anyone can end it, and something of it is still there. */
export type TreeState = "running" | "surviving" | "gone";

export interface AgentExit {
  /** Null when a signal ended it, or when it never started. */
  readonly code: number | null;
  readonly signal: string | null;
  readonly step: EndStep;
  /**
   * Killed (SIGKILL, or the 137 of a wrapper around it) by the memory guard, or not by us: hardly
   * anyone but the kernel does that, and hardly for anything but memory. `oomKillCounterRose` says
   * what is known of it.
   */
  readonly outOfMemory: boolean;
  /** Why the memory guard has ended it, if it has. */
  readonly guardVerdict?: GuardVerdict;
  /**
   * Whether the kernel killed anything for memory while the process lived, in its own control group
   * or, without one, in that of the server; null: no counter.
   */
  readonly oomKillCounterRose: boolean | null;
  /**
   * Out of memory by the kernel, as far as is known, and not for the ceiling of its own group: it
   * was short for all.
   */
  readonly wasShortForAll: boolean;
  /** Processes of the tree that outlived SIGKILL, which hold memory still; see `treeGone`. */
  readonly survivors: number;
  /** Why it could not be started, e.g. `ENOENT`. */
  readonly spawnError?: string;
}

export interface AgentProcessParts {
  /** An error when the system refused to start the process at all. */
  readonly child: ChildProcess | Error;
  readonly tree: ProcessTree;
  /** Who watches its memory; nobody where it is null. */
  readonly guard: Pick<MemoryGuard, "update" | "verdictOn" | "toolsEndedOf"> | null;
  /** Which it is in, to be removed with the last process; null if it shares the server's. */
  readonly group: ControlGroup | null;
  readonly isOnLadder: boolean;
  readonly stderrTailBytes: number;
  /** Time for each polite step when the process is disposed. */
  readonly endGraceMs: number;
}

interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly spawnError?: string;
}

/** How long the last words on stderr may take after the tree is gone. */
const STDERR_LIMIT_MS = 200;

export class AgentProcess implements AsyncDisposable, Endable {
  /** By {@link monotonicMs}. */
  readonly startedAtMs = monotonicMs();
  /** Null when it could not be started. */
  readonly pid: number | null;
  readonly tree: ProcessTree;
  /** Who watches its memory; to be told what the process is to us, by its `processId`. */
  readonly guard: AgentProcessParts["guard"];
  /** Whether the kernel was told to kill this process before the server. */
  readonly isOnLadder: boolean;
  /**
   * Resolves when the process itself has ended, whatever became of its tree; or 3 s after a SIGKILL
   * that did not end it. Never rejects.
   */
  readonly processExited: Promise<unknown>;
  /**
   * Resolves when the process has ended AND nothing of its tree is left but survivors, for which
   * nobody can be made to wait. Never rejects.
   */
  readonly settled: Promise<AgentExit>;
  /**
   * Resolves when nothing of the tree is left: before `settled`, or any time after it if there are
   * survivors. Never rejects, and never resolves once they are abandoned.
   */
  readonly treeGone: Promise<void>;

  readonly #child: ChildProcess | null;
  readonly #sdkView: SdkProcess;
  readonly #stderr: StderrTail;
  readonly #endGraceMs: number;
  #group: ControlGroup | null;
  /** What the group of the server had counted as this process began. */
  readonly #oomKillsBefore: number | null = readOomKillCount();
  #step: EndStep = "exited";
  #hasExited = false;
  readonly #abandoned = new AbortController();
  #treeState: TreeState = "running";
  #chargedPeakBytes: number | null = null;
  /** How many tools the kernel had killed when the process ended; null before. */
  #toolOomKills: number | null = null;
  /** How many tools the guard had ended when the process ended; null before. */
  #toolsEndedByGuard: number | null = null;
  /** Resolves `processExited`; set by the constructor. */
  #end: (end: ProcessEnd) => void = () => {};
  /** Resolves `treeGone`; set by the constructor. */
  #tellTreeGone = () => {};

  constructor(parts: AgentProcessParts) {
    const { child, tree, group, isOnLadder, stderrTailBytes, endGraceMs } = parts;
    this.tree = tree;
    this.#group = group;
    this.isOnLadder = isOnLadder;
    this.#endGraceMs = endGraceMs;
    this.guard = parts.guard;
    this.#child = child instanceof Error ? null : child;
    this.pid = this.#child?.pid ?? null;
    this.#stderr = new StderrTail(this.#child?.stderr ?? null, stderrTailBytes);
    this.#sdkView = new SdkProcess(this.#child, (signal) => this.#killForSdk(signal));
    const processExited = new Promise<ProcessEnd>((resolve) => (this.#end = resolve));
    this.processExited = processExited;
    this.treeGone = new Promise((resolve) => (this.#tellTreeGone = resolve));
    this.settled = this.#settle(processExited);
    this.#listen(child);
  }

  /** Our own id of it, not the kernel's `pid`: see `PROCESS_ID_MARKER`. */
  get processId(): string {
    return this.tree.processId;
  }

  /** The control group that is its own; null if it shares the server's. */
  get group(): ControlGroup | null {
    return this.#group;
  }

  /** The process could not be moved to its group: what that counts says nothing of it. */
  leaveGroup(): void {
    void this.#group?.remove(AbortSignal.abort());
    this.#group = null;
  }

  /** The process as the SDK's `spawnClaudeCodeProcess` has to return it. */
  get forSdk(): SpawnedProcess {
    return this.#sdkView;
  }

  get treeState(): TreeState {
    return this.#treeState;
  }

  /** Private memory of the tree now; null while not sampled. */
  get currentBytes(): number | null {
    return this.tree.currentBytes;
  }

  /** The most private memory of the tree in its last turn; null while not sampled. */
  get peakBytes(): number | null {
    return this.tree.peakBytes;
  }

  /** The most ever charged to its group, page cache included; null without one, or unknown. */
  get chargedPeakBytes(): number | null {
    return this.#chargedPeakBytes ?? this.group?.peakBytes ?? null;
  }

  /** How many of its tools the kernel has killed for memory, as its own group counts; 0 without. */
  get toolOomKills(): number {
    return this.#toolOomKills ?? this.group?.oomKills ?? 0;
  }

  /** How many of its tools were ended for memory, by the kernel or by the memory guard. */
  get toolsEndedForMemory(): number {
    const byGuard = this.#toolsEndedByGuard ?? this.guard?.toolsEndedOf(this.processId) ?? 0;
    return this.toolOomKills + byGuard;
  }

  stderrTail(): string {
    return this.#stderr.toString();
  }

  /**
   * Ends the process and its tree, see `terminate.ts`. A second call with less patience overtakes
   * the first.
   * @param graceMs Time each polite step has to work; 0 kills at once.
   */
  async terminate(graceMs: number): Promise<AgentExit> {
    await askThenForce(this, graceMs);
    return this.settled;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminate(this.#endGraceMs);
  }

  /**
   * Measures it now: a turn may be over before the guard has seen it. Whoever is seen is found again
   * when it has lost its parent.
   */
  look(): void {
    this.tree.grow(readProcessTable());
    this.tree.measure();
  }

  closeInput(): void {
    this.#reach("stdin_closed");
    this.look();
    this.#child?.stdin?.end();
  }

  /** Asks the process alone: it ends its own tools, in its own order. */
  askToEnd(): void {
    this.#reach("sigterm");
    this.look();
    if (this.pid !== null && !this.#hasExited) sendSignal(this.pid, "SIGTERM");
  }

  /** Kills the whole tree without waiting. Whoever can wait calls {@link terminate}. */
  killNow(): void {
    this.#reach("sigkill");
    this.group?.killAll();
    for (const { pid } of this.#findTree()) sendSignal(pid, "SIGKILL");
    // The group is all that is known of the tree where there is no /proc. While its leader is not
    // reaped, its number cannot belong to anyone else.
    if (this.pid !== null && !this.#hasExited) sendSignal(-this.pid, "SIGKILL");
    // One that hangs inside the kernel never tells that it has ended.
    void delay(SWEEP_LIMIT_MS, undefined, { ref: false }).then(() =>
      this.#end({ code: null, signal: null }),
    );
  }

  /** Waits for survivors no longer: the server goes before them. */
  abandon(): void {
    this.#abandoned.abort();
  }

  #listen(child: ChildProcess | Error): void {
    const fail = (error: NodeJS.ErrnoException): void => {
      if (this.pid !== null) return; // A signal that could not be sent; not the end of it.
      this.#hasExited = true;
      this.#end({ code: null, signal: null, spawnError: error.code ?? error.message });
      this.#sdkView.fail(error);
    };
    if (child instanceof Error) {
      // The SDK listens only once it has been handed the process.
      setImmediate(fail, child);
      return;
    }
    child.on("error", fail);
    child.once("exit", (code, signal) => {
      this.#hasExited = true;
      this.#end({ code, signal });
      this.#sdkView.end(code, signal);
    });
  }

  /** Waits from the end of the process to the end of its tree. */
  async #settle(processExited: Promise<ProcessEnd>): Promise<AgentExit> {
    const end = await processExited;
    const step = this.#step;
    const before = this.group === null ? this.#oomKillsBefore : 0;
    const oomKills = this.group === null ? readOomKillCount() : this.group.oomKills;
    const oomKillCounterRose = oomKills === null || before === null ? null : oomKills > before;
    const verdict = this.guard?.verdictOn(this.processId) ?? null;
    this.#toolsEndedByGuard = this.guard?.toolsEndedOf(this.processId) ?? 0;
    const wasKilled = end.signal === "SIGKILL" || end.code === 137;
    const outOfMemory = wasKilled && step !== "sigkill" && verdict?.what !== "evicted";
    const isKernels = outOfMemory && verdict?.what !== "turn" && oomKillCounterRose !== false;
    const wasShortForAll = isKernels && this.group?.reachedLimit !== true;
    // Where the kernel killed the agent process, one of those that were counted was no tool.
    const wasOwn = outOfMemory && verdict === null;
    this.#toolOomKills = Math.max(0, this.toolOomKills - (wasOwn ? 1 : 0));
    // As in killNow; here the number could be another's, which is the lesser evil.
    if (this.tree.root === null && this.pid !== null) sendSignal(-this.pid, "SIGKILL");
    // One that has not ended by now has had its time since the SIGKILL.
    const limitMs = this.#hasExited ? SWEEP_LIMIT_MS : 0;
    const survivors = await sweep(() => this.#findTree(), limitMs);
    if (survivors === 0) this.#endTree();
    else this.#treeState = "surviving";
    await Promise.race([this.#stderr.ended, delay(STDERR_LIMIT_MS, undefined, { ref: false })]);
    if (survivors > 0) void this.#watchSurvivors();
    const told = verdict === null ? {} : { guardVerdict: verdict };
    const memory = { outOfMemory, oomKillCounterRose, wasShortForAll };
    return { ...end, ...told, ...memory, step, survivors };
  }

  async #watchSurvivors(): Promise<void> {
    this.#letGo();
    const isGone = await outlast(() => this.#findTree(), this.#abandoned.signal);
    if (isGone) this.#endTree();
  }

  #endTree(): void {
    this.#treeState = "gone";
    this.#chargedPeakBytes = this.chargedPeakBytes;
    void this.group?.remove(this.#abandoned.signal);
    this.#tellTreeGone();
  }

  #findTree(): readonly ProcessIdentity[] {
    return findTree(this.tree, this.group);
  }

  /** No handle on a survivor may keep the server from its own end. */
  #letGo(): void {
    this.#child?.unref();
    for (const stream of this.#child?.stdio ?? []) stream?.destroy();
  }

  #killForSdk(signal: NodeJS.Signals): boolean {
    if (this.#hasExited) return false;
    if (signal === "SIGKILL") this.killNow();
    else this.askToEnd();
    return true;
  }

  #reach(step: EndStep): void {
    if (this.#hasExited) return;
    if (this.#step === "exited") this.guard?.update(this.processId, { kind: "closing" });
    if (END_STEPS.indexOf(step) > END_STEPS.indexOf(this.#step)) this.#step = step;
  }
}
