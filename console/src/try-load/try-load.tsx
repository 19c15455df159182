/**
 * A load to try: so many turns of a rehearsal at once, and what became of each.
 *
 * @module
 */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { session } from "../access/session.ts";
import { agents, readAgents } from "../chat/agents.ts";
import { AgentsTrouble } from "../chat/agents-trouble.tsx";
import { feed, nowMs } from "../replica.ts";
import { countText } from "../ui/format.ts";
import { cancelTrial, deleteSessions, startTrial, trial } from "./run-trial.ts";
import { againText, isOver, MOST_TURNS, type Trial, trialText } from "./trial.ts";

const LENGTHS = [2, 8, 20] as const;

/** Nothing where the server does not allow it. */
export function TryLoadSection() {
  const mayTryLoad = session.value?.mayTryLoad ?? false;
  useEffect(() => {
    if (mayTryLoad) void readAgents();
  }, [mayTryLoad]);
  if (!mayTryLoad) return null;
  // Those that cost nothing.
  const rehearsals = agents.value?.filter(({ isRehearsal }) => isRehearsal);
  return (
    <section class="stack" aria-labelledby="try-title">
      <h2 id="try-title">Try a load</h2>
      <div class="card stack">
        {rehearsals?.length === 0 ? (
          <p class="soft">
            No agent here is a rehearsal, so this would cost money. Start the server with{" "}
            <code>--rehearse</code> to try one.
          </p>
        ) : (
          <Order names={rehearsals?.map(({ name }) => name) ?? []} />
        )}
        <AgentsTrouble />
        <TooLarge />
        {trial.value !== null && <Outcome shown={trial.value} />}
      </div>
    </section>
  );
}

/** Then the line would not be seen to hold. */
function TooLarge() {
  const fit = feed.capacity.value?.capacity.turnsThatFit ?? 0;
  if (fit <= MOST_TURNS) return null;
  return (
    <p class="soft small">
      {countText(fit, "turn")} fit here, more than can be sent at once. To see the line hold, start
      the server with <code>--set capacity.memoryLimit=2GiB</code>.
    </p>
  );
}

function Order({ names }: { readonly names: readonly string[] }) {
  const count = useSignal(20);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    startTrial({
      agent: textOf(form, "agent"),
      count: count.value,
      seconds: Number(textOf(form, "seconds")),
      comesBack: form.has("comesBack"),
    });
  };
  return (
    <form class="try-order" onSubmit={submit}>
      <label>
        <span>
          Turns at once: <b>{count}</b>
        </span>
        <input
          type="range"
          min={1}
          max={MOST_TURNS}
          value={count}
          onInput={(event) => (count.value = event.currentTarget.valueAsNumber)}
        />
      </label>
      <Pick name="agent" label="Agent" options={names} />
      <Pick name="seconds" label="Each lasts about" options={LENGTHS} chosen={8} unit=" s" />
      <label class="try-check">
        <input type="checkbox" name="comesBack" />
        <span>Send what is shed again, when Retry-After says so</span>
      </label>
      <div class="row">
        <button type="submit" class="button button-main" disabled={names.length === 0}>
          Send {count}
        </button>
        <button
          type="button"
          class="button"
          disabled={trial.value === null || isOver(trial.value)}
          onClick={cancelTrial}
        >
          Cancel all
        </button>
      </div>
    </form>
  );
}

interface PickProps {
  readonly name: string;
  readonly label: string;
  readonly options: readonly (string | number)[];
  readonly chosen?: string | number;
  readonly unit?: string;
}

function Pick({ name, label, options, chosen, unit = "" }: PickProps) {
  return (
    <label>
      <span>{label}</span>
      <select class="field" name={name} required>
        {options.map((option) => (
          <option key={option} value={option} selected={option === chosen}>
            {option}
            {unit}
          </option>
        ))}
      </select>
    </label>
  );
}

function Outcome({ shown }: { readonly shown: Trial }) {
  return (
    <div class="stack">
      <ol class="try-turns" aria-hidden="true">
        {shown.turns.map((turn, index) => (
          // A turn has no name before it is admitted: its place is what it is known by.
          // oxlint-disable-next-line react/no-array-index-key
          <li key={index} class={`try-turn try-${turn.state}`} title={turn.state} />
        ))}
      </ol>
      <p role="status">{trialText(shown)}</p>
      {/* Not in what is read aloud: it would be, each second. */}
      <p class="soft small">{againText(shown, tickedMs())}</p>
      {isOver(shown) && (
        <p>
          <button type="button" class="button button-small" onClick={() => void deleteSessions()}>
            Delete its sessions
          </button>
        </p>
      )}
    </div>
  );
}

/** The clock of the browser; whoever reads it is drawn again with each tick of the page's. */
function tickedMs(): number {
  void nowMs.value;
  return Date.now();
}

function textOf(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === "string" ? value : "";
}
