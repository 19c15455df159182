/**
 * All agent processes of this server: whoever is not in here is not running. Starts them, has
 * their memory watched, and ends them all when the server goes.
 *
 * @module
 */

import { groupLimitBytes } from "../capacity/turn-ceiling.ts";
import { MIB } from "../lib/byte-units.ts";
import { AppError } from "../lib/errors.ts";
import type { AgentExit, AgentProcess } from "./agent-process.ts";
import type { Containment } from "./containment.ts";
import type { ControlGroup } from "./control-group.ts";
import type { TreeFacts } from "./guard-wire.ts";
import { MemoryGuard, type MemoryGuardOptions } from "./memory-guard.ts";
import { diesWithServer } from "./parent-death.ts";
import { settleInGroup, type SpawnAgentOptions, spawnAgentProcess } from "./spawn.ts";

export interface AgentProcessesOptions {
  /** Identifies the data directory; marks all our processes. */
  readonly serverId: string;
  readonly stderrTailBytes: number;
  readonly endGraceMs: number;
  readonly sampleIntervalMs: number;
  /** What the memory guard may do, and who hears of it; without it, it only measures. */
  readonly guard?: Omit<MemoryGuardOptions, "sampleIntervalMs">;
  /** Gives processes a control group of their own; without it they have none. */
  readonly containment?: Pick<Containment, "kind" | "openGroup" | "expectStart">;
  /** Called once for each process, when it has `settled`: for metrics and the log. */
  readonly onExit: (agent: AgentProcess, exit: AgentExit) => void;
  /** Called for each process whose survivors are left behind as the server goes. */
  readonly onAbandoned: (agent: AgentProcess) => void;
  /** Called once for each protection that this system does not give. */
  readonly onNotice: (notice: string) => void;
}

/** What is particular to one process; the rest is the same for all of a server. */
export interface StartAgentOptions extends Pick<
  SpawnAgentOptions,
  "command" | "args" | "cwd" | "env" | "processId"
> {
  /**
   * The most it may hold, in a control group of its own where there are any; without it there is no
   * ceiling and no group. Asked again when the limit of the replica has changed.
   */
  readonly ceilingBytes?: () => number;
  /** What the memory guard should know from the start; the rest can be told it later. */
  readonly facts?: Partial<TreeFacts>;
}

/** What the guard takes a process to be of which it is told nothing: as large as a turn at first. */
const UNTOLD: TreeFacts = {
  kind: "turn",
  turnId: null,
  predictedBytes: 500 * MIB,
  ceilingBytes: null,
  hasOutput: false,
};

/**
 * Holds, between any two calls:
 * - `live` has every process whose tree is not yet gone, survivors too, and no other;
 * - the memory guard watches just those;
 * - after {@link terminateAll} nothing is started any more.
 */
export class AgentProcesses implements AsyncDisposable {
  readonly guard: MemoryGuard;
  readonly #options: AgentProcessesOptions;
  readonly #live = new Set<AgentProcess>();
  readonly #ceilings = new Map<AgentProcess, () => number>();
  readonly #noticed = new Set<string>();
  #isClosed = false;

  constructor(options: AgentProcessesOptions) {
    this.#options = options;
    const { sampleIntervalMs } = options;
    this.guard = new MemoryGuard({ ...(options.guard ?? ONLY_MEASURES), sampleIntervalMs });
  }

  get live(): ReadonlySet<AgentProcess> {
    return this.#live;
  }

  /** A process is about to be started: what is slow about that begins now, and does not wait. */
  expectStart(): void {
    this.#options.containment?.expectStart();
  }

  /** @throws {AppError} `draining` once the server ends its processes. */
  spawn(options: StartAgentOptions): AgentProcess {
    if (this.#isClosed) {
      throw new AppError("draining", "Cannot start an agent process: the server is shutting down");
    }
    const { serverId, stderrTailBytes, endGraceMs } = this.#options;
    const ceilingBytes = options.ceilingBytes?.() ?? null;
    const group = this.#openGroup(options.processId, ceilingBytes);
    const { guard } = this;
    const own = { group, guard, serverId, stderrTailBytes, endGraceMs };
    const agent = spawnAgentProcess({ ...options, ...own });
    this.#live.add(agent);
    if (options.ceilingBytes !== undefined) this.#ceilings.set(agent, options.ceilingBytes);
    void agent.settled.then((exit) => this.#options.onExit(agent, exit));
    void agent.treeGone.then(() => this.#forget(agent));
    this.guard.watch(agent.tree, { ...UNTOLD, ceilingBytes, ...options.facts });
    this.#noticeMissingProtection(agent, ceilingBytes);
    return agent;
  }

  /** Has those that run held to the ceilings that would be theirs if they started now. */
  renewCeilings(): void {
    for (const [agent, ceilingBytesNow] of this.#ceilings) {
      const ceilingBytes = ceilingBytesNow();
      if (this.guard.factsOf(agent.processId)?.ceilingBytes === ceilingBytes) continue;
      this.guard.update(agent.processId, { ceilingBytes });
      try {
        agent.group?.setLimit(groupLimitBytes(ceilingBytes));
      } catch {
        // Holds more (v1), or has just gone: the guard has the new ceiling.
      }
    }
  }

  /**
   * Ends all processes, and lets no new one start. What is `live` afterwards are survivors.
   * @param graceMs For each polite step.
   */
  async terminateAll(graceMs: number): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#live].map((agent) => agent.terminate(graceMs)));
  }

  /** The last resort of a server that exits now: sends SIGKILL to every tree and does not wait. */
  killAllNow(): void {
    this.#isClosed = true;
    for (const agent of this.#live) agent.killNow();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminateAll(this.#options.endGraceMs);
    for (const agent of this.#live) {
      agent.abandon();
      this.#options.onAbandoned(agent);
    }
    await this.guard[Symbol.asyncDispose]();
  }

  #forget(agent: AgentProcess): void {
    this.#live.delete(agent);
    this.#ceilings.delete(agent);
    this.guard.unwatch(agent.tree);
  }

  #openGroup(processId: string, ceilingBytes: number | null): ControlGroup | null {
    const { containment } = this.#options;
    if (containment === undefined || ceilingBytes === null) return null;
    return containment.openGroup(processId, groupLimitBytes(ceilingBytes));
  }

  #noticeMissingProtection(agent: AgentProcess, ceilingBytes: number | null): void {
    if (agent.pid === null) return;
    void this.#noticeMissingGroup(agent, ceilingBytes);
    if (!agent.isOnLadder) this.#noticeOnce(NO_LADDER);
    if (!diesWithServer()) this.#noticeOnce(NO_PARENT_DEATH);
  }

  async #noticeMissingGroup(agent: AgentProcess, ceilingBytes: number | null): Promise<void> {
    const { kind = "guard" } = this.#options.containment ?? {};
    if (kind === "guard" || ceilingBytes === null) return;
    await settleInGroup(agent);
    if (agent.group === null) this.#noticeOnce(NO_GROUP);
  }

  #noticeOnce(notice: string): void {
    if (this.#noticed.has(notice)) return;
    this.#noticed.add(notice);
    this.#options.onNotice(notice);
  }
}

const ONLY_MEASURES = {
  mayEnd: false,
  onEvict: () => {},
  onVerdict: () => {},
  onRestart: () => {},
};
const NO_GROUP =
  "A process could not be given a control group of its own: only the memory guard bounds its memory";
const NO_LADDER =
  "oom_score_adj cannot be set: out of memory, the kernel may kill the server before a tool";
const NO_PARENT_DEATH = "setpriv is missing: agent processes outlive a server that is killed";
