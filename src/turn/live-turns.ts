/**
 * The turns of the server: those that run, and those that have ended and can still be read. Each is
 * driven to its end whoever reads it, so that no reader's absence can keep a permit, a session or a
 * process.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import { settlesWithin } from "../lib/settles-within.ts";
import { type SessionRef, sessionRefOf } from "../session/session-id.ts";
import { isCutOff } from "../session/turn-keys.ts";
import { Journals, type JournalLimits } from "./journals.ts";
import { LiveTurn, type LiveTurnOptions, type TurnReader } from "./live-turn.ts";
import { TurnIndex } from "./turn-index.ts";
import type { Caller, SessionTarget, TurnRequest } from "./turn.ts";
import { keyReused } from "./turn-key.ts";

export interface LiveTurnsOptions extends Omit<LiveTurnOptions, "journals"> {
  readonly maxStreamsPerCaller: number;
  readonly journal: JournalLimits;
}

export class LiveTurns implements AsyncDisposable {
  readonly #options: LiveTurnsOptions;
  readonly #journals: Journals;
  readonly #running = new Map<string, LiveTurn>();
  /** Running and ended. */
  readonly #index = new TurnIndex();
  #isDraining = false;

  constructor(options: LiveTurnsOptions) {
    this.#options = options;
    this.#journals = new Journals(options.journal);
  }

  /** Turns that run. */
  get size(): number {
    return this.#running.size;
  }

  /** Turns of which something can be read. */
  get kept(): number {
    return this.#index.size;
  }

  /** About what the events of all turns hold. */
  get journalBytes(): number {
    return this.#journals.bytes;
  }

  /**
   * Starts a turn, unless one of its key is there: then that one is read. Resolves when it is
   * admitted, and it then runs to its end by itself.
   *
   * @param readerGone The reader leaves when it aborts.
   * @throws {AppError} `draining`, `too_many_streams`, what `runTurn`, {@link known} and
   *   {@link LiveTurn.attach} throw.
   */
  async start(request: TurnRequest, readerGone: AbortSignal): Promise<TurnReader> {
    const known = this.known(request);
    if (known !== null) return known.attach(readerGone).whenAdmitted();
    if (this.#isDraining) {
      const message = "Cannot start the turn: the replica is shutting down";
      throw new AppError("draining", message, { retryAfterSeconds: 1 });
    }
    this.#checkShareOf(request.caller);
    const ref = refOf(request);
    const options = { ...this.#options, journals: this.#journals };
    const turn = new LiveTurn(request, options, readerGone);
    this.#running.set(request.turnId, turn);
    this.#index.add(turn, ref);
    void turn.ended.then(() => this.#ended(turn));
    const reader = await turn.owner.whenAdmitted();
    this.#index.markBegun(turn);
    return reader;
  }

  /**
   * The turn that runs, or ran, under the request's key; null if none can be read.
   *
   * @throws {AppError} `idempotency_key_reused`.
   */
  known(request: TurnRequest): LiveTurn | null {
    const turn = this.#index.ofKey(request, request.key === undefined ? null : refOf(request));
    if (turn === undefined) return null;
    if (turn.request.key?.inputHash !== request.key?.inputHash) throw keyReused();
    return turn;
  }

  /** Whether a turn of the agent is known by a key of that hash, in whatever session. */
  knowsKey(caller: Caller, agentName: string, keyHash: string): boolean {
    return this.#index.knowsKey(caller.tenant, agentName, keyHash);
  }

  /**
   * Whether a turn of the tenant runs.
   *
   * @param agentName Of that agent; null for any.
   * @param target For what names this session; without one, for any.
   */
  isRunning(tenant: string, agentName: string | null, target?: SessionTarget): boolean {
    for (const turn of this.#running.values()) {
      const { caller, agentName: ofAgent } = turn.request;
      if (caller.tenant !== tenant || (agentName !== null && ofAgent !== agentName)) continue;
      if (target === undefined || isFor(turn, target)) return true;
    }
    return false;
  }

  /** Running turns that `caller` may see: its tenant's, or all for an operator. */
  list(caller: Caller): readonly LiveTurn[] {
    return [...this.#running.values()].filter((turn) => canSee(caller, turn));
  }

  /**
   * A turn that runs, or has ended and can still be read.
   *
   * @throws {AppError} `turn_not_found`, also for a turn of another tenant.
   */
  find(turnId: string, caller: Caller): LiveTurn {
    return visible(this.#index.ofId(turnId), caller);
  }

  /** @throws {AppError} `turn_not_found`, also for one that has ended or is another tenant's. */
  findRunning(turnId: string, caller: Caller): LiveTurn {
    return visible(this.#running.get(turnId), caller);
  }

  /** The last turn of the session of which something can be read. */
  ofSession(ref: SessionRef): LiveTurn | undefined {
    return this.#index.ofSession(ref);
  }

  /**
   * What has ended of a session is not found any more: the session is being deleted, so nobody is in
   * a turn of it. Whoever reads a turn already may finish.
   */
  forget(ref: SessionRef): void {
    for (const turn of this.#index.allOf(ref)) {
      // One that was not admitted is none of what is deleted; one that was is at its very end.
      if (turn.facts !== null) void turn.ended.then(() => this.#forget(turn));
    }
  }

  /**
   * Refuses new turns and waits for the running ones, at most `graceMs`; then ends those left.
   * Resolves when none is left. Aborting `hurry` ends the wait at once.
   */
  async drain(graceMs: number, hurry: AbortSignal): Promise<void> {
    this.#isDraining = true;
    const idle = Promise.all(Array.from(this.#running.values(), (turn) => turn.ended));
    if (await settlesWithin(idle, graceMs, hurry)) return;
    for (const turn of this.#running.values()) turn.cancel("draining");
    await idle;
  }

  /** Ends all turns at once, waits until nothing of them is left, and forgets their events. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0, AbortSignal.abort());
    this.#journals[Symbol.dispose]();
  }

  #ended(turn: LiveTurn): void {
    this.#running.delete(turn.request.turnId);
    const forget = (): void => this.#index.delete(turn);
    if (turn.facts === null) {
      this.#journals.drop(turn.journal);
      forget();
      return;
    }
    // Where nothing of it has run it may be asked for again; the record knows one that was cut off.
    if (!turn.hasRun || wasCutOff(turn)) this.#index.forgetKey(turn);
    this.#journals.end(turn.journal, forget);
  }

  #forget(turn: LiveTurn): void {
    this.#index.delete(turn);
    if (turn.readers === 0) this.#journals.drop(turn.journal);
  }

  #checkShareOf(caller: Caller): void {
    const { maxStreamsPerCaller } = this.#options;
    const own = [...this.#running.values()].filter(
      ({ request }) => request.caller.id === caller.id && request.caller.tenant === caller.tenant,
    );
    if (own.length < maxStreamsPerCaller) return;
    const message = `Cannot start the turn: ${own.length} turns of this caller are open`;
    throw new AppError("too_many_streams", message, { retryAfterSeconds: 1 });
  }
}

/** The session that a turn asks for. @throws {AppError} As {@link sessionRefOf}. */
export function refOf({ caller, agentName, session }: TurnRequest): SessionRef {
  return sessionRefOf({ tenant: caller.tenant, agentName, target: session });
}

/** Whether a turn is of the session, by name: to compute a session id costs as much as a refusal. */
function isFor({ request, facts }: LiveTurn, target: SessionTarget): boolean {
  const { session } = request;
  if (target.by === "session") {
    const named = session.by === "session" ? session.sessionId : facts?.sessionId;
    return named?.toLowerCase() === target.sessionId.toLowerCase();
  }
  return (session.by === "thread" ? session.threadId : facts?.threadId) === target.threadId;
}

function wasCutOff({ outcome }: LiveTurn): boolean {
  return outcome !== null && isCutOff(outcome);
}

function visible(turn: LiveTurn | undefined, caller: Caller): LiveTurn {
  if (turn !== undefined && canSee(caller, turn)) return turn;
  throw new AppError("turn_not_found", "Cannot find the turn: none of this id is known here");
}

function canSee(caller: Caller, turn: LiveTurn): boolean {
  return caller.role === "operator" || caller.tenant === turn.request.caller.tenant;
}
