/**
 * The lane in which admitted turns start their processes. A start is half a second of CPU; sixteen
 * at once make all of them slow, one by one makes the first fast and the last no slower. So about
 * one starts per CPU at a time, in the order of admission.
 *
 * @module
 */

import { monotonicMs } from "../lib/monotonic-clock.ts";

/** The right to start one process; disposed when it is initialised or has failed. */
export type StartSlot = Disposable;

export interface StartLaneOptions {
  /** CPUs of the replica, possibly a fraction: one start for each. */
  readonly cpus: number;
  /** Longest wait that is worth being admitted for. */
  readonly maxWaitMs: number;
}

/** Taken for a start until one was seen. */
const PRESUMED_START_MS = 500;
/** How much one more start changes what is expected of the next. */
const SMOOTHING_RATIO = 0.2;

/**
 * Holds: no more than `slots` start of those that somebody waits for, but for starts that were under
 * way as the slots got fewer; whoever waits is served in order; one that gives up, or whose start
 * fails, gives its place to the next. A start that nobody waits for begins in an idle slot, and then
 * is in nobody's way.
 */
export class StartLane {
  readonly maxWaitMs: number;
  readonly #waiting = new Set<() => void>();
  #slots: number;
  #coming = 0;
  #starting = 0;
  /** How many of those that start nobody waits for. */
  #unawaited = 0;
  #meanStartMs = PRESUMED_START_MS;

  constructor({ cpus, maxWaitMs }: StartLaneOptions) {
    this.#slots = slotsFor(cpus);
    this.maxWaitMs = maxWaitMs;
  }

  /** How many may start at once. */
  get slots(): number {
    return this.#slots;
  }

  /** The replica was resized: who waits for a slot that is there now has it. */
  resize(cpus: number): void {
    this.#slots = slotsFor(cpus);
    this.#letIn();
  }

  get starting(): number {
    return this.#starting;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether a process that nobody waits for may start: none that somebody waits for is later. */
  get hasIdleSlot(): boolean {
    return this.#waiting.size === 0 && this.#starting + this.#coming < this.slots;
  }

  /** How long a start takes, once it is its turn. */
  get meanStartMs(): number {
    return this.#meanStartMs;
  }

  /** How long one would wait who comes now, after so many others. */
  expectedWaitMs(others = 0): number {
    const before = this.#awaited + this.#waiting.size + this.#coming + others - this.slots;
    return before < 0 ? 0 : (Math.floor(before / this.slots) + 1) * this.#meanStartMs;
  }

  /**
   * One has been admitted and will enter, once its session is open: who comes meanwhile is to
   * expect it. Disposed as it enters, or when it will not.
   */
  announce(): Disposable {
    this.#coming += 1;
    let isComing = true;
    return {
      [Symbol.dispose]: () => {
        if (isComing) this.#coming -= 1;
        isComing = false;
      },
    };
  }

  /** Waits for a slot. @throws the signal's reason; the place is then another's. */
  async enter(signal: AbortSignal): Promise<StartSlot> {
    signal.throwIfAborted();
    if (this.#awaited < this.slots) return this.#take();
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting.delete(go);
        reject(signal.reason);
      };
      const go = (): void => {
        signal.removeEventListener("abort", giveUp);
        resolve(this.#take());
      };
      signal.addEventListener("abort", giveUp, { once: true });
      this.#waiting.add(go);
    });
  }

  /** A slot that is idle, for a start that nobody waits for; null if there is none. */
  tryEnter(): StartSlot | null {
    if (!this.hasIdleSlot) return null;
    this.#unawaited += 1;
    const slot = this.#take();
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#unawaited -= 1;
        isHeld = false;
        slot[Symbol.dispose]();
      },
    };
  }

  get #awaited(): number {
    return this.#starting - this.#unawaited;
  }

  #take(): StartSlot {
    this.#starting += 1;
    const beganAtMs = monotonicMs();
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#starting -= 1;
        this.#meanStartMs += SMOOTHING_RATIO * (monotonicMs() - beganAtMs - this.#meanStartMs);
        this.#letIn();
      },
    };
  }

  /** A Set keeps the order of coming. */
  #letIn(): void {
    for (const next of this.#waiting) {
      if (this.#awaited >= this.#slots) return;
      this.#waiting.delete(next);
      next();
    }
  }
}

function slotsFor(cpus: number): number {
  return Math.max(1, Math.round(cpus));
}
