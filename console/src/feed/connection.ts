/**
 * One stream of Server-Sent Events, opened again whenever it breaks. Fetch and not `EventSource`,
 * which does not say why it was refused: a session that has expired needs a login, not another try.
 *
 * @module
 */

import { EventSourceParserStream } from "eventsource-parser/stream";
import type { FeedEvent } from "./state.ts";

export type ConnectionState =
  | { readonly kind: "connecting" }
  | { readonly kind: "open" }
  /** Nobody looks at the page. */
  | { readonly kind: "paused" }
  | { readonly kind: "waiting"; readonly retryAtMs: number; readonly reason: string }
  /** Opened again by `retry`. */
  | { readonly kind: "denied" };

export interface ConnectionOptions {
  readonly url: string;
  readonly onEvent: (event: FeedEvent) => void;
  readonly onState: (state: ConnectionState) => void;
  /** Ends it for good. */
  readonly signal: AbortSignal;
}

/** The server sends something at least this often, if only a comment. */
const SILENCE_MS = 45_000;
const [FIRST_WAIT_MS, LONGEST_WAIT_MS] = [500, 10_000];

export class Connection {
  readonly #options: ConnectionOptions;
  #attempt: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => this.#stop());
  }

  /** Connects now, whatever it waits for. */
  retry(): void {
    this.#stop();
    if (!this.#options.signal.aborted) void this.#run();
  }

  /** Until `retry`. */
  pause(): void {
    this.#stop();
    this.#options.onState({ kind: "paused" });
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#attempt?.abort();
    this.#attempt = null;
  }

  async #run(): Promise<void> {
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#options.onState({ kind: "connecting" });
    const reason = await this.#read(attempt).catch(() => "the server does not answer");
    // Another attempt, a pause or the end has taken over.
    if (this.#attempt !== attempt) return;
    if (reason === null) this.#options.onState({ kind: "denied" });
    else this.#waitAndRetry(reason);
  }

  /** Until the stream ends; why it did, or null if the caller is not let in. */
  async #read(attempt: AbortController): Promise<string | null> {
    const { url, onEvent, onState } = this.#options;
    const headers = { accept: "text/event-stream" };
    const response = await fetch(url, { headers, signal: attempt.signal, cache: "no-store" });
    if (response.status === 401 || response.status === 403) return null;
    if (!response.ok || response.body === null) return refusalText(response);
    onState({ kind: "open" });
    this.#failures = 0;
    const watched = response.body.pipeThrough(silenceWatch(() => attempt.abort()));
    const events = watched
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream());
    const reader = events.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return "the server has ended the stream";
      onEvent(JSON.parse(value.data) as FeedEvent);
    }
  }

  #waitAndRetry(reason: string): void {
    const longestMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    this.#failures += 1;
    // Pages that lost the same server do not come back all at once.
    const waitMs = longestMs * (0.5 + Math.random() / 2);
    this.#options.onState({ kind: "waiting", retryAtMs: Date.now() + waitMs, reason });
    this.#timer = setTimeout(() => this.retry(), waitMs);
  }
}

/** A server that is gone without a word leaves a stream that never ends. */
function silenceWatch(onSilence: () => void): TransformStream<BufferSource, BufferSource> {
  let timer = setTimeout(onSilence, SILENCE_MS);
  return new TransformStream({
    transform(bytes, controller) {
      clearTimeout(timer);
      timer = setTimeout(onSilence, SILENCE_MS);
      controller.enqueue(bytes);
    },
    flush: () => clearTimeout(timer),
  });
}

/** In the words of the server where it has some: a replica that is down is told so. */
async function refusalText(response: Response): Promise<string> {
  const problem: unknown = await response.json().catch(() => null);
  const { detail } = (problem ?? {}) as { readonly detail?: unknown };
  return typeof detail === "string" ? detail : `the server answers ${response.status}`;
}
