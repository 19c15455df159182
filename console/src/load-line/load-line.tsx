/**
 * The first view: the hull and what there is to say of it, the last hour, decisions, and a load to
 * try.
 *
 * @module
 */

import { DecisionsSection } from "../decisions/decisions.tsx";
import { HistorySection } from "../history/history.tsx";
import { Hull } from "../hull/hull.tsx";
import { headlineText } from "../hull/words.ts";
import { feed, nowMs } from "../replica.ts";
import { TryLoadSection } from "../try-load/try-load.tsx";
import { Manifest } from "./manifest.tsx";
import { State } from "./state.tsx";

export function LoadLineView() {
  const event = feed.capacity.value;
  return (
    <div class="stack">
      <div class="row">
        <h1 class="grow">{event === null ? "Load line" : headlineText(event.capacity)}</h1>
        <p class="soft small">{feed.hello.value?.replica}</p>
      </div>
      <div class="card load-line-card">
        <Hull feed={feed} nowMs={nowMs.value} />
        {event !== null && <Manifest event={event} live={feed.liveTurns.value} />}
      </div>
      {event !== null && <State event={event} />}
      <TryLoadSection />
      <HistorySection />
      <DecisionsSection />
    </div>
  );
}
