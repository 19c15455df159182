/**
 * What has to be known of a session at a glance.
 *
 * @module
 */

import type { SessionSummary } from "./transcript.ts";

export function Marks({ session }: { readonly session: SessionSummary }) {
  return (
    <>
      {session.isBusy ? <span class="badge badge-accent">in a turn</span> : null}
      {session.isOnHold ? <span class="badge badge-warn">on hold</span> : null}
    </>
  );
}
