/**
 * Tells the log when a replica begins to shed turns, that it still does, and when it has stopped;
 * never of each refusal, of which there may be thousands a second.
 *
 * @module
 */

/** Between two lines that say that turns are shed; and so long none may be, for it to have stopped. */
export const SHED_PAUSE_MS = 10_000;

export interface ShedLogger {
  info(fields: { readonly shed: number; readonly decision: string }, message: string): void;
}

export class ShedLog {
  readonly #log: ShedLogger;
  #isShedding = false;
  /** Since the last line. */
  #shed = 0;
  #shedAtMs = -Infinity;
  #toldAtMs = -Infinity;

  constructor(log: ShedLogger) {
    this.#log = log;
  }

  /**
   * Takes in a decision of the gate, in constant time.
   * @param text In words, with its figures.
   * @param nowMs Of a clock that nobody sets.
   */
  decided(isShed: boolean, text: string, nowMs: number): void {
    if (isShed) this.#wasShed(text, nowMs);
    else if (this.#isShedding && nowMs - this.#shedAtMs >= SHED_PAUSE_MS) {
      this.#isShedding = false;
      this.#tell("Turns are no longer shed", text);
    }
  }

  #wasShed(text: string, nowMs: number): void {
    this.#shed += 1;
    this.#shedAtMs = nowMs;
    if (nowMs - this.#toldAtMs < SHED_PAUSE_MS) return;
    this.#toldAtMs = nowMs;
    this.#isShedding = true;
    this.#tell("Turns are shed", text);
  }

  /** @param decision The last one, which is told as an example of the others. */
  #tell(message: string, decision: string): void {
    this.#log.info({ shed: this.#shed, decision }, message);
    this.#shed = 0;
  }
}
