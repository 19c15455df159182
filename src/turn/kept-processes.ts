/**
 * All agent processes that are kept while no turn runs in them: residents and spares. To the gate
 * those that may go are cache; to a turn they are a process it need not start.
 *
 * @module
 */

import type { ProcessCache } from "../capacity/process-cache.ts";
import type { SessionRef } from "../session/session-id.ts";
import type { KeptEndReason, KeptKind } from "../telemetry/values.ts";
import { Evictions } from "./evictions.ts";
import { type Resident, Residents } from "./residents.ts";
import { Spares, type SparesOptions } from "./spares.ts";
import type { TurnProcess } from "./turn-process.ts";

/** A process for a turn, which is the turn's from now on. */
export interface TakenProcess {
  readonly process: TurnProcess;
  /** The resident that it is; null for a spare. */
  readonly resident: Resident | null;
}

export interface KeptSummary {
  readonly residents: number;
  /** How many of the residents keep their memory committed. */
  readonly longRunning: number;
  /** Private memory of the residents whose memory stays committed. */
  readonly longRunningBytes: number;
  readonly spares: number;
  /** Private memory of those that may be evicted. */
  readonly evictableBytes: number;
}

export interface KeptProcessesOptions extends Omit<SparesOptions, "evictions" | "onEnded"> {
  readonly dataDirectory: string;
  readonly maxResidents: number;
  /** How long a process may take to start. */
  readonly startTimeoutMs: number;
  readonly onEnded: (kind: KeptKind, reason: KeptEndReason) => void;
}

export class KeptProcesses implements ProcessCache, AsyncDisposable {
  readonly residents: Residents;
  readonly spares: Spares;
  readonly #evictions = new Evictions();

  constructor({ onEnded, ...options }: KeptProcessesOptions) {
    const { dataDirectory, maxResidents, startTimeoutMs, ...spares } = options;
    const evictions = this.#evictions;
    this.residents = new Residents({
      dataDirectory,
      maxResidents,
      startTimeoutMs,
      evictions,
      onEnded: (reason) => onEnded("resident", reason),
    });
    this.spares = new Spares({
      ...spares,
      evictions,
      onEnded: (reason) => onEnded("spare", reason),
    });
  }

  /**
   * The process that a turn can go on in, or a spare for one that has nothing to resume.
   *
   * @param session Null for a turn that leaves nothing behind.
   */
  take(session: SessionRef | null, agentName: string, resumes: boolean): TakenProcess | null {
    const resident = session === null ? null : this.residents.take(session);
    if (resident !== null) return { process: resident.process, resident };
    const spare = resumes ? null : this.spares.take(agentName);
    return spare === null ? null : { process: spare, resident: null };
  }

  /** Keeps the process again of a turn that was not admitted after all. */
  putBack({ process, resident }: TakenProcess): void {
    if (resident === null) this.spares.putBack(process);
    else this.residents.putBack(resident);
  }

  /** Ends a process that nobody uses any more. Resolves when it is gone; bounded, never rejects. */
  async end(process: TurnProcess): Promise<void> {
    await this.#evictions.end(process, () => {});
  }

  heldBytes(): number {
    return this.#evictableBytes() + this.leavingBytes();
  }

  freeableBytes(): number {
    return this.#evictableBytes() + this.promisedBytes();
  }

  promisedBytes(): number {
    return this.spares.promisedBytes() + this.residents.promisedBytes();
  }

  leavingBytes(): number {
    return this.#evictions.leavingBytes();
  }

  async evict(bytes: number): Promise<void> {
    const freed = this.spares.evict(bytes);
    this.residents.evict(bytes - freed);
    await this.#evictions.settled();
  }

  /** Has the process of this id go, if it is kept. */
  evictOne(processId: string): void {
    this.spares.evictOne(processId);
    this.residents.evictOne(processId);
  }

  summary(): KeptSummary {
    const residents = this.residents.all;
    const longRunning = residents.filter(({ permit }) => permit !== null);
    return {
      residents: residents.length,
      longRunning: longRunning.length,
      longRunningBytes: longRunning.reduce((sum, one) => sum + (one.process.currentBytes ?? 0), 0),
      spares: this.spares.size,
      evictableBytes: this.#evictableBytes(),
    };
  }

  /** Ends all, and keeps none any more. Resolves when they are gone. */
  async close(): Promise<void> {
    await Promise.all([this.residents.close(), this.spares.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Private memory of those that may go, and are not on their way. */
  #evictableBytes(): number {
    return this.spares.evictableBytes() + this.residents.evictableBytes();
  }
}
