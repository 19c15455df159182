/**
 * Turns of the real Claude Code on a scripted model, without a server around them. Disposing tells
 * whether anything of them was left.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "vitest";

import { AgentProcesses } from "../../src/agent-process/registry.ts";
import { countStrays } from "../../src/agent-process/strays.ts";
import type { AgentDefinition } from "../../src/agent/definition.ts";
import { AGENT_PROCESS_SETTINGS, postureFault, sdkOptionsOf } from "../../src/agent/sdk-options.ts";
import { monotonicMs } from "../../src/lib/monotonic-clock.ts";
import type { RehearsalScript } from "../../src/rehearsal/script.ts";
import {
  startRehearsal,
  type Rehearsal,
  type RehearsalRequest,
} from "../../src/rehearsal/server.ts";
import { NO_TOTALS, type SessionTotals } from "../../src/session/session-record.ts";
import { loadFunctionTools } from "../../src/tools/function-tools.ts";
import { AgentConnection, type ConnectionOptions } from "../../src/turn/agent-connection.ts";
import type { AgentRun, AgentRunEnd } from "../../src/turn/agent-turn.ts";
import { runAgent } from "../../src/turn/run-agent.ts";
import type { TurnEvent } from "../../src/turn/turn.ts";

const FAST = { firstTokenMs: 1, tokensPerSecond: 5_000 };

/** One turn of a lab; what is not said is as short and plain as can be. */
export interface LabTurn {
  readonly say?: string;
  readonly agent?: DeepPartial<AgentDefinition>;
  readonly sessionId?: string;
  readonly isNew?: boolean;
  /** What the process counts from. */
  readonly counted?: SessionTotals;
  readonly environment?: Readonly<Record<string, string>>;
  readonly run?: Partial<AgentRun & ConnectionOptions>;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: TurnEvent) => void;
}

export interface LabEnd {
  readonly events: readonly TurnEvent[];
  readonly end: AgentRunEnd;
  /** What a process counts from that resumes its transcript, if this one wrote it down. */
  readonly counted: SessionTotals;
  readonly tookMs: number;
}

type DeepPartial<Value> = { [Key in keyof Value]?: Partial<Value[Key]> };

export class AgentLab implements AsyncDisposable {
  readonly directory: string;
  readonly rehearsal: Rehearsal;
  readonly processes: AgentProcesses;
  readonly requests: RehearsalRequest[];
  readonly #serverId: string;

  private constructor(parts: {
    readonly directory: string;
    readonly rehearsal: Rehearsal;
    readonly requests: RehearsalRequest[];
  }) {
    this.directory = parts.directory;
    this.rehearsal = parts.rehearsal;
    this.requests = parts.requests;
    this.#serverId = randomUUID();
    this.processes = new AgentProcesses({
      serverId: this.#serverId,
      stderrTailBytes: 8_192,
      endGraceMs: 2_000,
      sampleIntervalMs: 100,
      onExit: () => {},
      onAbandoned: () => {},
      onNotice: () => {},
    });
  }

  static async open(rules: RehearsalScript["rules"], speed = FAST): Promise<AgentLab> {
    const directory = await mkdtemp(join(tmpdir(), "agent-lab-"));
    for (const name of ["home", "config", "work"]) await mkdir(join(directory, name));
    const requests: RehearsalRequest[] = [];
    const script = { defaults: speed, rules };
    const rehearsal = await startRehearsal({
      script,
      onRequest: (request) => requests.push(request),
    });
    return new AgentLab({ directory, rehearsal, requests });
  }

  async turn(turn: LabTurn = {}): Promise<LabEnd> {
    const beganAtMs = performance.now();
    const events: TurnEvent[] = [];
    const never = new AbortController().signal;
    const run = await this.#runOf(turn);
    const stream = runAgent(run, turn.signal ?? never);
    for (;;) {
      const next = await stream.next();
      if (next.done === true) {
        expect(this.processes.live.size).toBe(0);
        expect(countStrays(this.#serverId)).toBe(0);
        const { counted } = run.connection;
        return { events, end: next.value, counted, tookMs: performance.now() - beganAtMs };
      }
      events.push(next.value);
      turn.onEvent?.(next.value);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.processes[Symbol.asyncDispose]();
    await this.rehearsal[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #runOf(turn: LabTurn): Promise<AgentRun> {
    const agent = definitionOf(turn.agent);
    const turnId = randomUUID();
    const session = {
      sessionId: turn.sessionId ?? randomUUID(),
      isNew: turn.isNew ?? true,
      workDirectory: join(this.directory, "work"),
    };
    const functionTools = await loadFunctionTools(agent.tools.functions);
    const context = {
      agentName: agent.name,
      tenant: "acme",
      sessionId: session.sessionId,
      turnId,
      signal: turn.signal ?? new AbortController().signal,
    };
    const connection = new AgentConnection({
      processId: turnId,
      options: sdkOptionsOf(
        agent,
        session,
        functionTools.serverFor(
          () => context,
          () => {},
        ),
      ),
      environment: this.environment(turn.environment),
      spawn: (options) => this.processes.spawn(options),
      counted: turn.counted ?? NO_TOTALS,
      ...turn.run,
    });
    return {
      connection,
      input: [{ type: "text", text: turn.say ?? "Hello" }],
      needsStructuredOutput: agent.outputSchema !== undefined,
      // For a busy machine that starts five at once; who tests one of them has one of his own.
      startTimeoutMs: 60_000,
      stallTimeMs: 60_000,
      endGraceMs: 2_000,
      admittedAtMs: monotonicMs(),
      onStarted: () => {},
      onEnding: () => {},
      onTokens: () => {},
      postureFault: (init) => postureFault(agent, functionTools.names, init),
      mayStay: false,
      ...turn.run,
    };
  }

  environment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
    return {
      PATH: process.env["PATH"] ?? "",
      HOME: join(this.directory, "home"),
      CLAUDE_CONFIG_DIR: join(this.directory, "config"),
      TMPDIR: tmpdir(),
      ANTHROPIC_API_KEY: "rehearsal",
      ANTHROPIC_BASE_URL: this.rehearsal.url,
      ...AGENT_PROCESS_SETTINGS,
      ...more,
    };
  }
}

export function definitionOf(changes: DeepPartial<AgentDefinition> = {}): AgentDefinition {
  return {
    name: "helper",
    description: "",
    file: "/agents/helper.yaml",
    version: "0",
    instructions: "You are a test.",
    ...(changes as Partial<AgentDefinition>),
    model: { provider: "rehearsal", id: "claude-sonnet-5", fallback: [], ...changes.model },
    tools: { builtin: [], functions: [], mcp: {}, ...changes.tools },
    limits: {
      steps: 5,
      turnTimeMs: 25_000,
      stallTimeMs: 20_000,
      ...changes.limits,
      transcript: { maxBytes: 2 ** 24, whenFull: "shorten", ...changes.limits?.transcript },
    },
    hosting: { pattern: "hybrid", stayMs: 0, spares: 0, clientWaitMs: 0, ...changes.hosting },
  };
}
