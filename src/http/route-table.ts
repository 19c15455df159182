/**
 * Every address of the server.
 *
 * @module
 */

import { openApiRoute } from "./openapi.ts";
import type { Route } from "./route.ts";
import { agentRoutes } from "./routes/agents.ts";
import { aguiRoutes } from "./routes/agui.ts";
import { consoleSessionRoutes } from "./routes/console-session.ts";
import { feedRoutes } from "./routes/feed.ts";
import { frontRoutes } from "./routes/front.ts";
import { operationRoutes } from "./routes/operations.ts";
import { replicaRoutes } from "./routes/replicas.ts";
import { retentionRoutes } from "./routes/retention.ts";
import { sessionRoutes } from "./routes/sessions.ts";
import { turnRoutes } from "./routes/turns.ts";
import type { ServerParts } from "./server-parts.ts";

export function routeTable(parts: ServerParts): readonly Route[] {
  const routes = [
    ...turnRoutes(parts),
    ...aguiRoutes(parts),
    ...sessionRoutes(parts),
    ...retentionRoutes(parts),
    ...agentRoutes(parts),
    ...operationRoutes(parts),
    ...feedRoutes(parts),
    ...frontRoutes(parts),
    ...(parts.config.console.isEnabled ? consoleRoutes(parts) : []),
  ];
  return [...routes, openApiRoute(routes, parts)];
}

/** What there is for the console alone. */
function consoleRoutes(parts: ServerParts): Route[] {
  return [...consoleSessionRoutes(parts), ...replicaRoutes(parts)];
}
