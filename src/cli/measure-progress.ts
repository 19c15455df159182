/**
 * What is shown while an agent is measured: a line as a step begins, and one of what it found.
 *
 * @module
 */

import type { MeasureListener } from "../sizing/measure/options.ts";
import { type Protocol, STEP_NAMES, type StepName, STEPS } from "../sizing/measure/protocol.ts";
import type { PartialResults } from "../sizing/measure/state.ts";
import { median } from "../sizing/statistics.ts";
import { countOf, mebibytes, seconds } from "../lib/figures.ts";
import type { Io } from "./io.ts";

/** To stderr: the report alone goes to stdout. */
export class MeasureProgress implements MeasureListener {
  readonly #io: Io;
  readonly #shown = new Set<StepName>();
  #protocol: Protocol | null = null;
  #killNow: () => void = () => {};

  constructor(io: Io) {
    this.#io = io;
  }

  killable = (killNow: () => void): void => {
    this.#killNow = killNow;
  };

  began = (protocol: Protocol, done: readonly StepName[]): void => {
    this.#protocol = protocol;
    for (const name of done) this.#shown.add(name);
    const goesOn = done.length === 0 ? "" : `Going on: ${done.length} steps were done. `;
    this.#io.stderr(`${goesOn}About ${this.#leftText()}\n`);
  };

  stepBegan = (name: StepName): void => {
    const place = `${STEP_NAMES.indexOf(name) + 1}/${STEP_NAMES.length}`;
    this.#io.stderr(`${place}  ${STEPS[name]}\n`);
  };

  turnEnded = (done: number, of: number): void => {
    // Of a step that takes long; the others say when they are over.
    if (done < of && done % TOLD_EVERY === 0) this.#io.stderr(`     ${done} of ${of}\n`);
  };

  stepEnded: MeasureListener["stepEnded"] = (name, results) => {
    this.#shown.add(name);
    const left = this.#shown.size === STEP_NAMES.length ? "" : `; ${this.#leftText()} left`;
    this.#io.stderr(`     ${foundBy(name, results)}${left}\n`);
  };

  killNow(): void {
    this.#killNow();
  }

  #leftText(): string {
    const secondsOf = this.#protocol?.secondsOf;
    const names = STEP_NAMES.filter((name) => !this.#shown.has(name));
    const left = names.reduce((sum, name) => sum + (secondsOf?.[name] ?? 0), 0);
    return left < 90 ? `${Math.ceil(left / 10) * 10} s` : `${Math.ceil(left / 60)} min`;
  }
}

/** The figure of a step that says most. */
function foundBy(name: StepName, results: PartialResults): string {
  const { idle, first, steady, bursts, sessions, transcripts, tools } = results;
  switch (name) {
    case "idle":
      return mebibytes(idle?.usedBytes ?? 0);
    case "first":
      return `${mebibytes(first?.peakBytes ?? 0)}, first token ${seconds(first?.firstTokenMs ?? 0)}`;
    case "steady": {
      const turns = steady?.turns ?? [];
      const peakBytes = median(turns.map((turn) => turn.peakBytes));
      return `${mebibytes(peakBytes)}, ${seconds(median(turns.map((turn) => turn.cpuMs)))} of CPU`;
    }
    case "bursts": {
      const most = bursts?.bursts.at(-1);
      const bound = bursts?.bound ?? null;
      const slow = seconds(median(most?.firstTokenMs ?? [0]));
      const why = bound === null ? "" : `; ${bound === "cpu" ? "CPU" : bound} bound`;
      return `${most?.starts ?? 0} at once: first token ${slow}${why}`;
    }
    case "sessions":
      return countOf(sessions?.sessions ?? 0, "session");
    case "transcripts":
      return countOf(transcripts?.turns.length ?? 0, "turn");
    case "tools":
      return `${countOf(tools?.tools.length ?? 0, "tool")} called`;
  }
}

const TOLD_EVERY = 4;
