/**
 * Recent decisions in words, the newest first.
 *
 * @module
 */

import { useComputed, useSignal } from "@preact/signals";
import { feed } from "../replica.ts";
import { clockText } from "../ui/format.ts";
import { linesOf } from "./lines.ts";

const [FEW, MANY] = [12, 200];
const LOOKS = { admitted: "badge-good", shed: "badge-warn", guard: "badge-bad" };

export function DecisionsSection() {
  const most = useSignal(FEW);
  const lines = useComputed(() =>
    linesOf(feed.decisions.value, feed.guardEvents.value, most.value),
  );
  const isLong = most.value === MANY;
  return (
    <section class="stack" aria-labelledby="decisions-title">
      <div class="row">
        <h2 class="grow" id="decisions-title">
          Decisions
        </h2>
        <button
          type="button"
          class="button button-small"
          aria-pressed={isLong}
          onClick={() => (most.value = isLong ? FEW : MANY)}
        >
          {isLong ? "Fewer" : "More"}
        </button>
      </div>
      {lines.value.length === 0 ? (
        <p class="card soft">Nothing was decided yet: the first turn will be here.</p>
      ) : (
        <ol class="decisions card">
          {lines.value.map(({ key, atMs, kind, word, text, untold }) => (
            <li key={key}>
              <time class="soft small" dateTime={new Date(atMs).toISOString()}>
                {clockText(atMs)}
              </time>
              <span class={`badge ${LOOKS[kind]}`}>{word}</span>
              <span>
                {text} {untold !== "" && <em class="soft">{untold}</em>}
              </span>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
