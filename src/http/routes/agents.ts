/**
 * The agents that are served.
 *
 * @module
 */

import { z } from "zod";
import type { AgentDefinition } from "../../agent/definition.ts";
import { AppError } from "../../lib/errors.ts";
import { ATTACHMENT_MEDIA_TYPES, INPUT_LIMITS } from "../../protocol/input.ts";
import { jsonAnswer, type Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";

const agentSchema = z.object({
  name: z.string(),
  description: z.string(),
  version: z.string().describe("Changes when the agent does."),
  model: z.object({ provider: z.string(), id: z.string() }),
  isRehearsal: z.boolean().describe("True when a script answers in place of Claude."),
  structuredOutput: z.boolean(),
  accepts: z
    .object({
      mediaTypes: z.array(z.string()).describe("Of images and documents beside text."),
      parts: z.int().describe("Texts, images and documents of one message."),
      textLength: z.int().describe("Of one text, in UTF-16 code units."),
      bodyBytes: z.int().describe("Of the whole request, in which files are base64."),
    })
    .describe("What a message may hold."),
  endpoints: z.object({ turns: z.string(), agui: z.string() }),
});

export function agentRoutes(parts: ServerParts): Route[] {
  return [listAgents(parts), readAgent(parts)];
}

function listAgents(parts: ServerParts): Route {
  return {
    method: "GET",
    path: "/v1/agents",
    access: "caller",
    docs: {
      operationId: "listAgents",
      summary: "The agents served here",
      answers: [jsonAnswer("All agents", z.object({ agents: z.array(agentSchema) }))],
      errors: [],
    },
    handle: () => ({
      agents: Array.from(parts.agents.values(), ({ definition }) => toBody(definition, parts)),
    }),
  };
}

function readAgent(parts: ServerParts): Route {
  return {
    method: "GET",
    path: "/v1/agents/:agent",
    access: "caller",
    docs: {
      operationId: "readAgent",
      summary: "One agent",
      answers: [jsonAnswer("The agent", agentSchema)],
      errors: ["agent_not_found"],
    },
    handle({ param }) {
      const agent = parts.agents.get(param("agent"));
      if (agent !== undefined) return toBody(agent.definition, parts);
      throw new AppError("agent_not_found", "Cannot find the agent: none has this name");
    },
  };
}

function toBody(
  agent: AgentDefinition,
  { config }: Pick<ServerParts, "config">,
): z.infer<typeof agentSchema> {
  const { name, description, version, model } = agent;
  return {
    name,
    description,
    version,
    model: { provider: model.provider, id: model.id },
    isRehearsal: model.provider === "rehearsal",
    structuredOutput: agent.outputSchema !== undefined,
    accepts: {
      mediaTypes: [...ATTACHMENT_MEDIA_TYPES],
      parts: INPUT_LIMITS.parts,
      textLength: INPUT_LIMITS.textLength,
      bodyBytes: config.http.bodyLimitBytes,
    },
    endpoints: { turns: `/v1/agents/${name}/turns`, agui: `/v1/agents/${name}/agui` },
  };
}
