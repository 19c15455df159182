/**
 * The journals of all turns: what they may hold together, and how long that of an ended turn is
 * kept. Ended ones go first, the oldest of them before the others; then old events of running ones.
 *
 * @module
 */

import { monotonicMs } from "../lib/monotonic-clock.ts";
import { Journal } from "./journal.ts";
import type { TurnEvent } from "./turn.ts";

export interface JournalLimits {
  /** Bytes of one turn's journal. */
  readonly turnBytes: number;
  /** Bytes of all together. */
  readonly totalBytes: number;
  /** How long the journal of an ended turn is kept. */
  readonly keepMs: number;
}

/** The part of the whole that is freed at once: who is the largest is not asked each time. */
const FREED_AT_ONCE = 1 / 16;

interface EndedJournal {
  readonly dueAtMs: number;
  readonly onGone: () => void;
}

export class Journals implements Disposable {
  readonly #limits: JournalLimits;
  readonly #running = new Set<Journal>();
  /** The one that ended first comes first. */
  readonly #ended = new Map<Journal, EndedJournal>();
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #isDisposed = false;

  constructor(limits: JournalLimits) {
    this.#limits = limits;
  }

  /** About what all journals hold. */
  get bytes(): number {
    return this.#bytes;
  }

  open(outlivesReaders: boolean): Journal {
    const { turnBytes, totalBytes } = this.#limits;
    const limitBytes = Math.min(turnBytes, totalBytes);
    const journal = new Journal({ limitBytes, outlivesReaders });
    this.#running.add(journal);
    this.#bytes += journal.bytes;
    this.#shrink();
    return journal;
  }

  /** Adds an event to a journal, as {@link Journal.push}, and forgets others if there are too many. */
  push(journal: Journal, event: TurnEvent): boolean {
    const before = journal.bytes;
    const isAccepted = journal.push(event);
    this.#bytes += journal.bytes - before;
    this.#shrink();
    return isAccepted;
  }

  /** The turn is over. @param onGone Called once, when nothing of the journal is left. */
  end(journal: Journal, onGone: () => void): void {
    if (!this.#running.delete(journal)) return;
    this.#ended.set(journal, { dueAtMs: monotonicMs() + this.#limits.keepMs, onGone });
    this.#expire();
  }

  /** Forgets a journal of which nobody has to hear any more. */
  drop(journal: Journal): void {
    if (this.#running.delete(journal)) this.#bytes -= journal.bytes;
    else this.#release(journal);
  }

  /** A reader has left: it may have been the last one that kept an ended journal from going. */
  readerLeft(journal: Journal): void {
    if (this.#ended.has(journal)) this.#expire();
  }

  /** Nothing is kept any more, but for readers in the middle of it. */
  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#expire();
  }

  /** Lets go what is due. A reader in the middle of it may finish. */
  #expire(): void {
    const nowMs = monotonicMs();
    let nextAtMs = Number.POSITIVE_INFINITY;
    for (const [journal, { dueAtMs }] of this.#ended) {
      if (dueAtMs > nowMs && !this.#isDisposed) {
        nextAtMs = dueAtMs;
        break;
      }
      if (journal.readers === 0) this.#release(journal);
    }
    clearTimeout(this.#timer);
    if (nextAtMs === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#expire(), Math.ceil(nextAtMs - nowMs));
    this.#timer.unref();
  }

  #release(journal: Journal): void {
    const ended = this.#ended.get(journal);
    if (ended === undefined) return;
    this.#ended.delete(journal);
    this.#bytes -= journal.bytes;
    journal.clear();
    ended.onGone();
  }

  #shrink(): void {
    const { totalBytes } = this.#limits;
    while (this.#bytes > totalBytes) {
      const ended = this.#oldestEnded();
      if (ended !== undefined) this.#release(ended);
      else if (!this.#shrinkLargest(totalBytes * (1 - FREED_AT_ONCE))) return;
    }
  }

  #oldestEnded(): Journal | undefined {
    let oldest: Journal | undefined;
    for (const journal of this.#ended.keys()) {
      if (journal.readers === 0) return journal;
      oldest ??= journal;
    }
    return oldest;
  }

  /** Frees of the largest, so that a turn that says much does not take the events of the others. */
  #shrinkLargest(wantedBytes: number): boolean {
    let largest: Journal | undefined;
    for (const journal of this.#running) {
      if (largest === undefined || journal.bytes > largest.bytes) largest = journal;
    }
    if (largest === undefined) return false;
    const before = largest.bytes;
    while (this.#bytes > wantedBytes && largest.bytes > before / 2) {
      const bytes = largest.bytes;
      if (!largest.dropOldest()) break;
      this.#bytes += largest.bytes - bytes;
    }
    return largest.bytes < before;
  }
}
