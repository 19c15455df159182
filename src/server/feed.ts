/**
 * The feed of a replica: what happens on it, for any number of readers up to a limit. What is told
 * is made into text once for all of them. Without a reader nothing is made but a step of the history
 * every five seconds, for which each admission is looked at.
 *
 * @module
 */

import type { GateSnapshot } from "../capacity/gate-snapshot.ts";
import type { CapacityView, Readiness } from "../http/server-parts.ts";
import { AppError } from "../lib/errors.ts";
import { leaving } from "../lib/leaving.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { encodeFeedEvent, type FeedHello } from "../protocol/feed.ts";
import type { FeedBook } from "./feed-book.ts";
import type { IdleSessions } from "./idle-sessions.ts";
import { ReplicaHistory } from "./replica-history.ts";
import { FeedReader } from "./feed-reader.ts";

const MAX_FEED_READERS = 16;
const CAPACITY_INTERVAL_MS = 1_000;
/** A turn is told of at most once in this time. */
const TURN_INTERVAL_MS = 100;

export interface FeedOptions extends Pick<FeedHello, "replica" | "version"> {
  readonly book: FeedBook;
  readonly snapshot: () => GateSnapshot;
  readonly capacity: () => CapacityView;
  readonly readiness: Readiness;
  readonly sessions: Pick<IdleSessions, "view" | "watched">;
}

export class Feed implements Disposable {
  readonly #options: FeedOptions;
  readonly #startedAtMs = Date.now();
  readonly #history = new ReplicaHistory(monotonicMs());
  readonly #readers = new Set<FeedReader>();
  /** Turns of which there is something to tell. */
  readonly #changed = new Set<string>();
  #historyTimer: NodeJS.Timeout;
  #capacityTimer: NodeJS.Timeout | undefined;
  #turnTimer: NodeJS.Timeout | undefined;
  /** The last that was told; null while nobody reads. */
  #capacityFrame: string | null = null;
  #isClosed = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#historyTimer = this.#awaitStep();
    options.book.listen({
      turnAdmitted: () => this.#history.saw(options.snapshot()),
      turnChanged: (turnId) => this.#turnChanged(turnId),
      firstToken: (firstTokenMs) => this.#history.firstToken(firstTokenMs),
      decided: (decision) => this.#tell(() => encodeFeedEvent(decision)),
      guardActed: (event) => this.#tell(() => encodeFeedEvent(event)),
    });
  }

  get readers(): number {
    return this.#readers.size;
  }

  /**
   * Reads the feed from now on, as frames of Server-Sent Events, until the server ends it.
   *
   * @param gone Lets the reader go when it aborts.
   * @throws {AppError} `too_many_readers`, `draining`.
   */
  follow(gone: AbortSignal): AsyncIterable<string> {
    if (this.#isClosed) {
      const message = "Cannot read the feed: the replica is shutting down";
      throw new AppError("draining", message, { retryAfterSeconds: 1 });
    }
    if (this.#readers.size >= MAX_FEED_READERS) {
      const message = `Cannot read the feed: it has ${MAX_FEED_READERS} readers`;
      throw new AppError("too_many_readers", message, { retryAfterSeconds: 1 });
    }
    const reader = new FeedReader(() => this.#opening());
    if (gone.aborted) return nothing();
    this.#readers.add(reader);
    this.#options.sessions.watched();
    this.#capacityTimer ??= setInterval(() => this.#tellCapacity(), CAPACITY_INTERVAL_MS).unref();
    const leave = (): void => {
      gone.removeEventListener("abort", leave);
      reader.drop();
      this.#left(reader);
    };
    gone.addEventListener("abort", leave, { once: true });
    return leaving(reader.chunks(), leave);
  }

  /** Ends all that is read, and takes no more readers. Idempotent. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#historyTimer);
    // Whoever watches sees the last turn end, and why nothing more comes.
    this.#tellTurns();
    if (this.#readers.size > 0) this.#tellCapacity();
    for (const reader of this.#readers) {
      reader.close();
      this.#left(reader);
    }
  }

  /** Not in an interval, which would be later with each step. */
  #awaitStep(): NodeJS.Timeout {
    const endStep = (): void => {
      this.#history.endStep(this.#options.snapshot(), monotonicMs());
      this.#historyTimer = this.#awaitStep();
    };
    return setTimeout(endStep, this.#history.leftMs(monotonicMs())).unref();
  }

  #left(reader: FeedReader): void {
    this.#readers.delete(reader);
    if (this.#readers.size > 0) return;
    clearInterval(this.#capacityTimer);
    clearTimeout(this.#turnTimer);
    this.#capacityTimer = undefined;
    this.#turnTimer = undefined;
    this.#capacityFrame = null;
    this.#changed.clear();
  }

  #opening(): readonly string[] {
    const { replica, version, book } = this.#options;
    const nowMs = Date.now();
    const hello = {
      type: "hello",
      nowMs,
      replica,
      version,
      startedAtMs: this.#startedAtMs,
    } as const;
    return [
      encodeFeedEvent(hello),
      encodeFeedEvent(this.#history.event(monotonicMs(), nowMs)),
      encodeFeedEvent({ type: "recent", ...book.recent() }),
      (this.#capacityFrame ??= this.#encodeCapacity()),
    ];
  }

  #tellCapacity(): void {
    const frame = this.#encodeCapacity();
    this.#capacityFrame = frame;
    this.#tell(() => frame);
  }

  #encodeCapacity(): string {
    const { state, reason } = this.#options.readiness;
    return encodeFeedEvent({
      type: "capacity",
      atMs: Date.now(),
      capacity: this.#options.capacity(),
      readiness: { state, reason },
      sessions: this.#options.sessions.view(),
    });
  }

  #turnChanged(turnId: string): void {
    if (this.#readers.size === 0) return;
    this.#changed.add(turnId);
    this.#turnTimer ??= setTimeout(() => this.#tellTurns(), TURN_INTERVAL_MS).unref();
  }

  #tellTurns(): void {
    clearTimeout(this.#turnTimer);
    this.#turnTimer = undefined;
    for (const turnId of this.#changed) {
      const turn = this.#options.book.turn(turnId);
      if (turn !== undefined) this.#tell(() => encodeFeedEvent({ type: "turn", turn }));
    }
    this.#changed.clear();
  }

  #tell(encode: () => string): void {
    if (this.#readers.size === 0) return;
    const frame = encode();
    for (const reader of this.#readers) reader.push(frame);
  }
}

async function* nothing(): AsyncGenerator<string, void, undefined> {}
