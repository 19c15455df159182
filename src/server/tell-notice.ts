/**
 * What people are told of turns, and holds, that a shared session store does not know of: metrics, and
 * the log.
 *
 * @module
 */

import type { StoreNotice } from "../session/store-notice.ts";
import type { Telemetry } from "../telemetry/start.ts";

export function tellNotice(
  notice: StoreNotice,
  { log, metrics }: Pick<Telemetry, "log" | "metrics">,
): void {
  const { what, sessionId } = notice;
  metrics.storeNotice(what);
  switch (notice.what) {
    case "unavailable": {
      const text = "A turn cannot be brought to the session store now: it goes on";
      log.warn({ sessionId, err: notice.error }, text);
      return;
    }
    case "kept": {
      const text = "A turn has ended that the session store has not heard of: it is kept here";
      log.warn({ sessionId, err: notice.error }, text);
      return;
    }
    case "stuck": {
      const text =
        "A turn that is kept here cannot be brought to the session store, though that answers: " +
        "it is tried again, and others may go on without it";
      log.error({ sessionId, err: notice.error }, text);
      return;
    }
    case "delivered":
      log.info({ sessionId }, "The session store has heard of a turn that was kept here");
      return;
    case "superseded": {
      metrics.sessionRepaired("superseded");
      const text =
        "A turn is not in its session: others went on without it, or its files are damaged. " +
        "What it said is kept here, in superseded/ of the session's directory";
      log.error({ sessionId }, text);
      return;
    }
    case "held": {
      const text =
        "A session on hold is not the one of its thread in the session store: it is kept here, " +
        "under held/ in the data directory, and nothing deletes it";
      log.error({ sessionId }, text);
    }
  }
}
