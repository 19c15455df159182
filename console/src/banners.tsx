/**
 * What has to be said above all views: the connection, a replica that is another one now, one that
 * is leaving.
 *
 * @module
 */

import type { ConnectionState } from "./feed/connection.ts";
import { session, sessionTrouble } from "./access/session.ts";
import { feed, nowMs } from "./replica.ts";

/** How long the page says that the replica has started again. */
const RESTART_TOLD_MS = 60_000;

export function Banners() {
  return (
    <div role="status">
      <ConnectionBanner state={feed.connection.value} />
      {sessionTrouble.value !== null && (
        <p class="banner banner-warn">
          Who you are could not be read: {sessionTrouble.value}. The page tries again by itself.
        </p>
      )}
      <RestartBanner />
      <ReadinessBanner />
    </div>
  );
}

function ConnectionBanner({ state }: { readonly state: ConnectionState }) {
  if (state.kind === "denied" && session.value?.auth === false) {
    return <p class="banner banner-bad">The server does not let this page read its feed.</p>;
  }
  if (state.kind !== "waiting") return null;
  return (
    <div class="banner banner-warn">
      <span class="grow">
        The connection is lost: {state.reason}. What you see is how it was; the page tries again by
        itself.
      </span>
      <button type="button" class="button button-small" onClick={() => feed.retry()}>
        Try now
      </button>
    </div>
  );
}

function RestartBanner() {
  const atMs = feed.restartedAtMs.value;
  if (atMs === null || nowMs.value - atMs > RESTART_TOLD_MS) return null;
  return (
    <p class="banner">
      The replica has started again under this page: turns and history are those since its start.
    </p>
  );
}

function ReadinessBanner() {
  const readiness = feed.capacity.value?.readiness;
  if (readiness === undefined || readiness.state === "ready") return null;
  return (
    <p class={`banner ${readiness.state === "broken" ? "banner-bad" : "banner-warn"}`}>
      {READINESS_TEXTS[readiness.state]}
      {readiness.reason === "" ? "" : ` ${readiness.reason}`}
    </p>
  );
}

const READINESS_TEXTS = {
  starting: "The replica is starting and takes no turns yet:",
  draining: "The replica is draining: running turns end, new ones go elsewhere.",
  broken: "The replica takes no turns:",
};
