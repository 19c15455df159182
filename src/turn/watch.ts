/**
 * The clocks of a turn: it must end, and once it has its process, that must start and not fall silent.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { StopCause } from "./outcome.ts";

export interface TurnWatch extends Disposable {
  /** The agent process is initialised: from now on silence is measured. */
  started(): void;
  /** The agent process said something. */
  heard(): void;
}

export interface WatchLimits {
  readonly startTimeoutMs: number;
  readonly stallTimeMs: number;
}

export interface Deadline extends Disposable {
  /** Aborts with an {@link AppError}, unless the deadline is disposed of before. */
  readonly signal: AbortSignal;
}

/** When a turn that begins now must be over, whatever it waits for: room, its start, or the model. */
export function deadlineIn(turnTimeMs: number): Deadline {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(TOO_LONG), turnTimeMs);
  return { signal: controller.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}

/** Calls `stop` once for each limit that is passed, until disposed. */
export function watchTurn(limits: WatchLimits, stop: (cause: StopCause) => void): TurnWatch {
  let silence = setTimeout(() => stop(NOT_STARTED), limits.startTimeoutMs);
  let heardAtMs = monotonicMs();

  // One timer that looks back, instead of one set anew with every message of a fast stream.
  const lookBack = () => {
    const silentMs = monotonicMs() - heardAtMs;
    if (silentMs >= limits.stallTimeMs) stop(STALLED);
    else silence = setTimeout(lookBack, limits.stallTimeMs - silentMs);
  };

  return {
    started() {
      clearTimeout(silence);
      heardAtMs = monotonicMs();
      silence = setTimeout(lookBack, limits.stallTimeMs);
    },
    heard() {
      heardAtMs = monotonicMs();
    },
    [Symbol.dispose]() {
      clearTimeout(silence);
    },
  };
}

const TOO_LONG = new AppError("turn_timeout", "Cannot finish the turn: it ran longer than it may");
const STALLED: StopCause = {
  kind: "failed",
  code: "turn_stalled",
  message: "Cannot finish the turn: the agent was silent for too long",
};
const NOT_STARTED: StopCause = {
  kind: "failed",
  code: "agent_start_failed",
  message: "Cannot start the turn: the agent process was not ready in time",
};
