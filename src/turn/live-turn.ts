/**
 * One turn from its start until the last of its events is forgotten. It is driven to its end
 * whoever reads it; what happens when nobody does is the agent's to say.
 *
 * @module
 */

import { AppError, toAppError } from "../lib/errors.ts";
import { leaving } from "../lib/leaving.ts";
import type { Journal, JournalEntry } from "./journal.ts";
import type { Journals } from "./journals.ts";
import type { ReplayedTurn } from "./kept-turn.ts";
import type { TellTurn } from "./turn-view.ts";
import type { CancelCause, TurnEvent, TurnOutcome, TurnRequest } from "./turn.ts";

/** Starts a turn's work; the generator of `runTurn`, which tells whether anything of it has run. */
export type StartTurn = (
  request: TurnRequest,
  signal: AbortSignal,
) => AsyncGenerator<TurnEvent, boolean, undefined>;

export interface LiveTurnOptions {
  readonly start: StartTurn;
  readonly journals: Journals;
  /** The most readers of one turn at a time. */
  readonly maxReaders: number;
  /**
   * How long turns of the agent go on without a reader before they are cancelled; null for those
   * that run to their end.
   */
  readonly clientWaitMsOf: (agentName: string) => number | null;
  /** Hears each event, and of an end that no event tells. */
  readonly tell: TellTurn;
}

type TurnStarted = Extract<TurnEvent, { type: "turn_started" }>;

/** Reads a turn, and keeps it from being taken for abandoned until it leaves. */
export interface TurnReader {
  readonly turn: LiveTurn;
  /** Id of the event after which it begins; 0 for the first. */
  readonly after: number;
  /**
   * The events of the turn with their ids. To be called once; ending it early is leaving.
   *
   * @throws {AppError} `events_expired`; else what broke the turn after its admission: a bug, or a
   *   disk that failed at its end.
   */
  readonly entries: () => AsyncGenerator<JournalEntry, void, undefined>;
  /** The events of the turn without their ids, else as `entries`. */
  readonly events: () => AsyncGenerator<TurnEvent, void, undefined>;
  readonly leave: () => void;
  /** As {@link LiveTurn.whenAdmitted}, but resolves to the reader. */
  readonly whenAdmitted: () => Promise<TurnReader>;
}

export class LiveTurn {
  readonly startedAtMs = Date.now();
  /** Whoever started it. */
  readonly owner: TurnReader;
  /** Resolves when the turn is over and has given back what `runTurn` says; never rejects. */
  readonly ended: Promise<void>;
  readonly journal: Journal;
  readonly #options: LiveTurnOptions;
  readonly #controller = new AbortController();
  readonly #readers = new Set<TurnReader>();
  /** Settles when the first event was taken; rejects at once if the turn was refused. */
  readonly #firstEvent: Promise<void>;
  /** How long it goes on without a reader; null for ever. */
  readonly #clientWaitMs: number | null;
  #request: TurnRequest;
  #facts: TurnStarted | null = null;
  #outcome: TurnOutcome | null = null;
  #hasRun = true;
  #endedAtMs: number | null = null;
  #abandoned: NodeJS.Timeout | undefined;

  /** @param ownerGone The one who starts it leaves when it aborts. */
  constructor(request: TurnRequest, options: LiveTurnOptions, ownerGone: AbortSignal) {
    this.#request = request;
    this.#options = options;
    const { agentName, outlivesReaders = false } = request;
    this.#clientWaitMs = outlivesReaders ? null : options.clientWaitMsOf(agentName);
    this.journal = options.journals.open(this.#clientWaitMs === null);
    this.owner = this.attach(ownerGone);
    const events = options.start(request, this.#controller.signal);
    this.#firstEvent = this.#takeFirst(events);
    this.ended = this.#drive(events);
  }

  /** Without its input once it has ended. */
  get request(): TurnRequest {
    return this.#request;
  }

  /** What it said of itself when it was admitted; null before. */
  get facts(): TurnStarted | null {
    return this.#facts;
  }

  /** Null while it runs, and for one that broke. */
  get outcome(): TurnOutcome | null {
    return this.#outcome;
  }

  /** False for one that has ended before anything of it ran. */
  get hasRun(): boolean {
    return this.#hasRun;
  }

  /** Null while it runs. */
  get endedAtMs(): number | null {
    return this.#endedAtMs;
  }

  get readers(): number {
    return this.#readers.size;
  }

  /** What is left of it without its events; null while it runs, and for one that broke. */
  endedTurn(): ReplayedTurn | null {
    if (this.#facts === null || this.#outcome === null) return null;
    const { turnId, sessionId, threadId, agentName } = this.#facts;
    const outcome = this.#outcome;
    const text = outcome.status === "completed" ? outcome.text : "";
    const messageId = `${turnId}:answer`;
    const isCut = true;
    return { turnId, sessionId, threadId, agentName, outcome, text, messageId, isCut };
  }

  /**
   * Reads the turn from the event after that id on; 0 for all.
   *
   * @param gone Lets the reader go when it aborts.
   * @throws {AppError} `too_many_readers`, `events_expired`, `invalid_request` for an id that was
   *   not given out.
   */
  attach(gone: AbortSignal, after = 0): TurnReader {
    const { maxReaders } = this.#options;
    if (this.#readers.size >= maxReaders) {
      const message = `Cannot read the turn: it has ${maxReaders} readers`;
      throw new AppError("too_many_readers", message, { retryAfterSeconds: 1 });
    }
    const followed = this.journal.follow(after, gone);
    const leave = (): void => {
      if (!this.#readers.delete(reader)) return;
      gone.removeEventListener("abort", leave);
      followed[Symbol.dispose]();
      if (this.#readers.size === 0) this.#onLastReaderLeft();
    };
    const entries = () => leaving(followed.entries(), leave);
    const reader: TurnReader = {
      turn: this,
      after,
      entries,
      events: () => eventsOf(entries()),
      leave,
      whenAdmitted: () => this.whenAdmitted().then(() => reader),
    };
    this.#readers.add(reader);
    clearTimeout(this.#abandoned);
    if (gone.aborted) leave();
    else gone.addEventListener("abort", leave, { once: true });
    return reader;
  }

  /** Ends the turn before its time; its outcome says why. The first cause is kept. */
  cancel(cause: CancelCause): void {
    this.#controller.abort(cause);
  }

  /** Resolves when the turn is admitted. @throws Why it was refused, once nothing of it is left. */
  async whenAdmitted(): Promise<void> {
    try {
      await this.#firstEvent;
    } catch (refusal) {
      // Who is told "no" holds nothing any more, and may come again at once.
      await this.ended;
      throw refusal;
    }
  }

  /** Cancels a turn that must not go on without a reader, at once or after its time. */
  #onLastReaderLeft(): void {
    if (this.journal.isClosed) this.#options.journals.readerLeft(this.journal);
    if (this.#outcome !== null || this.journal.isClosed || this.#clientWaitMs === null) return;
    if (this.#clientWaitMs === 0) this.cancel("client_gone");
    else this.#abandoned = setTimeout(() => this.cancel("client_gone"), this.#clientWaitMs);
  }

  async #takeFirst(events: ReturnType<StartTurn>): Promise<void> {
    const first = await events.next();
    if (first.done === true) throw new Error("a turn ended without an event");
    this.#take(first.value);
  }

  async #drive(events: ReturnType<StartTurn>): Promise<void> {
    let broken: unknown;
    try {
      await this.#firstEvent;
      for await (const event of this.#heeded(events)) this.#take(event);
      this.journal.close();
    } catch (thrown) {
      // Who was refused is told by `whenAdmitted` and reads no events.
      this.journal.fail(thrown);
      broken = thrown;
    }
    this.#tellBroken(broken);
    clearTimeout(this.#abandoned);
    this.#endedAtMs = Date.now();
    // Images and documents may be large, and nobody asks for them any more.
    this.#request = { ...this.#request, input: [] };
  }

  /** The events, and what is said after them. */
  async *#heeded(events: ReturnType<StartTurn>): AsyncGenerator<TurnEvent, void, undefined> {
    this.#hasRun = yield* events;
  }

  /** Tells of a turn that was admitted and has ended without an event that says so. */
  #tellBroken(thrown: unknown): void {
    if (this.#facts === null || this.#outcome !== null) return;
    const { code, message } = toAppError(thrown);
    this.#options.tell(this.#facts.turnId, { type: "turn_broke", code, message });
  }

  #take(event: TurnEvent): void {
    if (event.type === "turn_started") this.#facts = event;
    if (event.type === "turn_ended") this.#outcome = event.outcome;
    const isAccepted = this.#options.journals.push(this.journal, event);
    if (!isAccepted) this.#controller.abort(TOO_MUCH);
    this.#options.tell(this.#request.turnId, event);
  }
}

async function* eventsOf(
  entries: AsyncGenerator<JournalEntry, void, undefined>,
): AsyncGenerator<TurnEvent, void, undefined> {
  for await (const { event } of entries) yield event;
}

const TOO_MUCH = new AppError(
  "turn_output_too_large",
  "Cannot finish the turn: its reader is too slow for what it writes",
);
