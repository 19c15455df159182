/**
 * Three sentences: whether turns are taken, what binds, what the guard says.
 *
 * @module
 */

import type { CapacityEvent } from "../feed/capacity.ts";
import { bindsText, guardText, readinessText, takesText } from "../hull/words.ts";
import { feed, nowMs } from "../replica.ts";

const READINESS_LOOKS: Readonly<Record<string, string>> = {
  ready: "badge-good",
  full: "badge-warn",
  broken: "badge-bad",
};
const GUARD_LOOKS = ["badge-good", "badge-warn", "badge-bad", "badge-bad"];

export function State({ event }: { readonly event: CapacityEvent }) {
  const { capacity } = event;
  const readiness = readinessText(event);
  const decisions = feed.decisions.value;
  const binds = bindsText(capacity, feed.endedTurns.value, decisions, nowMs.value);
  const guard = guardText(capacity);
  return (
    <dl class="state">
      <div class="card">
        <dt>
          Readiness{" "}
          <span class={`badge ${READINESS_LOOKS[readiness] ?? "badge-warn"}`}>{readiness}</span>
        </dt>
        <dd>{takesText(event, decisions, nowMs.value)}</dd>
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
