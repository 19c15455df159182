/**
 * The clocks of a turn: it must start, must not fall silent, and must end.
 *
 * @module
 */

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
  readonly turnTimeMs: number;
}

/** Calls `stop` once for each limit that is passed, until disposed. */
export function watchTurn(limits: WatchLimits, stop: (cause: StopCause) => void): TurnWatch {
  const deadline = setTimeout(() => stop(TOO_LONG), limits.turnTimeMs);
  let silence = setTimeout(() => stop(NOT_STARTED), limits.startTimeoutMs);
  let heardAtMs = performance.now();

  // One timer that looks back, instead of one set anew with every message of a fast stream.
  const lookBack = () => {
    const silentMs = performance.now() - heardAtMs;
    if (silentMs >= limits.stallTimeMs) stop(STALLED);
    else silence = setTimeout(lookBack, limits.stallTimeMs - silentMs);
  };

  return {
    started() {
      clearTimeout(silence);
      heardAtMs = performance.now();
      silence = setTimeout(lookBack, limits.stallTimeMs);
    },
    heard() {
      heardAtMs = performance.now();
    },
    [Symbol.dispose]() {
      clearTimeout(deadline);
      clearTimeout(silence);
    },
  };
}

const TOO_LONG: StopCause = {
  kind: "failed",
  code: "turn_timeout",
  message: "Cannot finish the turn: it ran longer than it may",
};
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
