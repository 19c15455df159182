/**
 * AgentDefinition + turn → options of the SDK; pure. This is the whole posture of an agent
 * process: nothing of a request reaches these options but the session it belongs to.
 *
 * @module
 */

import type { McpServerConfig, Options, SDKSystemMessage } from "@anthropic-ai/claude-agent-sdk";
import type { AgentDefinition, McpServer } from "./definition.ts";

/** The MCP server, inside our own process, that serves an agent's function tools. */
export const FUNCTION_TOOLS_SERVER = "tools";

/** The tool by which the SDK collects structured output: plumbing of its own. */
export const STRUCTURED_OUTPUT_TOOL = "StructuredOutput";

export interface SessionOptions {
  readonly sessionId: string;
  /** Whether the SDK begins a transcript or resumes the one there is. */
  readonly isNew: boolean;
  readonly workDirectory: string;
}

export function sdkOptionsOf(
  agent: AgentDefinition,
  session: SessionOptions,
  functionTools: McpServerConfig | undefined,
): Options {
  const mcpServers: Record<string, McpServerConfig> = {};
  if (functionTools !== undefined) mcpServers[FUNCTION_TOOLS_SERVER] = functionTools;
  for (const [name, server] of Object.entries(agent.tools.mcp)) mcpServers[name] = toSdk(server);
  return {
    cwd: session.workDirectory,
    ...(session.isNew ? { sessionId: session.sessionId } : { resume: session.sessionId }),
    persistSession: agent.hosting.pattern !== "ephemeral",
    ...modelOptions(agent),
    // Without the record that Claude Code would keep of it, and of what tools take, in the
    // transcript: a changed agent file holds for the conversations there are, too.
    systemPrompt: { type: "custom", prompt: agent.instructions, snapshot: false },

    // What the agent may use is what its file names, and that needs no one to approve it.
    tools: [...agent.tools.builtin],
    allowedTools: [
      ...agent.tools.builtin,
      ...Object.keys(mcpServers).map((name) => `mcp__${name}`),
    ],
    permissionMode: "dontAsk",
    permissionPrompts: "none",
    mcpServers,
    // Off the command line, where every user of the machine could read their secrets.
    mcpServersDelivery: "initialize",
    strictMcpConfig: true,

    // No settings, memory or instructions from files around the agent.
    settingSources: [],
    // The CLI would delete transcripts by itself after 30 days; retention is ours.
    settings: { cleanupPeriodDays: 36_500 },
    // An end user's "@/etc/passwd" or "/context" is text, not a command.
    verbatimPrompts: true,
    includePartialMessages: true,

    maxTurns: agent.limits.steps,
    // Though the SDK tells the session's cost, it holds against this what the turn has spent.
    ...(agent.limits.budgetUsd !== undefined && { maxBudgetUsd: agent.limits.budgetUsd }),
    ...(agent.outputSchema !== undefined && {
      outputFormat: { type: "json_schema" as const, schema: agent.outputSchema },
    }),
  };
}

function modelOptions(agent: AgentDefinition): Options {
  const { id, effort, thinking } = agent.model;
  // The SDK refuses to start with one that is the model itself.
  const fallback = agent.model.fallback.filter((model) => model !== id);
  return {
    model: id,
    ...(effort !== undefined && { effort }),
    ...(thinking !== undefined && { thinking }),
    ...(fallback.length > 0 && { fallbackModel: fallback.join(",") }),
  };
}

function toSdk(server: McpServer): McpServerConfig {
  // The tools must be there when the first prompt is built: the process waits for the server.
  if (server.type === "stdio") {
    const { type, command, args, env } = server;
    return { type, command, args: [...args], env: { ...env }, alwaysLoad: true };
  }
  return { type: server.type, url: server.url, headers: { ...server.headers }, alwaysLoad: true };
}

/** Environment that every agent process gets beside its credentials. */
export const AGENT_PROCESS_SETTINGS: Readonly<Record<string, string>> = {
  CLAUDE_CODE_DISABLE_AUTO_MEMORY: "1",
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
  // A shell left in the background would die with the turn anyway, and its memory is ours.
  CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: "1",
  // Waits of 0.5, 1, 2 and 4 s. Ten tries, its own choice, take minutes in which the turn holds
  // memory while others are shed; a fallback model is taken after the third answer "overloaded".
  CLAUDE_CODE_MAX_RETRIES: "4",
  // A process waits for its MCP servers; by itself, as long as its own start may take.
  MCP_TIMEOUT: "10000",
  DISABLE_AUTOUPDATER: "1",
  DISABLE_TELEMETRY: "1",
  DISABLE_ERROR_REPORTING: "1",
};

/** What a process says of itself as it begins a turn. */
export type InitFacts = Pick<SDKSystemMessage, "tools" | "mcp_servers">;

/** Why a process must not run the turn. */
export interface PostureFault {
  readonly code: "agent_posture_mismatch" | "mcp_server_unavailable";
  /** For the log only. */
  readonly detail: string;
}

/**
 * What the process offers against what the file declares; `null` when they agree.
 *
 * A server that need not be there (`required: false`) may leave its tools out: that gives the model
 * less than was declared, never more.
 */
export function postureFault(
  agent: AgentDefinition,
  functionToolNames: readonly string[],
  init: InitFacts,
): PostureFault | null {
  const declared = new Set(agent.tools.builtin);
  for (const name of functionToolNames) declared.add(`mcp__${FUNCTION_TOOLS_SERVER}__${name}`);
  const required = [...declared];
  if (agent.outputSchema !== undefined) declared.add(STRUCTURED_OUTPUT_TOOL);
  const servers = Object.keys(agent.tools.mcp).map((name) => `mcp__${name}__`);

  const extra = init.tools.filter(
    (tool) => !declared.has(tool) && !servers.some((prefix) => tool.startsWith(prefix)),
  );
  if (extra.length > 0) return mismatch(`offers undeclared tools: ${extra.join(", ")}`);
  const missing = required.filter((tool) => !init.tools.includes(tool));
  if (missing.length > 0) return mismatch(`lacks declared tools: ${missing.join(", ")}`);

  const absent = Object.entries(agent.tools.mcp)
    .filter(([, server]) => server.required)
    .map(([name]) => ({ name, status: statusOf(name, init) }))
    .filter(({ status }) => status !== "connected");
  if (absent.length === 0) return null;
  const names = absent.map(({ name, status }) => `${name} (${status})`).join(", ");
  return { code: "mcp_server_unavailable", detail: `lacks MCP servers: ${names}` };
}

function statusOf(server: string, init: InitFacts): string {
  return init.mcp_servers.find(({ name }) => name === server)?.status ?? "unknown";
}

function mismatch(detail: string): PostureFault {
  return { code: "agent_posture_mismatch", detail };
}
