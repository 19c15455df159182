/**
 * What happens on the replica, as it happens: for the console, or for whoever watches.
 *
 * @module
 */

import { SSE_HEARTBEAT, SSE_MEDIA_TYPE } from "../../protocol/sse.ts";
import { clientGone } from "../client-gone.ts";
import type { Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";
import { afterHead, sendStream } from "../stream-reply.ts";
import { beating } from "../turn-stream.ts";

export function feedRoutes(parts: ServerParts): Route[] {
  return [feedRoute(parts)];
}

function feedRoute(parts: ServerParts): Route {
  return {
    method: "GET",
    path: "/v1/feed",
    access: "operator",
    isStream: true,
    docs: {
      operationId: "readFeed",
      summary:
        "What happens on this replica: load once a second, turns, decisions, ends for memory",
      answers: [{ status: 200, description: "The events", content: { [SSE_MEDIA_TYPE]: null } }],
      errors: ["too_many_readers", "draining"],
    },
    handle({ reply }) {
      const gone = clientGone(reply, SSE_HEARTBEAT);
      const frames = parts.feed.follow(gone);
      return sendStream(reply, SSE_MEDIA_TYPE, afterHead(reply, beating(parts, frames, gone)));
    },
  };
}
