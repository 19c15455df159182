/**
 * An agent as the rest of the server sees it: one validated agent.yaml, frozen, with units in the
 * names and every path absolute. `agent/schema.ts` says what the user may write.
 *
 * @module
 */

export const MODEL_PROVIDERS = ["anthropic", "bedrock", "vertex", "foundry", "rehearsal"] as const;
export type ModelProvider = (typeof MODEL_PROVIDERS)[number];

/** Names stand in addresses and metrics. */
export const AGENT_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/u;

/** The most that a turn may resume, and what becomes of more. */
export interface TranscriptLimit {
  readonly maxBytes: number;
  readonly whenFull: "shorten" | "refuse";
}

export interface AgentDefinition {
  /** Fits {@link AGENT_NAME}; unique in a server. */
  readonly name: string;
  readonly description: string;
  /** Absolute path of the agent file. */
  readonly file: string;
  /** SHA-256 of the file and of what it includes, in hex: changes when the agent does. */
  readonly version: string;
  readonly model: {
    readonly provider: ModelProvider;
    readonly id: string;
    readonly effort?: "low" | "medium" | "high" | "xhigh" | "max";
    readonly thinking?:
      | { readonly type: "adaptive" }
      | { readonly type: "disabled" }
      | { readonly type: "enabled"; readonly budgetTokens: number };
    /** Tried in order when the model is overloaded. */
    readonly fallback: readonly string[];
    /** Absolute path of the script of the rehearsal model; the built-in script without it. */
    readonly rehearsalScript?: string;
  };
  /** The whole system prompt, byte-stable between turns so that prompt caches hit. */
  readonly instructions: string;
  readonly tools: {
    /** Built-in tools of Claude Code by name; none unless named. */
    readonly builtin: readonly string[];
    /** Absolute paths of modules whose exports are function tools, run in the server. */
    readonly functions: readonly string[];
    readonly mcp: Readonly<Record<string, McpServer>>;
  };
  /** JSON Schema of the structured output; absent for text. */
  readonly outputSchema?: Readonly<Record<string, unknown>>;
  readonly limits: {
    /** Model calls of one turn. */
    readonly steps: number;
    readonly budgetUsd?: number;
    readonly turnTimeMs: number;
    /** Longest silence of the agent process within a turn. */
    readonly stallTimeMs: number;
    /** Most memory of the turn's process tree; without it the server's own rule. */
    readonly turnMemoryBytes?: number;
    /** The most that a turn resumes, and what becomes of more. */
    readonly transcript: TranscriptLimit;
  };
  readonly hosting: {
    readonly pattern: HostingPattern;
    /**
     * How long the process of a turn may stay for the session's next one; 0: not at all. With
     * `single-container` the replica stays as long.
     */
    readonly stayMs: number;
    /** Processes started ahead for first turns. */
    readonly spares: number;
    /**
     * How long a turn that nobody reads any more goes on before it is cancelled; 0: not at all;
     * null: to its end.
     */
    readonly clientWaitMs: number | null;
  };
}

export type HostingPattern = "ephemeral" | "hybrid" | "long-running" | "single-container";

export type McpServer = {
  /** Whether a turn is refused when the server cannot be reached, or goes on without its tools. */
  readonly required: boolean;
} & (
  | {
      readonly type: "stdio";
      readonly command: string;
      readonly args: readonly string[];
      readonly env: Readonly<Record<string, string>>;
    }
  | {
      readonly type: "http" | "sse";
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
    }
);
