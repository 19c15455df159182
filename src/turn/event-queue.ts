/**
 * Events between a turn, which does not wait, and its reader, who may be slow. Bounded in bytes.
 *
 * @module
 */

import type { TurnEvent } from "./turn.ts";

/** What an event costs beside its text. */
const EVENT_OVERHEAD_BYTES = 128;

export class EventQueue {
  readonly #limitBytes: number;
  #events: TurnEvent[] = [];
  #bytes = 0;
  #isClosed = false;
  #wake = () => {};

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /**
   * Adds an event; false when it did not fit and was dropped. The last event of a turn always
   * fits, so that a reader learns how the turn ended.
   */
  push(event: TurnEvent): boolean {
    const bytes = sizeOf(event);
    const fits = this.#bytes + bytes <= this.#limitBytes || event.type === "turn_ended";
    if (fits) {
      this.#events.push(event);
      this.#bytes += bytes;
      this.#wake();
    }
    return fits;
  }

  /** No more events will come. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  /** The events, each once; for one reader. Ends when closed and empty, or when `signal` aborts. */
  async *read(signal: AbortSignal): AsyncGenerator<TurnEvent, void, undefined> {
    const onAbort = () => this.#wake();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const events = this.#events;
        this.#events = [];
        this.#bytes = 0;
        yield* events;
        if (this.#events.length > 0) continue;
        if (this.#isClosed) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

/** About the bytes an event holds: its texts at two bytes a character. */
function sizeOf(event: TurnEvent): number {
  if ("delta" in event) return EVENT_OVERHEAD_BYTES + 2 * event.delta.length;
  if (event.type === "tool_result") return EVENT_OVERHEAD_BYTES + 2 * event.content.length;
  return EVENT_OVERHEAD_BYTES;
}
