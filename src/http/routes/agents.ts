/**
 * The agents that are served.
 *
 * @module
 */

import { z } from "zod";
import type { AgentDefinition } from "../../agent/definition.ts";
import { AppError } from "../../lib/errors.ts";
import { jsonAnswer, type Route } from "../route.ts";
import type { ServerParts } from "../server-parts.ts";

const agentSchema = z.object({
  name: z.string(),
  description: z.string(),
  version: z.string().describe("Changes when the agent does."),
  model: z.object({ provider: z.string(), id: z.string() }),
  isRehearsal: z.boolean().describe("True when a script answers in place of Claude."),
  structuredOutput: z.boolean(),
  endpoints: z.object({ turns: z.string(), agui: z.string() }),
});

export function agentRoutes(parts: ServerParts): Route[] {
  return [listAgents(parts), readAgent(parts)];
}

function listAgents({ agents }: ServerParts): Route {
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
      agents: Array.from(agents.values(), ({ definition }) => toBody(definition)),
    }),
  };
}

function readAgent({ agents }: ServerParts): Route {
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
      const agent = agents.get(param("agent"));
      if (agent !== undefined) return toBody(agent.definition);
      throw new AppError("agent_not_found", "Cannot find the agent: none has this name");
    },
  };
}

function toBody(agent: AgentDefinition): z.infer<typeof agentSchema> {
  const { name, description, version, model } = agent;
  return {
    name,
    description,
    version,
    model: { provider: model.provider, id: model.id },
    isRehearsal: model.provider === "rehearsal",
    structuredOutput: agent.outputSchema !== undefined,
    endpoints: { turns: `/v1/agents/${name}/turns`, agui: `/v1/agents/${name}/agui` },
  };
}
