/**
 * Events between a turn, which does not wait, and its reader, who may be slow. Bounded in bytes.
 *
 * @module
 */

import type { TurnEvent } from "./turn.ts";

/** What an event costs beside its text. */
const EVENT_OVERHEAD_BYTES = 128;

/**
 * Holds, between any two calls:
 * - the events that wait for the reader are within the limit, but for a few small ones;
 * - once one did not fit, only those follow that end what the reader was told has begun.
 */
export class EventQueue {
  readonly #limitBytes: number;
  /** Of texts, thoughts and tool calls that were begun, not ended. */
  readonly #open = new Set<string>();
  #events: TurnEvent[] = [];
  #bytes = 0;
  #isFull = false;
  #isClosed = false;
  #failure: { readonly thrown: unknown } | null = null;
  #wake = () => {};

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Adds an event; false when it, or one before it, did not fit. */
  push(event: TurnEvent): boolean {
    const bytes = sizeOf(event);
    this.#isFull ||= this.#bytes + bytes > this.#limitBytes;
    const key = keyOf(event);
    // A reader has to learn of the end, all the more of one that came too early.
    const isEnd = event.type === "turn_ended" || (isEndOf(event) && this.#open.has(key));
    if (this.#isFull && !isEnd) return false;
    if (event.type.endsWith("_started")) this.#open.add(key);
    if (isEnd) this.#open.delete(key);
    this.#events.push(event);
    this.#bytes += bytes;
    this.#wake();
    return !this.#isFull;
  }

  /** No more events will come. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  /** No more events will come, and the reader learns why. */
  fail(thrown: unknown): void {
    this.#failure = { thrown };
    this.close();
  }

  /**
   * The events, each once; for one reader. Ends when closed and empty, or when `signal` aborts.
   *
   * @throws What {@link fail} was given, after the last event.
   */
  async *read(signal: AbortSignal): AsyncGenerator<TurnEvent, void, undefined> {
    const onAbort = (): void => this.#wake();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      while (!signal.aborted) {
        yield* this.#take(signal);
        // What comes while the reader is away wakes nobody.
        if (this.#events.length > 0 || signal.aborted) continue;
        if (this.#failure !== null) throw this.#failure.thrown;
        if (this.#isClosed) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** What waits now. An event counts until it is read. */
  *#take(signal: AbortSignal): Generator<TurnEvent, void, undefined> {
    const events = this.#events;
    this.#events = [];
    for (const event of events) {
      if (signal.aborted) return;
      this.#bytes -= sizeOf(event);
      yield event;
    }
  }
}

function isEndOf({ type }: TurnEvent): boolean {
  return type.endsWith("_ended");
}

/** The same for the start and the end of one thing. */
function keyOf(event: TurnEvent): string {
  const kind = event.type.replace(/_(?:started|ended)$/, "");
  if ("toolCallId" in event) return `${kind} ${event.toolCallId}`;
  return "messageId" in event ? `${kind} ${event.messageId}` : kind;
}

/** About the bytes an event holds: its texts at two bytes a character. */
function sizeOf(event: TurnEvent): number {
  if ("delta" in event) return EVENT_OVERHEAD_BYTES + 2 * event.delta.length;
  if (event.type === "tool_result") return EVENT_OVERHEAD_BYTES + 2 * event.content.length;
  return EVENT_OVERHEAD_BYTES;
}
