/**
 * The events of one turn, numbered from 1, for any number of readers. The turn does not wait for
 * them; each follows at its own pace from where it wants, and none has a copy of its own.
 *
 *     dropped │ held                        │ to come
 *     1 … 41  │ 42 43 44 45 46 47 48 49 50  │ 51 …
 *             first     ▲ a reader       last
 *
 * @module
 */

import { KIB } from "../lib/byte-units.ts";
import { AppError } from "../lib/errors.ts";
import { isEnd, isStart, keyOf, sizeOf } from "./event-facts.ts";
import type { TurnEvent } from "./turn.ts";

export interface JournalEntry {
  /** 1 for the first event of the turn, without gaps. */
  readonly id: number;
  readonly event: TurnEvent;
}

export interface JournalOptions {
  readonly limitBytes: number;
  /**
   * What happens when nobody keeps up: the readers are cut off (true), or the turn is to be ended,
   * and they read all that was held (false).
   */
  readonly outlivesReaders: boolean;
}

/** Follows a journal. Closing it, or ending `entries`, gives its place back. */
export interface JournalReader extends Disposable {
  /**
   * Once. Ends when the journal has and everything was read, or when the signal aborts.
   *
   * @throws {AppError} `events_expired` when the next event is not held any more; else what broke
   *   the turn, after its last event.
   */
  entries(): AsyncGenerator<JournalEntry, void, undefined>;
}

interface Cursor {
  /** Id of the event that it reads next. */
  next: number;
  wake: () => void;
}

/** What a journal costs when it is empty, with the turn that it belongs to. */
const BASE_BYTES = KIB;
/** Dropped entries are cut from the array when they are so many, and half of it. */
const COMPACT_FROM = 1_024;

/**
 * Holds, between any two calls:
 * - the events that are held are within the limit, but for a few small ones;
 * - every reader gets each event from its place on once, in order, or learns that one has expired;
 * - once an event was refused, only those follow that end what has begun.
 */
export class Journal {
  readonly #options: JournalOptions;
  readonly #cursors = new Set<Cursor>();
  /** Of texts, thoughts and tool calls that were begun, not ended. */
  readonly #open = new Set<string>();
  /** The same at the first event that is held: what of it an encoder has to have seen. */
  readonly #openAtFirst = new Map<string, TurnEvent[]>();
  #events: (TurnEvent | undefined)[] = [];
  /** Index of the first one that is held. */
  #start = 0;
  #firstId = 1;
  #bytes = BASE_BYTES;
  #isFull = false;
  #isClosed = false;
  #failure: { readonly thrown: unknown } | null = null;

  constructor(options: JournalOptions) {
    this.#options = options;
  }

  /** Id of the oldest event that is held, or of the next one if none is. */
  get firstId(): number {
    return this.#firstId;
  }

  /** Id of the newest event; 0 before the first. */
  get lastId(): number {
    return this.#firstId + this.#events.length - this.#start - 1;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get readers(): number {
    return this.#cursors.size;
  }

  /** Adds an event; false when it, or one before it, was refused because nobody keeps up. */
  push(event: TurnEvent): boolean {
    const key = keyOf(event);
    this.#isFull ||= !this.#makeRoomFor(sizeOf(event));
    // A reader has to learn of the end, all the more of one that came too early.
    const ends = event.type === "turn_ended" || (isEnd(event) && this.#open.has(key));
    if (this.#isFull && !ends) return false;
    if (isStart(event)) this.#open.add(key);
    if (ends) this.#open.delete(key);
    this.#events.push(event);
    this.#bytes += sizeOf(event);
    // One that is too large by itself: whoever has not read it never will.
    while (!this.#isFull && this.#isOver(0) && this.dropOldest());
    this.#wakeAll();
    return !this.#isFull;
  }

  /** No more events will come. */
  close(): void {
    this.#isClosed = true;
    this.#wakeAll();
  }

  /** No more events will come, and the readers learn why. */
  fail(thrown: unknown): void {
    this.#failure = { thrown };
    this.close();
  }

  /** Lets the oldest event go, whoever has not read it; false if there is none. */
  dropOldest(): boolean {
    const event = this.#events[this.#start];
    if (event === undefined) return false;
    this.#remember(event);
    this.#events[this.#start] = undefined;
    this.#start += 1;
    this.#firstId += 1;
    this.#bytes -= sizeOf(event);
    if (this.#start >= COMPACT_FROM && this.#start > this.#events.length / 2) {
      this.#events = this.#events.slice(this.#start);
      this.#start = 0;
    }
    return true;
  }

  /** Lets all events go. */
  clear(): void {
    while (this.dropOldest());
    this.#wakeAll();
  }

  /**
   * A reader of what comes after the event with that id; 0 for all.
   *
   * @param signal Lets the reader go when it aborts.
   * @throws {AppError} `events_expired`; `invalid_request` for an id that was not given out.
   */
  follow(after: number, signal: AbortSignal): JournalReader {
    if (after > this.lastId) {
      const last = `the last one has the number ${this.lastId}`;
      throw new AppError("invalid_request", `Cannot go on after that event: ${last}`);
    }
    if (after + 1 < this.#firstId) throw eventsExpired();
    const cursor: Cursor = { next: after + 1, wake: () => {} };
    this.#cursors.add(cursor);
    return {
      entries: () => this.#read(cursor, signal),
      [Symbol.dispose]: () => void this.#cursors.delete(cursor),
    };
  }

  /**
   * A few events that leave an encoder as if it had seen all up to the one with that id, which is
   * held or the last one that is not.
   */
  standInFor(after: number): TurnEvent[] {
    const dropped = [...this.#openAtFirst.values()].flat();
    const end = this.#start + Math.max(0, after - this.#firstId + 1);
    const held = this.#events.slice(this.#start, end);
    return [...dropped, ...held.filter((event) => event !== undefined)];
  }

  /** The events that are held. */
  held(): TurnEvent[] {
    return this.#events.slice(this.#start).filter((event) => event !== undefined);
  }

  async *#read(cursor: Cursor, signal: AbortSignal): AsyncGenerator<JournalEntry, void, undefined> {
    const onAbort = (): void => cursor.wake();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      while (!signal.aborted) {
        if (cursor.next < this.#firstId) throw eventsExpired();
        const event = this.#events[this.#start + cursor.next - this.#firstId];
        if (event !== undefined) {
          cursor.next += 1;
          yield { id: cursor.next - 1, event };
        } else if (this.#failure !== null) throw this.#failure.thrown;
        else if (this.#isClosed) return;
        else {
          await new Promise<void>((resolve) => {
            cursor.wake = resolve;
          });
        }
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#cursors.delete(cursor);
    }
  }

  #wakeAll(): void {
    for (const { wake } of this.#cursors) wake();
  }

  #isOver(bytes: number): boolean {
    return this.#bytes + bytes > this.#options.limitBytes;
  }

  /** Lets old events go for a new one; false where that would leave the turn without a reader. */
  #makeRoomFor(bytes: number): boolean {
    while (this.#isOver(bytes)) {
      const isEmpty = this.#start === this.#events.length;
      // An event that can never fit would cut off all, as if it had been dropped at once.
      if (this.#cutsAllOff(isEmpty ? this.lastId + 1 : this.#firstId)) return false;
      if (!this.dropOldest()) return true;
    }
    return true;
  }

  #cutsAllOff(id: number): boolean {
    if (this.#options.outlivesReaders || this.#cursors.size === 0) return false;
    return [...this.#cursors].every(({ next }) => next <= id);
  }

  #remember(event: TurnEvent): void {
    const key = keyOf(event);
    const opened = this.#openAtFirst.get(key);
    if (isEnd(event)) this.#openAtFirst.delete(key);
    else if (isStart(event)) this.#openAtFirst.set(key, [event]);
    else if (opened?.length === 1 && "delta" in event && event.delta !== "") {
      opened.push({ ...event, delta: event.delta.slice(0, 1) });
    }
  }
}

export function eventsExpired(): AppError {
  return new AppError(
    "events_expired",
    "Cannot go on with the turn's events: the next one is not held any more",
  );
}
