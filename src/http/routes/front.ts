/**
 * What is at `/`: the console for browsers, and for all others where things are.
 *
 * @module
 */

import { z } from "zod";
import { AppError } from "../../lib/errors.ts";
import { preferredMediaType } from "../../protocol/negotiate.ts";
import { addVary, sendHashed, sendNewest, sendNotBuilt } from "../console/send-page.ts";
import { jsonAnswer, type Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";

const indexSchema = z.object({
  name: z.literal("plimsoll"),
  version: z.string(),
  links: z.record(z.string(), z.string()),
});

const LINKS = {
  agents: "/v1/agents",
  sessions: "/v1/sessions",
  turns: "/v1/turns",
  capacity: "/capacity",
  openapi: "/openapi.json",
  metrics: "/metrics",
};

export function frontRoutes(parts: ServerParts): Route[] {
  return parts.config.console.isEnabled
    ? [front(parts), pageFile(parts), hashedFile(parts)]
    : [links(parts)];
}

/** Without a console. */
function links({ version }: Pick<ServerParts, "version">): Route {
  return {
    method: "GET",
    path: "/",
    access: "public",
    docs: {
      operationId: "index",
      summary: "What this server is, and where things are",
      answers: [jsonAnswer("Links", indexSchema)],
      errors: [],
    },
    handle: () => ({ name: "plimsoll", version, links: LINKS }),
  };
}

function front(parts: ServerParts): Route {
  const { docs, ...route } = links(parts);
  return {
    ...route,
    docs: {
      ...docs,
      summary: "What this server is, and where things are; for browsers the console",
      answers: [
        {
          status: 200,
          description: "Links, or the page, as `Accept` asks",
          content: { "application/json": indexSchema, "text/html": null },
        },
      ],
    },
    async handle(context) {
      const { request, reply } = context;
      addVary(reply, "Accept");
      const type = preferredMediaType(request.headers.accept, ["application/json", "text/html"]);
      if (type !== "text/html") return route.handle(context);
      const file = await parts.page.index();
      return file === null ? sendNotBuilt(reply) : sendNewest(request, reply, file);
    },
  };
}

function pageFile({ page }: ServerParts): Route {
  return {
    method: "GET",
    path: "/console/:file",
    access: "public",
    docs: {
      operationId: "consoleFile",
      summary: "A file of the console, such as its icon",
      ...FILE_ANSWER,
    },
    async handle({ request, reply, param }) {
      return sendNewest(request, reply, (await page.file(param("file"))) ?? noSuchFile());
    },
  };
}

function hashedFile({ page }: ServerParts): Route {
  return {
    method: "GET",
    path: "/console/assets/:file",
    access: "public",
    docs: {
      operationId: "consoleAsset",
      summary: "A script, a style or a picture of the console, with a hash in its name",
      ...FILE_ANSWER,
    },
    async handle({ request, reply, param }) {
      const file = await page.file(`assets/${param("file")}`);
      return sendHashed(request, reply, file ?? noSuchFile());
    },
  };
}

const FILE_ANSWER = {
  answers: [{ status: 200, description: "The file", content: { "*/*": null } }],
  errors: ["not_found"],
} as const;

function noSuchFile(): never {
  throw new AppError("not_found", "Cannot find the file: the console has none of this name");
}
