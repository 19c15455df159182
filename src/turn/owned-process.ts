/**
 * The process of one turn: one that was kept, or one that is made for it. When the turn is over it
 * is parked for the session's next one, or nothing of it is left.
 *
 * @module
 */

import type { Permit } from "../capacity/permit.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { SessionRef } from "../session/session-id.ts";
import type { ProcessSource } from "../telemetry/values.ts";
import type { Resident } from "./residents.ts";
import type { KeptProcesses, TakenProcess } from "./kept-processes.ts";
import type { TurnProcess } from "./turn-process.ts";
import type { TurnSession } from "./turn-session.ts";

export class OwnedProcess implements AsyncDisposable {
  readonly #kept: KeptProcesses;
  readonly #permit: Pick<Permit, "holder">;
  #taken: TakenProcess | null;
  #process: TurnProcess | null;
  #source: ProcessSource = "started";

  /** @param permit Of the turn. */
  constructor(taken: TakenProcess | null, kept: KeptProcesses, permit: Pick<Permit, "holder">) {
    this.#kept = kept;
    this.#permit = permit;
    this.#taken = taken;
    this.#process = taken?.process ?? null;
    if (taken !== null) this.#source = sourceOf(taken);
  }

  /** Where the process came from, as far as is known. */
  get source(): ProcessSource {
    return this.#source;
  }

  /**
   * Leaves the session to this turn: a resident that missed a turn, or does not answer, goes,
   * and so does one that is on its way out. One that is starting is waited for.
   *
   * @param stop Ends that wait: the turn is over before it began.
   * @param hasMovedOn As `SessionClaim` has it: the process would go on in files that are replaced.
   * @returns Whether the turn goes on in a process that is there.
   * @throws {AppError} `session_busy` when one does not go.
   */
  async settle(
    session: SessionRef | null,
    stop: AbortSignal,
    hasMovedOn = false,
  ): Promise<boolean> {
    const { residents } = this.#kept;
    const resident = this.#taken?.resident ?? null;
    if (session === null) return false;
    if (resident === null) {
      await residents.whenClosed(session);
      return false;
    }
    const why = hasMovedOn ? "outdated" : await residents.whyUnfit(resident, stop);
    if (why === null) return true;
    this.#startAnew();
    await residents.end(resident, why);
    return false;
  }

  /**
   * The process for the turn: a resident as it is, a spare once the session has claimed it, or else
   * one that is still to be started; also for one that has died since it was {@link settle}d, as it
   * may in the time in which its turn waited for room.
   *
   * @param make Makes the process for the session as it is now.
   * @param stop Ends the wait for a spare: the turn is over before it began.
   * @param onRefused Told why a spare could not be claimed.
   */
  async open(
    session: TurnSession,
    stop: AbortSignal,
    make: () => Promise<TurnProcess>,
    onRefused: (error: unknown) => void,
  ): Promise<TurnProcess> {
    const kept = this.#process;
    const claiming = { session, stop, onRefused };
    if (kept !== null && !(await this.#makeReady(kept, claiming))) {
      this.#startAnew();
      await this.#kept.end(kept);
    }
    this.#process ??= await make();
    return this.#process;
  }

  /** Keeps the process for the session's next turn. */
  park(session: SessionRef, { stayMs, permit }: ParkingTerms): void {
    if (this.#process === null) return;
    const leavesAtMs = monotonicMs() + stayMs;
    this.#process.rest();
    const { residents } = this.#kept;
    residents.park({ ref: session, process: this.#process, permit, leavesAtMs, warming: null });
    this.#process = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process !== null) await this.#kept.end(this.#process);
  }

  /** Has a spare claimed for its session. @returns Whether the turn can run in the process. */
  async #makeReady(kept: TurnProcess, claiming: Claiming): Promise<boolean> {
    if (this.#source === "spare" && !(await this.#claim(kept, claiming))) return false;
    return kept.connection.isAlive;
  }

  async #claim(spare: TurnProcess, { session, stop, onRefused }: Claiming): Promise<boolean> {
    if (spare.spareDirectories === null) return false;
    try {
      if (!session.isNew || !(await session.adopt(spare.spareDirectories))) return false;
      await spare.connection.claim(session.directories.work, stop);
      return true;
    } catch (error) {
      if (!stop.aborted) onRefused(error);
      return false;
    }
  }

  /** The process that was taken is not the turn's any more: another is promised to it, whole. */
  #startAnew(): void {
    this.#permit.holder = null;
    this.#taken = null;
    this.#process = null;
    this.#source = "started";
  }
}

function sourceOf({ resident }: TakenProcess): ProcessSource {
  if (resident === null) return "spare";
  return resident.warming === null ? "resident" : "warmed";
}

interface Claiming {
  readonly session: TurnSession;
  readonly stop: AbortSignal;
  readonly onRefused: (error: unknown) => void;
}

export interface ParkingTerms {
  readonly stayMs: number;
  /** The permit of a long-running session, which rests; null for a process that lingers. */
  readonly permit: Resident["permit"];
}
