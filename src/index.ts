/**
 * The library: what a module of function tools needs, and what it takes to serve agents from a
 * program of one's own. Everything else of this package may change without notice.
 *
 * @module
 */

export { loadAgents } from "./agent/load.ts";
export { loadConfig } from "./config/load.ts";
export { AppError } from "./lib/errors.ts";
export { serve } from "./server/serve.ts";
export { openSessionStore } from "./session/stores/open-session-store.ts";
export { defineTool } from "./tools/function-tools.ts";

export type { AgentDefinition } from "./agent/definition.ts";
export type { Config } from "./config/config.ts";
export type { ErrorCode } from "./lib/errors.ts";
export type { ListeningServer, ServeOptions, ServeSignals } from "./server/serve.ts";
export type { FunctionTool, ToolContext } from "./tools/function-tools.ts";
export type { TurnEvent, TurnOutcome, TurnUsage } from "./turn/turn.ts";
