/**
 * Other replicas, as far as the console shows them: which there are, and the feed of each.
 *
 * @module
 */

import { z } from "zod";
import { SSE_MEDIA_TYPE } from "../../protocol/sse.ts";
import { clientGone } from "../client-gone.ts";
import { jsonAnswer, type Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";
import { afterHead, sendStream } from "../stream-reply.ts";

const replicasSchema = z.object({
  replicas: z.array(z.object({ id: z.string(), name: z.string() })),
});

export function replicaRoutes(parts: ServerParts): Route[] {
  return [listReplicas(parts), replicaFeed(parts)];
}

function listReplicas({ relays }: ServerParts): Route {
  return {
    method: "GET",
    path: "/v1/replicas",
    access: "operator",
    docs: {
      operationId: "listReplicas",
      summary: "The other replicas that the console shows",
      answers: [jsonAnswer("Those of `console.replicas`", replicasSchema)],
      errors: [],
    },
    handle: () => ({ replicas: relays.list() }),
  };
}

function replicaFeed({ relays }: ServerParts): Route {
  return {
    method: "GET",
    path: "/v1/replicas/:replica/feed",
    access: "operator",
    isStream: true,
    docs: {
      operationId: "readReplicaFeed",
      summary: "What happens on another replica: its `/v1/feed`, passed on",
      answers: [{ status: 200, description: "The events", content: { [SSE_MEDIA_TYPE]: null } }],
      errors: ["replica_not_found", "replica_unavailable", "too_many_readers", "draining"],
    },
    async handle({ reply, param }) {
      const gone = clientGone(reply, null);
      const bytes = await relays.read(param("replica"), gone);
      return sendStream(reply, SSE_MEDIA_TYPE, afterHead(reply, bytes));
    },
  };
}
