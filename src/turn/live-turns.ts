/**
 * The turns that run now. Each is driven to its end whoever reads it, so that no reader's absence
 * can keep a permit, a session or a process; a reader only listens.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import { settlesWithin } from "../lib/settles-within.ts";
import { EventQueue } from "./event-queue.ts";
import type { CancelCause, Caller, TurnEvent, TurnRequest } from "./turn.ts";

/** Starts a turn's work; the generator of `runTurn`. */
export type StartTurn = (
  request: TurnRequest,
  signal: AbortSignal,
) => AsyncGenerator<TurnEvent, void, undefined>;

export interface LiveTurnsOptions {
  readonly start: StartTurn;
  readonly maxStreamsPerCaller: number;
  /** Bytes of events held for a slow reader; past it the turn is ended. */
  readonly streamBufferBytes: number;
}

export class LiveTurns implements AsyncDisposable {
  readonly #options: LiveTurnsOptions;
  readonly #turns = new Map<string, LiveTurn>();
  #isDraining = false;

  constructor(options: LiveTurnsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#turns.size;
  }

  /**
   * Starts a turn; resolves when it is admitted, and it then runs to its end by itself.
   *
   * @param readerGone Cancels the turn when it aborts.
   * @throws {AppError} `draining`, `too_many_streams`, and what `runTurn` throws.
   */
  async start(request: TurnRequest, readerGone: AbortSignal): Promise<LiveTurn> {
    if (this.#isDraining) {
      throw new AppError("draining", "Cannot start the turn: the replica is shutting down");
    }
    this.#checkShareOf(request.caller);
    const turn = new LiveTurn(request, this.#options, readerGone);
    this.#turns.set(request.turnId, turn);
    void turn.ended.then(() => this.#turns.delete(request.turnId));
    try {
      await turn.admitted;
    } catch (refusal) {
      // Who is told "no" holds nothing any more, and may come again at once.
      await turn.ended;
      throw refusal;
    }
    return turn;
  }

  /** Turns that `caller` may see: its tenant's, or all for an operator. */
  list(caller: Caller): readonly LiveTurn[] {
    return [...this.#turns.values()].filter((turn) => canSee(caller, turn));
  }

  /** @throws {AppError} `turn_not_found`, also for a turn of another tenant. */
  find(turnId: string, caller: Caller): LiveTurn {
    const turn = this.#turns.get(turnId);
    if (turn === undefined || !canSee(caller, turn)) {
      throw new AppError("turn_not_found", "Cannot find the turn: no turn of this id is running");
    }
    return turn;
  }

  /**
   * Refuses new turns and waits for the running ones, at most `graceMs`; then ends those left.
   * Resolves when none is left. Aborting `hurry` ends the wait at once.
   */
  async drain(graceMs: number, hurry: AbortSignal): Promise<void> {
    this.#isDraining = true;
    const idle = Promise.all(Array.from(this.#turns.values(), (turn) => turn.ended));
    if (await settlesWithin(idle, graceMs, hurry)) return;
    for (const turn of this.#turns.values()) turn.cancel("draining");
    await idle;
  }

  /** Ends all turns at once, and waits until nothing of them is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0, AbortSignal.abort());
  }

  #checkShareOf(caller: Caller): void {
    const { maxStreamsPerCaller } = this.#options;
    const own = [...this.#turns.values()].filter(
      ({ request }) => request.caller.id === caller.id && request.caller.tenant === caller.tenant,
    );
    if (own.length < maxStreamsPerCaller) return;
    const message = `Cannot start the turn: ${own.length} turns of this caller are open`;
    throw new AppError("too_many_streams", message, { retryAfterSeconds: 1 });
  }
}

function canSee(caller: Caller, turn: LiveTurn): boolean {
  return caller.role === "operator" || caller.tenant === turn.request.caller.tenant;
}

export class LiveTurn {
  readonly request: TurnRequest;
  readonly startedAtMs = Date.now();
  /** Resolves with the first event; rejects if the turn was refused. */
  readonly admitted: Promise<TurnEvent>;
  /** Resolves when the turn is over and has given back what `runTurn` says; never rejects. */
  readonly ended: Promise<void>;
  readonly #controller = new AbortController();
  readonly #queue: EventQueue;
  readonly #readerGone: AbortSignal;

  constructor(request: TurnRequest, options: LiveTurnsOptions, readerGone: AbortSignal) {
    this.request = request;
    this.#readerGone = readerGone;
    this.#queue = new EventQueue(options.streamBufferBytes);
    const onGone = (): void => this.cancel("client_gone");
    if (readerGone.aborted) onGone();
    readerGone.addEventListener("abort", onGone, { once: true });
    const events = options.start(request, this.#controller.signal);
    this.admitted = this.#admit(events);
    this.ended = this.#drive(events).finally(() => readerGone.removeEventListener("abort", onGone));
  }

  /**
   * The events, for one reader. A reader that leaves before `turn_ended` cancels the turn, as one
   * that never comes does by its signal.
   *
   * @throws What broke the turn after its admission: a bug, or a disk that failed at its end.
   */
  async *events(): AsyncGenerator<TurnEvent, void, undefined> {
    let isComplete = false;
    try {
      for await (const event of this.#queue.read(this.#readerGone)) {
        if (event.type === "turn_ended") isComplete = true;
        yield event;
      }
    } finally {
      if (!isComplete) this.cancel("client_gone");
    }
  }

  /** Ends the turn before its time; its outcome says why. The first cause is kept. */
  cancel(cause: CancelCause): void {
    this.#controller.abort(cause);
  }

  async #admit(events: AsyncGenerator<TurnEvent, void, undefined>): Promise<TurnEvent> {
    const first = await events.next();
    if (first.done === true) throw new Error("a turn ended without an event");
    this.#queue.push(first.value);
    return first.value;
  }

  async #drive(events: AsyncGenerator<TurnEvent, void, undefined>): Promise<void> {
    try {
      await this.admitted;
      for await (const event of events) {
        if (!this.#queue.push(event)) this.#controller.abort(TOO_MUCH);
      }
      this.#queue.close();
    } catch (thrown) {
      // Who was refused is told by `admitted` and reads no events.
      this.#queue.fail(thrown);
    }
  }
}

const TOO_MUCH = new AppError(
  "turn_output_too_large",
  "Cannot finish the turn: its reader is too slow for what it writes",
);
