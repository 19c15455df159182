/**
 * The first view: the hull and what there is to say of it, the last hour, decisions, and a load to
 * try.
 *
 * @module
 */

import { feed } from "./replica.ts";

export function LoadLineView() {
  return (
    <div class="stack">
      <h1>Load line</h1>
      <p>{feed.capacity.value?.capacity.inflight ?? 0} turns in flight</p>
    </div>
  );
}
