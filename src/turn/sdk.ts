/**
 * The only caller of the SDK's `query()`: one agent process for one turn, from the spawn to the
 * end of its whole process tree.
 *
 *     spawn ─▶ init ─▶ messages … ─▶ result ─▶ stdin closed ─▶ exit ─▶ tree swept
 *       │        │         │
 *       │        │         └─ stop: interrupt ─▶ stdin closed ─▶ SIGTERM ─▶ SIGKILL of the tree
 *       └────────┴─────────── stop, or wrong tools: SIGKILL of the tree
 *
 * @module
 */

import {
  query,
  type Options,
  type Query,
  type SDKMessage,
  type SpawnedProcess,
} from "@anthropic-ai/claude-agent-sdk";
import type { AgentExit, AgentProcess } from "../agent-process/agent-process.ts";
import type { StartAgentOptions } from "../agent-process/registry.ts";
import { AppError } from "../lib/errors.ts";
import type { SessionTotals } from "../session/session-record.ts";
import { openInput, type OpenInput } from "./open-input.ts";
import { outcomeOf, type StopCause, type TurnFacts } from "./outcome.ts";
import { Translator } from "./translate.ts";
import type { CancelCause, InputPart, TurnEvent, TurnOutcome, TurnUsage } from "./turn.ts";
import { difference, totalsOf } from "./usage.ts";
import { watchTurn, type TurnWatch, type WatchLimits } from "./watch.ts";

/** How long an interrupted process may take to end its turn by itself before it is ended. */
const INTERRUPT_GRACE_MS = 1_000;
/** How long the SDK may take to notice that its process is gone. */
const SDK_NOTICE_MS = 2_000;

export interface AgentRun extends WatchLimits {
  readonly turnId: string;
  /** All of the SDK's options but the process, which is made here. */
  readonly options: Options;
  /** The whole environment of the process. */
  readonly environment: Readonly<Record<string, string>>;
  readonly input: readonly InputPart[];
  /** The session's running totals before this turn. */
  readonly totalsBefore: SessionTotals;
  readonly needsStructuredOutput: boolean;
  readonly endGraceMs: number;
  /** By `performance.now()`: the turn waited since then for its start. */
  readonly admittedAtMs: number;
  /** The process is initialised: its start is over. */
  readonly onStarted: () => void;
  /** What is wrong with the tools the process offers, or null. */
  readonly postureMismatch: (effectiveTools: readonly string[]) => string | null;
  readonly spawn: (options: StartAgentOptions) => AgentProcess;
}

/** What is known when the process tree is gone, but for survivors. */
export interface AgentRunEnd {
  readonly outcome: TurnOutcome;
  /** The session's running totals after this turn; null if the process did not say. */
  readonly totals: SessionTotals | null;
  /** From the spawn until the process was initialised; null if it never was. */
  readonly startMs: number | null;
  /** Peak private memory of the process tree; null where it cannot be read. */
  readonly peakBytes: number | null;
  readonly exit: AgentExit | null;
  /** For the log only: may hold paths and what the process wrote. */
  readonly diagnosis: {
    readonly thrown: unknown;
    readonly stderrTail: string;
    readonly posture: string | null;
    /** MCP servers that the turn had to do without. */
    readonly absentServers: readonly string[];
  };
}

/**
 * Runs one turn. Ends when no process of it is left, whatever happened; but for one that outlives
 * SIGKILL, for which it does not wait.
 *
 * @param signal Its reason is a {@link CancelCause} or an {@link AppError}: the turn is then
 *   interrupted, ended by force if it does not follow, and the reason becomes its outcome.
 */
export async function* runAgent(
  run: AgentRun,
  signal: AbortSignal,
): AsyncGenerator<TurnEvent, AgentRunEnd, undefined> {
  const agent = new RunningAgent(run);
  const onAbort = (): void => agent.stop(stopCauseOf(signal.reason));
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    yield* agent.events();
  } finally {
    signal.removeEventListener("abort", onAbort);
    await agent.end();
  }
  return agent.summary();
}

function stopCauseOf(reason: unknown): StopCause {
  if (reason instanceof AppError) {
    return { kind: "failed", code: reason.code, message: reason.message };
  }
  return { kind: "cancelled", cause: reason as CancelCause };
}

/** What the process and its messages tell, apart from the text. */
type ProcessFacts = Omit<TurnFacts, "needsStructuredOutput" | "text">;

class RunningAgent {
  readonly #run: AgentRun;
  readonly #translator = new Translator();
  readonly #input: OpenInput;
  readonly #watch: TurnWatch;
  /** Changed as they become known. */
  readonly #facts: { -readonly [Key in keyof ProcessFacts]: ProcessFacts[Key] } = {
    stopCause: null,
    result: null,
    modelError: null,
    exit: null,
    hasStarted: false,
  };
  readonly #beganAtMs = performance.now();
  /** Messages of the model, one for each call of the main loop. */
  readonly #modelMessages = new Set<string>();
  #startMs: number | null = null;
  #firstTokenMs: number | null = null;
  #query: Query | null = null;
  #process: AgentProcess | null = null;
  #force: NodeJS.Timeout | undefined;
  /** Ends the wait for the SDK's next message; set while there is one. */
  #giveUp = () => {};
  #thrown: unknown;
  #posture: string | null = null;
  #absentServers: readonly string[] = [];

  constructor(run: AgentRun) {
    this.#run = run;
    this.#input = openInput(run.input);
    this.#watch = watchTurn(run, (cause) => this.stop(cause));
  }

  async *events(): AsyncGenerator<TurnEvent, void, undefined> {
    if (this.#facts.stopCause !== null) return;
    try {
      const messages = this.#start();
      // The result is the last word: what the process does after it is only ending.
      while (this.#facts.result === null && this.#posture === null) {
        const message = await this.#nextMessage(messages);
        if (message === null) break;
        this.#watch.heard();
        this.#learn(message);
        const events = this.#translator.next(message);
        if (events.some(isContent))
          this.#firstTokenMs ??= performance.now() - this.#run.admittedAtMs;
        yield* events;
      }
    } catch (thrown) {
      // The SDK throws for options it does not take, for a process that died, and for an error
      // result it has already told. Which of them it was is judged from the facts.
      this.#thrown = thrown;
    }
    yield* this.#translator.close();
  }

  /** Ends the turn before its time. The first cause is kept. */
  stop(cause: StopCause): void {
    if (this.#facts.stopCause !== null || this.#facts.result !== null) return;
    this.#facts.stopCause = cause;
    // Asked politely, a process that has read its input would first ask the model, and may run
    // tools. Nothing was done yet that an orderly end could keep.
    const graceMs = this.#facts.hasStarted && this.#posture === null ? this.#run.endGraceMs : 0;
    const end = (): void => void this.#process?.terminate(graceMs);
    if (graceMs === 0 || this.#query === null) {
      end();
      return;
    }
    this.#query.interrupt().catch(end);
    this.#force = setTimeout(end, INTERRUPT_GRACE_MS);
  }

  /** Resolves when no process of the turn is left that can be ended. */
  async end(): Promise<void> {
    clearTimeout(this.#force);
    this.#watch[Symbol.dispose]();
    this.#input.close();
    this.#facts.exit = (await this.#process?.terminate(this.#run.endGraceMs)) ?? null;
    this.#query?.close();
  }

  summary(): AgentRunEnd {
    const { needsStructuredOutput, totalsBefore } = this.#run;
    const { result, exit } = this.#facts;
    const totals = result === null ? null : totalsOf(result, totalsBefore);
    const facts = { ...this.#facts, needsStructuredOutput, text: this.#translator.text };
    return {
      outcome: outcomeOf(facts, this.#usage(totals)),
      totals,
      startMs: this.#startMs,
      peakBytes: this.#process?.peakBytes ?? null,
      exit,
      diagnosis: {
        thrown: this.#thrown,
        stderrTail: this.#process?.stderrTail() ?? "",
        posture: this.#posture,
        absentServers: this.#absentServers,
      },
    };
  }

  /** Spawns the process, before it returns. @throws what the SDK or the spawn throws. */
  #start(): Query {
    const { options, environment } = this.#run;
    this.#query = query({
      prompt: this.#input.messages,
      options: {
        ...options,
        env: { ...environment },
        spawnClaudeCodeProcess: ({ command, args }) => this.#spawn(command, args),
      },
    });
    return this.#query;
  }

  #spawn(command: string, args: string[]): SpawnedProcess {
    const { turnId, environment: env, options } = this.#run;
    const agent = this.#run.spawn({ command, args, cwd: options.cwd ?? ".", env, turnId });
    this.#process = agent;
    // Should the SDK miss the end of its process, its reader must not wait for ever; and it is
    // never told the end of one that cannot be ended.
    void agent.exited.then(({ survivors }) =>
      setTimeout(() => this.#giveUp(), survivors > 0 ? 0 : SDK_NOTICE_MS).unref(),
    );
    return agent.forSdk;
  }

  /** The SDK's next message; null when there is none or its process is long gone. */
  async #nextMessage(messages: Query): Promise<SDKMessage | null> {
    const next = await new Promise<IteratorResult<SDKMessage, void> | null>((resolve, reject) => {
      this.#giveUp = () => resolve(null);
      messages.next().then(resolve, reject);
    });
    return next === null || next.done === true ? null : next.value;
  }

  #learn(message: SDKMessage): void {
    const modelMessage = modelMessageOf(message);
    if (modelMessage !== null) this.#modelMessages.add(modelMessage);
    if (message.type === "system" && message.subtype === "init") {
      this.#facts.hasStarted = true;
      this.#startMs = performance.now() - this.#beganAtMs;
      this.#run.onStarted();
      this.#watch.started();
      this.#absentServers = message.mcp_servers
        .filter(({ status }) => status !== "connected")
        .map(({ name }) => name);
      this.#posture = this.#run.postureMismatch(message.tools);
      if (this.#posture !== null) this.stop(WRONG_TOOLS);
    } else if (message.type === "assistant" && message.error !== undefined) {
      this.#facts.modelError = message.error;
    } else if (message.type === "result") {
      this.#facts.result = message;
    }
  }

  #usage(totals: SessionTotals | null): TurnUsage {
    const before = this.#run.totalsBefore;
    return {
      ...difference(totals ?? before, before),
      // The SDK's own count has the calls that it refused to make, and those of its own tools.
      steps: this.#modelMessages.size,
      durationMs: Math.round(performance.now() - this.#run.admittedAtMs),
      firstTokenMs: this.#firstTokenMs === null ? null : Math.round(this.#firstTokenMs),
    };
  }
}

/** The id of the model's message that begins with this one, or that it belongs to. */
function modelMessageOf(message: SDKMessage): string | null {
  if (message.type === "stream_event") {
    const { event, parent_tool_use_id: parent } = message;
    return event.type === "message_start" && parent === null ? event.message.id : null;
  }
  if (message.type !== "assistant" || message.error !== undefined) return null;
  return message.parent_tool_use_id === null ? message.message.id : null;
}

/** What a reader waits for, other than a notice. */
function isContent({ type }: TurnEvent): boolean {
  return type === "text_started" || type === "reasoning_started" || type === "tool_call_started";
}

const WRONG_TOOLS: StopCause = {
  kind: "failed",
  code: "agent_posture_mismatch",
  message: "Cannot run the turn: the agent process offers other tools than were declared",
};
