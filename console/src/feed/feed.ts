/**
 * A feed as signals: what views read. Events are gathered and reduced once a frame, so that 2,000
 * a second cost no more drawing than one.
 *
 * @module
 */

import { batch, type ReadonlySignal, signal } from "@preact/signals";
import { Connection, type ConnectionState } from "./connection.ts";
import { reduceAll } from "./reduce.ts";
import { EMPTY, type FeedEvent, type FeedState } from "./state.ts";

type Signals = { readonly [Key in keyof FeedState]: ReadonlySignal<FeedState[Key]> };

export interface Feed extends Signals {
  readonly connection: ReadonlySignal<ConnectionState>;
  /** Connects now, after a login or because the reader wants it. */
  retry(): void;
  [Symbol.dispose](): void;
}

/** Nobody sees a hidden page, and a browser has but six connections to an origin. */
const HIDDEN_MS = 30_000;
/** Frames do not come while the page is hidden. */
const FRAME_MS = 500;
/** Gathered at most; what is beyond is reduced at once. */
const MOST_GATHERED = 5000;

/** @param url Of `/v1/feed`, or of the feed of another replica. */
export function openFeed(url: string): Feed {
  const end = new AbortController();
  const signals = signalsOf(EMPTY);
  const connection = signal<ConnectionState>({ kind: "connecting" });
  let state = EMPTY;
  const gathered = new FrameBatch<FeedEvent>((events) => {
    state = reduceAll(state, events, Date.now());
    batch(() => {
      for (const key of keysOf(signals)) signals[key].value = state[key];
    });
  });
  const link = new Connection({
    url,
    onEvent: (event) => gathered.push(event),
    onState: (now) => (connection.value = now),
    signal: end.signal,
  });
  pauseWhenHidden(link, end.signal);
  link.retry();
  return {
    ...signals,
    connection,
    retry: () => link.retry(),
    [Symbol.dispose]() {
      end.abort();
      gathered.clear();
    },
  };
}

function pauseWhenHidden(link: Connection, ended: AbortSignal): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isPaused = false;
  const changed = () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(() => {
        isPaused = true;
        link.pause();
      }, HIDDEN_MS);
    } else if (isPaused) {
      isPaused = false;
      link.retry();
    }
  };
  document.addEventListener("visibilitychange", changed, { signal: ended });
  ended.addEventListener("abort", () => clearTimeout(timer));
}

/** Gathers until the next frame. */
class FrameBatch<T> {
  readonly #flush: (items: readonly T[]) => void;
  #items: T[] = [];
  #frame = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(flush: (items: readonly T[]) => void) {
    this.#flush = flush;
  }

  push(item: T): void {
    this.#items.push(item);
    if (this.#items.length >= MOST_GATHERED) this.#run();
    if (this.#items.length !== 1) return;
    this.#frame = requestAnimationFrame(() => this.#run());
    this.#timer = setTimeout(() => this.#run(), FRAME_MS);
  }

  clear(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#items = [];
  }

  #run(): void {
    const items = this.#items;
    this.clear();
    this.#flush(items);
  }
}

function signalsOf(state: FeedState) {
  return {
    hello: signal(state.hello),
    restartedAtMs: signal(state.restartedAtMs),
    clockOffsetMs: signal(state.clockOffsetMs),
    capacity: signal(state.capacity),
    history: signal(state.history),
    liveTurns: signal(state.liveTurns),
    endedTurns: signal(state.endedTurns),
    decisions: signal(state.decisions),
    guardEvents: signal(state.guardEvents),
  };
}

/** Keys with values of their own types: what TypeScript cannot follow through a loop. */
function keysOf(signals: ReturnType<typeof signalsOf>): "capacity"[] {
  return Object.keys(signals) as "capacity"[];
}
