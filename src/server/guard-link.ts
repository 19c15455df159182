/**
 * Ties the memory guard to the rest of a server: what it did goes to the log and the metrics, what
 * is kept between turns leaves when it says so, and no turn is admitted while it sees trouble, nor
 * soon after it or the kernel had to end a turn.
 *
 * @module
 */

import type { AgentExit } from "../agent-process/agent-process.ts";
import type { EndVerdict } from "../agent-process/guard-wire.ts";
import type { GuardStatus } from "../agent-process/memory-guard.ts";
import type { AgentProcesses, AgentProcessesOptions } from "../agent-process/registry.ts";
import { endText } from "../capacity/guard-words.ts";
import type { Config } from "../config/config.ts";
import type { TurnGate } from "../capacity/gate.ts";
import type { MemoryLimit } from "../capacity/memory-limit.ts";
import type { SafetyReserve } from "../capacity/safety-reserve.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { Telemetry } from "../telemetry/start.ts";
import type { GuardTarget } from "../telemetry/values.ts";
import type { FeedBook } from "./feed-book.ts";
import type { KeptProcesses } from "../turn/kept-processes.ts";

/** What the guard's news is for. */
export interface GuardListeners {
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly gate: Pick<TurnGate, "ranShort">;
  readonly book: Pick<FeedBook, "guardActed">;
}

/** Something that the guard has ended. */
export interface GuardAct {
  readonly what: GuardTarget;
  /** Null for what was kept between turns. */
  readonly turnId: string | null;
  /** What it held. */
  readonly bytes: number;
  /** Why, in words. */
  readonly text: string;
}

/** Made before the guard is there, since the gate asks it. */
export class GuardLink {
  readonly #mayEnd: boolean;
  #listeners: GuardListeners | null = null;
  #cache: Pick<KeptProcesses, "evictOne"> | null = null;
  #processes: Pick<AgentProcesses, "guard" | "renewCeilings"> | null = null;

  constructor({ capacity }: Pick<Config, "capacity">) {
    this.#mayEnd = capacity.guard;
  }

  /** Sets who hears of all from now on. */
  listen(listeners: GuardListeners): void {
    this.#listeners = listeners;
  }

  /** From now on the guard may have one of these end. */
  useCache(cache: Pick<KeptProcesses, "evictOne">): void {
    this.#cache = cache;
  }

  /** What the guard may do, and who hears of it. */
  get guardOptions(): NonNullable<AgentProcessesOptions["guard"]> {
    return {
      mayEnd: this.#mayEnd,
      onVerdict: (verdict) => this.#tell(verdict),
      onEvict: (verdict) => {
        this.#listeners?.telemetry.metrics.guardActed("cache", verdict.reason);
        this.#cache?.evictOne(verdict.id);
        const { bytes } = verdict;
        const text = `The memory guard has ended a process kept between turns: ${endText(verdict)}`;
        this.#listeners?.book.guardActed({ what: "cache", turnId: null, bytes, text });
      },
      onRestart: (err) => {
        const text = "The memory guard died, or could not start, and is started again";
        this.#listeners?.telemetry.log.error({ err }, text);
      },
    };
  }

  /** From now on their guard is asked, and told of limits. */
  watch(processes: Pick<AgentProcesses, "guard" | "renewCeilings">): void {
    this.#processes = processes;
  }

  setLimit(limit: MemoryLimit, reserve: Pick<SafetyReserve, "brakeBytes" | "floorBytes">): void {
    this.#processes?.guard.setLimit(limit, reserve);
  }

  /** The limit of the replica is another: so are the ceilings that are shares of it. */
  renewCeilings(): void {
    this.#processes?.renewCeilings();
  }

  /** The kernel came before the guard, which was off, or blind, or too late. */
  processEnded({ wasShortForAll }: Pick<AgentExit, "wasShortForAll">): void {
    if (wasShortForAll) this.#listeners?.gate.ranShort(monotonicMs());
  }

  /** Null before there is one, and where it was switched off. */
  get status(): GuardStatus | null {
    return this.#mayEnd ? (this.#processes?.guard.status ?? null) : null;
  }

  /** Why no turn is to be admitted now, in words; null if there is no reason. */
  get pressure(): string | null {
    const guard = this.#mayEnd ? this.#processes?.guard : undefined;
    return guard === undefined || guard.seesRoom ? null : guard.status.reason;
  }

  /** 0 to 3; -1 while nobody looks. */
  get level(): number {
    const { status } = this;
    return status?.isAlive === true ? status.level : -1;
  }

  #tell(verdict: EndVerdict): void {
    if (this.#listeners === null) return;
    const { telemetry, gate, book } = this.#listeners;
    const { log, metrics } = telemetry;
    const { id: processId, what, bytes, predictedBytes, ceilingBytes, reason } = verdict;
    const turnId = this.#processes?.guard.factsOf(processId)?.turnId ?? null;
    metrics.guardActed(what, reason);
    // A tool that balloons says nothing of how many turns fit.
    if (what === "turn" && reason !== "ceiling") gate.ranShort(monotonicMs());
    const figures = { turnId, processId, bytes, predictedBytes, ceilingBytes, reason };
    const text = `The memory guard has ended a ${what}: ${endText(verdict)}`;
    log.warn(figures, text);
    book.guardActed({ what, turnId, bytes, text });
  }
}
