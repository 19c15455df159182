/**
 * How what was said is on its way: the countdown of a turn that was shed, a refusal, a connection
 * that is gone.
 *
 * @module
 */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { hrefOf } from "../router.ts";
import { ProblemNote } from "../ui/problem-note.tsx";
import { RETRY_LIMITS } from "./send-turn.ts";
import type { Phase, Talk } from "./talk.ts";

interface StateProps {
  readonly now: Talk;
  readonly onTakeBack: () => void;
}

export function StateLine({ now, onTakeBack }: StateProps) {
  const phase = now.phase.value;
  return (
    <div class="chat-state" role="status">
      <State phase={phase} now={now} onTakeBack={onTakeBack} />
    </div>
  );
}

function State({ phase, now, onTakeBack }: StateProps & { readonly phase: Phase }) {
  switch (phase.is) {
    case "waiting":
      return <Waiting phase={phase} now={now} />;
    case "refused":
      return (
        <ProblemNote
          message={phase.error.message}
          code={phase.error.code}
          remedy={phase.error.remedy}
        >
          <div class="row">
            <button type="button" class="button button-small" onClick={() => now.sendAgain()}>
              Send again
            </button>
            <button type="button" class="button button-small" onClick={onTakeBack}>
              Change it
            </button>
          </div>
        </ProblemNote>
      );
    case "sending":
      return <p class="soft small">Asking for a place below the load line …</p>;
    case "running": {
      if (phase.isCancelling) return <p class="soft small">The turn is being ended …</p>;
      if (phase.isCutOff)
        return (
          <p class="chat-cut small">The connection is lost; it is picked up where it broke …</p>
        );
      return (
        <p class="soft small chat-runs">
          <span class="chat-pulse" aria-hidden="true" /> The turn runs ·{" "}
          <a href={hrefOf("turns")}>see it among the others</a>
        </p>
      );
    }
    default:
      return null;
  }
}

interface WaitingProps {
  readonly phase: Extract<Phase, { is: "waiting" }>;
  readonly now: Talk;
}

function Waiting({ phase, now }: WaitingProps) {
  const { error, tries, untilMs } = phase;
  const isShed = error.code === "at_capacity";
  return (
    <ProblemNote message={error.message} code={error.code} remedy={null} isPassing>
      <div class="row">
        <p class="grow">
          {isShed ? "Shed, not lost: " : ""}it is sent again by itself{" "}
          <span aria-hidden="true">
            in <Countdown untilMs={untilMs} />
          </span>
          <span class="soft">
            {" "}
            · attempt {tries} of {RETRY_LIMITS.tries}
          </span>
        </p>
        <button type="button" class="button button-small" onClick={() => now.cancel()}>
          Stop trying
        </button>
      </div>
    </ProblemNote>
  );
}

const TICK_MS = 250;

/** By itself, so that nothing else is drawn again. */
function Countdown({ untilMs }: { readonly untilMs: number }) {
  const seconds = useSignal(secondsTo(untilMs));
  useEffect(() => {
    const tick = () => (seconds.value = secondsTo(untilMs));
    tick();
    const timer = setInterval(tick, TICK_MS);
    return () => clearInterval(timer);
  }, [untilMs]);
  return <strong class="chat-countdown">{seconds.value} s</strong>;
}

function secondsTo(untilMs: number): number {
  return Math.max(0, Math.ceil((untilMs - Date.now()) / 1000));
}
