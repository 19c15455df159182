/**
 * An agent process with what belongs to it for as long as it lives: the line to it, its function
 * tools, and directories no session has. It works for one turn at a time, perhaps for several.
 *
 * @module
 */

import type { AgentProcess } from "../agent-process/agent-process.ts";
import type { TreeFacts } from "../agent-process/guard-wire.ts";
import type { AgentProcesses } from "../agent-process/registry.ts";
import type { AgentDefinition } from "../agent/definition.ts";
import { AGENT_PROCESS_SETTINGS, sdkOptionsOf } from "../agent/sdk-options.ts";
import type { SessionDirectories } from "../session/session-paths.ts";
import type { SessionTotals } from "../session/session-record.ts";
import type { SpareDirectories } from "../session/spare-directories.ts";
import type { ToolContext } from "../tools/function-tools.ts";
import { AgentConnection } from "./agent-connection.ts";
import type { ServedAgent } from "./served-agent.ts";

/** What a process needs to know of the turn that it works for. */
export interface TurnAtWork {
  readonly toolContext: ToolContext;
  /** What its process is predicted to hold, with all its tools. */
  readonly predictedBytes: number;
  readonly onToolError: (toolName: string, error: unknown) => void;
  /** Called once: when the process is spawned, or at once if it is there. */
  readonly onProcess: (process: AgentProcess) => void;
}

/** A turn, as the memory guard has to know it. */
export interface Assignment {
  readonly turnId: string;
  /** What its process is predicted to hold, with all its tools. */
  readonly predictedBytes: number;
}

export interface TurnProcessOptions {
  /** Marks the process tree. */
  readonly processId: string;
  readonly agent: ServedAgent;
  readonly transcriptId: string;
  /** Whether it begins that transcript or resumes it. */
  readonly isNew: boolean;
  readonly directories: SessionDirectories;
  /** The directories that no session has; null when all are a session's. */
  readonly spareDirectories: SpareDirectories | null;
  /** What Claude Code counts from; without it nothing, or what `connection.warm` says. */
  readonly counted?: SessionTotals;
  /** Joins its telemetry to ours. */
  readonly telemetryEnvironment: Readonly<Record<string, string>>;
  /** The program that Bash tools are run through; null where there is none. */
  readonly toolShell: string | null;
  readonly processes: Pick<AgentProcesses, "spawn">;
  /** The most memory that a process of the agent may hold. */
  readonly ceilingBytesOf: (agent: AgentDefinition) => number;
}

export class TurnProcess {
  readonly agentName: string;
  readonly connection: AgentConnection;
  readonly spareDirectories: SpareDirectories | null;
  #turn: TurnAtWork | null = null;
  /** The turn that it is for, which may have yet to begin; null while it is for none. */
  #assignment: Assignment | null = null;

  /** Starts nothing: the first turn does, or `connection.park`, or `connection.warm`. */
  constructor(options: TurnProcessOptions) {
    const { processId, agent, transcriptId, isNew, directories, counted } = options;
    const { definition, functionTools } = agent;
    this.agentName = definition.name;
    this.spareDirectories = options.spareDirectories;
    const toolServer = functionTools.serverFor(
      () => this.#turnAtWork().toolContext,
      (toolName, error) => this.#turn?.onToolError(toolName, error),
    );
    const place = { sessionId: transcriptId, isNew, workDirectory: directories.work };
    this.connection = new AgentConnection({
      processId,
      ...(counted !== undefined && { counted }),
      options: sdkOptionsOf(definition, place, toolServer),
      environment: {
        ...agent.providerEnvironment,
        ...AGENT_PROCESS_SETTINGS,
        ...options.telemetryEnvironment,
        HOME: directories.home,
        CLAUDE_CONFIG_DIR: directories.config,
        TMPDIR: directories.tmp,
        ...(options.toolShell !== null && { CLAUDE_CODE_SHELL_PREFIX: options.toolShell }),
      },
      spawn: (start) => {
        const ceilingBytes = () => options.ceilingBytesOf(definition);
        const process = options.processes.spawn({ ...start, ceilingBytes, facts: this.#facts });
        this.#turn?.onProcess(process);
        return process;
      },
    });
  }

  /**
   * Private memory of its tree; null while nobody has measured it. 0 once it is gone, though
   * its directories may be there still: what it held is free then.
   */
  get currentBytes(): number | null {
    const { process } = this.connection;
    return process?.treeState === "gone" ? 0 : (process?.currentBytes ?? null);
  }

  /**
   * Is for an admitted turn from now on, that has yet to open its session and may wait for room. To
   * the guard it is cache no more: it would be the first to go, and the turn with it.
   */
  admitted(assignment: Assignment): void {
    this.#assignment = assignment;
    this.#tellGuard(this.#facts);
  }

  /** Works for this turn from now on. */
  workFor(turn: TurnAtWork): void {
    this.#turn = turn;
    const { predictedBytes, toolContext } = turn;
    this.admitted({ turnId: toolContext.turnId, predictedBytes });
    const { process } = this.connection;
    if (process !== null) turn.onProcess(process);
  }

  /** Works for nobody. */
  rest(): void {
    this.#turn = null;
    this.#assignment = null;
    this.#tellGuard({ kind: "resident", turnId: null });
  }

  /** Resolves when nothing of it is left that can be ended. Idempotent, never rejects. */
  async end(graceMs: number): Promise<void> {
    await this.connection.end(graceMs);
    try {
      await this.spareDirectories?.[Symbol.asyncDispose]();
    } catch {
      // What cannot be removed now is removed when the server starts again.
    }
  }

  /** What it is to the guard before its first turn. */
  get #idleKind(): "spare" | "resident" {
    return this.spareDirectories === null ? "resident" : "spare";
  }

  /** What the memory guard has to know of it as a turn begins, or before there was one. */
  get #facts(): Partial<TreeFacts> {
    if (this.#assignment === null) return { kind: this.#idleKind, turnId: null };
    return { kind: "turn", ...this.#assignment, hasOutput: false };
  }

  #tellGuard(facts: Partial<TreeFacts>): void {
    const { process } = this.connection;
    process?.guard?.update(process.processId, facts);
  }

  #turnAtWork(): TurnAtWork {
    if (this.#turn === null) throw new Error("a tool was called while no turn is running");
    return this.#turn;
  }
}
