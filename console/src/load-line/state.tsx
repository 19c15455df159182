/**
 * Three sentences: whether turns are taken, what binds, what the guard says.
 *
 * @module
 */

import type { CapacityEvent } from "../feed/capacity.ts";
import { bindsText, guardText, readinessText } from "../hull/words.ts";
import { feed, nowMs } from "../replica.ts";
import { countText } from "../ui/format.ts";

const READINESS_LOOKS: Readonly<Record<string, string>> = {
  ready: "badge-good",
  full: "badge-warn",
  broken: "badge-bad",
};
const GUARD_LOOKS = ["badge-good", "badge-warn", "badge-bad", "badge-bad"];

export function State({ event }: { readonly event: CapacityEvent }) {
  const { capacity } = event;
  const readiness = readinessText(event);
  const binds = bindsText(capacity, feed.endedTurns.value, nowMs.value);
  const guard = guardText(capacity);
  return (
    <dl class="state">
      <div class="card">
        <dt>
          Readiness{" "}
          <span class={`badge ${READINESS_LOOKS[readiness] ?? "badge-warn"}`}>{readiness}</span>
        </dt>
        <dd>{takesText(event)}</dd>
      </div>
      <div class="card">
        <dt>
          Breaks first <span class="badge badge-accent">{binds.what}</span>
        </dt>
        <dd>{binds.text}</dd>
      </div>
      <div class="card">
        <dt>
          Guard <span class={`badge ${GUARD_LOOKS[capacity.guard.level] ?? ""}`}>{guard.word}</span>
        </dt>
        <dd>{guard.text}</dd>
      </div>
    </dl>
  );
}

function takesText({ capacity, readiness }: CapacityEvent): string {
  if (readiness.state !== "ready") return readiness.reason;
  if (capacity.pressure !== null) return `Only a first turn is admitted: ${capacity.pressure}.`;
  const moreFit = capacity.turnsThatFit - capacity.inflight;
  if (moreFit <= 0) return "The next turn would cross the load line: it is shed with 429.";
  return `A turn that comes now is admitted, as were ${countText(capacity.admitted, "turn")} since the start.`;
}
