/**
 * A feed as signals: what views read. Events are gathered and reduced at most ten times a second, in
 * a frame, so that 2,000 a second cost no more drawing than ten.
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
  /** Whether to be connected at all; what is known stays. */
  listen(isWanted: boolean): void;
  [Symbol.dispose](): void;
}

/** Nobody sees a hidden page, and a browser has but six connections to an origin. */
const HIDDEN_MS = 30_000;
/** Nobody reads figures that change faster. */
const GATHER_MS = 100;
/** Frames do not come while the page is hidden. */
const FRAME_MS = 500;
/** Gathered at most; what is beyond is reduced at once. */
const MOST_GATHERED = 5000;

/**
 * @param url Of `/v1/feed`, or of the feed of another replica.
 * @param isWantedAtFirst Whether it connects before `listen` is called.
 */
export function openFeed(url: string, isWantedAtFirst = true): Feed {
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
  let [isWanted, isSeen] = [isWantedAtFirst, true];
  const settle = () => (isWanted && isSeen ? link.retry() : link.pause());
  watchSeen(end.signal, (isSeenNow) => {
    isSeen = isSeenNow;
    settle();
  });
  settle();
  return {
    ...signals,
    connection,
    retry: settle,
    listen(isWantedNow) {
      if (isWanted === isWantedNow) return;
      isWanted = isWantedNow;
      settle();
    },
    [Symbol.dispose]() {
      end.abort();
      gathered.clear();
    },
  };
}

/** Tells when the page has been hidden for a while, and when it is seen after that. */
function watchSeen(ended: AbortSignal, onChange: (isSeen: boolean) => void): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isSeen = true;
  const changed = () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(() => {
        isSeen = false;
        onChange(isSeen);
      }, HIDDEN_MS);
    } else if (!isSeen) {
      isSeen = true;
      onChange(isSeen);
    }
  };
  document.addEventListener("visibilitychange", changed, { signal: ended });
  ended.addEventListener("abort", () => clearTimeout(timer));
}

/** Gathers for a moment, then until the next frame. */
class FrameBatch<T> {
  readonly #flush: (items: readonly T[]) => void;
  #items: T[] = [];
  #frame = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #flushedAtMs = -Infinity;

  constructor(flush: (items: readonly T[]) => void) {
    this.#flush = flush;
  }

  push(item: T): void {
    this.#items.push(item);
    if (this.#items.length >= MOST_GATHERED) this.#run();
    if (this.#items.length !== 1) return;
    const waitMs = Math.max(0, this.#flushedAtMs + GATHER_MS - performance.now());
    this.#timer = setTimeout(() => this.#runInFrame(), waitMs);
  }

  clear(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#items = [];
  }

  #runInFrame(): void {
    this.#frame = requestAnimationFrame(() => this.#run());
    this.#timer = setTimeout(() => this.#run(), FRAME_MS);
  }

  #run(): void {
    const items = this.#items;
    this.#flushedAtMs = performance.now();
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
