/**
 * Whether the processes of turns start here. One that does not may be its agent's own fault; after
 * several in a row it is asked what the replica can start at all (`server/check-readiness.ts`).
 *
 * @module
 */

/** Starts that fail in a row before the replica is in doubt. */
const DOUBT_AFTER = 3;

export interface StartListener {
  /** A turn's process has started. */
  readonly worked: () => void;
  /** Several in a row have not. */
  readonly doubted: () => void;
}

export class TurnStarts {
  #failedInARow = 0;
  #listener: StartListener | null = null;

  /** @param listener Told from now on. */
  watch(listener: StartListener): void {
    this.#listener = listener;
  }

  worked(): void {
    this.#failedInARow = 0;
    this.#listener?.worked();
  }

  failed(): void {
    this.#failedInARow += 1;
    if (this.#failedInARow < DOUBT_AFTER) return;
    this.#failedInARow = 0;
    this.#listener?.doubted();
  }
}
