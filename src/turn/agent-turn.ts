/**
 * A turn on its agent process, as it goes on: what it has said and heard so far, how it is stopped
 * before its time, and what is known of it in the end. `run-agent.ts` takes it through its life.
 *
 * @module
 */

import type { SDKMessage } from "@anthropic-ai/claude-agent-sdk";
import type { InitFacts, PostureFault } from "../agent/sdk-options.ts";
import type { AgentExit } from "../agent-process/agent-process.ts";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import type { SessionTotals } from "../session/session-record.ts";
import type { AgentConnection } from "./agent-connection.ts";
import { errorTextOf, isInit, modelMessageOf } from "./message-facts.ts";
import { outcomeOf, type StopCause, type TurnFacts } from "./outcome.ts";
import { TokenCount, type Tokens } from "./token-count.ts";
import { Translator } from "./translate.ts";
import type { InputPart, TurnEvent, TurnOutcome, TurnUsage } from "./turn.ts";
import { difference, type TokensAndCost, totalsOf } from "./usage.ts";
import { watchTurn, type TurnWatch, type WatchLimits } from "./watch.ts";

/** How long an interrupted process may take to end its turn by itself before it is ended. */
const INTERRUPT_GRACE_MS = 1_000;

/**
 * How long the process of a turn that somebody cancels may take to end it by itself, and then for each
 * polite step of its end: the turn is over within a second, whatever its process does.
 */
const CANCEL_GRACE_MS = 600;
const CANCEL_STEP_GRACE_MS = 100;

export interface AgentRun extends WatchLimits {
  /** The line to a process that is not yet started, or at rest. Nobody else uses it. */
  readonly connection: AgentConnection;
  readonly input: readonly InputPart[];
  readonly needsStructuredOutput: boolean;
  readonly endGraceMs: number;
  /** The turn has waited for its start since then. */
  readonly admittedAtMs: number;
  /** The process is initialised: its start is over. */
  readonly onStarted: () => void;
  /** Nothing more is awaited of the model: what is left is to end. May be called again. */
  readonly onEnding: () => void;
  /** What its prompts and answers have so far, whenever that has changed: once or twice a step. */
  readonly onTokens: (tokens: Tokens) => void;
  /** What is wrong with the tools the process offers, or null. */
  readonly postureFault: (init: InitFacts) => PostureFault | null;
  /** Whether the process may go on after the turn, if that leaves it in order. */
  readonly mayStay: boolean;
}

/** What is known when the turn is over, and its process tree gone but for survivors, or at rest. */
export interface AgentRunEnd {
  readonly outcome: TurnOutcome;
  /** Whether anything was asked of the model: else the turn may as well not have been. */
  readonly hasRun: boolean;
  /** The last message that had text, also of a turn that did not complete. */
  readonly lastText: { readonly messageId: string; readonly text: string };
  /** What this turn alone used and cost; null if the process did not say. */
  readonly totals: SessionTotals | null;
  /** The time from the spawn until the process was initialised; null if it never was, or long ago. */
  readonly startMs: number | null;
  /** Peak private memory of the process tree in this turn; null where it cannot be read. */
  readonly peakBytes: number | null;
  /** CPU time of all its processes; null where it cannot be read. */
  readonly cpuMs: number | null;
  /** How many of its tools the kernel killed for memory, as far as a group of its own counts. */
  readonly toolOomKills: number;
  /** How many were ended for memory by whomever, as far as is known: `peakBytes` has theirs too. */
  readonly toolsEndedForMemory: number;
  readonly exit: AgentExit | null;
  /** The process is at rest, in order, and still there: whoever called has to end it. */
  readonly stays: boolean;
  /** For the log only: may hold paths and what the process wrote. */
  readonly diagnosis: {
    readonly thrown: unknown;
    readonly stderrTail: string;
    readonly posture: string | null;
    /** MCP servers that the turn had to do without. */
    readonly absentServers: readonly string[];
    /** What the model provider said when it refused, cut; empty if it did not. */
    readonly providerAnswer: string;
  };
}

/** What the process and its messages tell, apart from the text. */
type ProcessFacts = Omit<TurnFacts, "needsStructuredOutput" | "text">;

export class AgentTurn {
  readonly #run: AgentRun;
  readonly #translator = new Translator();
  readonly #tokens = new TokenCount();
  readonly #watch: TurnWatch;
  /** Changed as they become known. */
  readonly #facts: { -readonly [Key in keyof ProcessFacts]: ProcessFacts[Key] } = {
    stopCause: null,
    result: null,
    modelError: null,
    exit: null,
    hasStarted: false,
  };
  readonly #beganAtMs = monotonicMs();
  /** The process has had turns before this one, or was started ahead. */
  readonly #wasThere: boolean;
  readonly #earlierCpuMs: number;
  readonly #earlierToolOomKills: number;
  readonly #earlierToolsEnded: number;
  /** Messages of the model, one for each call of the main loop. */
  readonly #modelMessages = new Set<string>();
  #startMs: number | null = null;
  #firstTokenMs: number | null = null;
  #force: NodeJS.Timeout | undefined;
  /** Whether the process has said that it heard the interrupt; null while it was not asked. */
  #interrupted: Promise<boolean> | null = null;
  #stays = false;
  #thrown: unknown;
  #posture: PostureFault | null = null;
  #absentServers: readonly string[] = [];
  #providerAnswer = "";

  constructor(run: AgentRun) {
    this.#run = run;
    const { process, hasHadTurns } = run.connection;
    this.#wasThere = process !== null;
    // It may have held more in a turn before. But its start is its first turn's.
    if (hasHadTurns) process?.tree.forgetPeak();
    this.#earlierCpuMs = process?.tree.sample?.cpuMs ?? 0;
    this.#earlierToolOomKills = process?.toolOomKills ?? 0;
    this.#earlierToolsEnded = process?.toolsEndedForMemory ?? 0;
    this.#watch = watchTurn(run, (cause) => this.stop(cause));
  }

  async *events(): AsyncGenerator<TurnEvent, void, undefined> {
    if (this.#facts.stopCause !== null) return;
    const { connection, input } = this.#run;
    try {
      connection.begin(input);
      // The result is the last word: what the process does after it is only ending.
      while (this.#facts.result === null && this.#posture === null) {
        const message = await connection.next();
        if (message === null) break;
        this.#watch.heard();
        if (this.#isOfEarlierTurn(message)) continue;
        this.#learn(message);
        const events = this.#translator.next(message);
        if (this.#firstTokenMs === null && events.some(isContent)) {
          this.#firstTokenMs = monotonicMs() - this.#run.admittedAtMs;
          const { process } = connection;
          process?.guard?.update(process.processId, { hasOutput: true });
        }
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
    this.#run.onEnding();
    const { connection } = this.#run;
    // Asked politely, a process that has read its input would first ask the model, and may run
    // tools. Nothing was done yet that an orderly end could keep.
    const graceMs = this.#facts.hasStarted && this.#posture === null ? this.#endGraceMs : 0;
    const end = (): false => {
      void connection.process?.terminate(graceMs);
      return false;
    };
    if (graceMs === 0) {
      end();
      return;
    }
    this.#interrupted = connection.interrupt().then(() => true, end);
    this.#force = setTimeout(end, this.#isCancelled ? CANCEL_GRACE_MS : INTERRUPT_GRACE_MS);
  }

  /** Resolves when the process is at rest, or no process of the turn is left that can be ended. */
  async end(): Promise<void> {
    this.#watch[Symbol.dispose]();
    this.#run.onEnding();
    this.#stays = await this.#leavesInOrder();
    clearTimeout(this.#force);
    const { connection } = this.#run;
    if (this.#stays) connection.process?.look();
    else this.#facts.exit = await connection.end(this.#endGraceMs);
  }

  /** Somebody waits for the end of the turn, rather than nobody for the turn. */
  get #isCancelled(): boolean {
    const { stopCause } = this.#facts;
    return stopCause?.kind === "cancelled" && stopCause.cause === "cancel_requested";
  }

  /** Time of each polite step of ending the process. */
  get #endGraceMs(): number {
    const { endGraceMs } = this.#run;
    return this.#isCancelled ? Math.min(endGraceMs, CANCEL_STEP_GRACE_MS) : endGraceMs;
  }

  summary(): AgentRunEnd {
    const { needsStructuredOutput, connection } = this.#run;
    const { result, exit } = this.#facts;
    const after = result === null ? null : totalsOf(result, connection.counted);
    const used = difference(after ?? connection.counted, connection.counted);
    connection.counted = after ?? connection.counted;
    const cpuMs = connection.process?.tree.sample?.cpuMs;
    const { text, textMessageId: messageId } = this.#translator;
    const facts = { ...this.#facts, needsStructuredOutput, text };
    return {
      outcome: outcomeOf(facts, this.#usage(used)),
      hasRun: this.#facts.hasStarted && this.#posture === null,
      lastText: { messageId, text },
      totals: after === null ? null : { costUsd: used.costUsd, byModel: used.byModel },
      startMs: this.#wasThere ? null : this.#startMs,
      peakBytes: connection.process?.peakBytes ?? null,
      cpuMs: cpuMs === undefined ? null : cpuMs - this.#earlierCpuMs,
      toolOomKills: (connection.process?.toolOomKills ?? 0) - this.#earlierToolOomKills,
      toolsEndedForMemory: (connection.process?.toolsEndedForMemory ?? 0) - this.#earlierToolsEnded,
      exit,
      stays: this.#stays,
      diagnosis: {
        thrown: this.#thrown,
        stderrTail: connection.process?.stderrTail() ?? "",
        posture: this.#posture?.detail ?? null,
        absentServers: this.#absentServers,
        providerAnswer: this.#providerAnswer,
      },
    };
  }

  /**
   * Whether the process has come to the end of the turn by itself, or as it was asked. An interrupt
   * it has not answered could still hit the next turn; after anything else it is in doubt, and goes.
   */
  async #leavesInOrder(): Promise<boolean> {
    const { result, stopCause } = this.#facts;
    if (!this.#run.mayStay || result === null || this.#posture !== null) return false;
    if (stopCause === null) {
      const isOrderly = result.subtype === "success" || result.subtype === "error_max_turns";
      return isOrderly && this.#run.connection.isAlive;
    }
    if (stopCause.kind === "failed" || this.#interrupted === null) return false;
    // One that cannot be ended does not answer, either.
    const settled = this.#run.connection.process?.settled.then(() => false);
    return (
      (await Promise.race([this.#interrupted, settled])) === true && this.#run.connection.isAlive
    );
  }

  /** What came between two turns belongs to none of them: each begins with `init`. */
  #isOfEarlierTurn(message: SDKMessage): boolean {
    return this.#wasThere && !this.#facts.hasStarted && !isInit(message);
  }

  #learn(message: SDKMessage): void {
    const modelMessage = modelMessageOf(message);
    if (modelMessage !== null) this.#modelMessages.add(modelMessage);
    if (this.#tokens.heard(message)) this.#run.onTokens(this.#tokens.soFar);
    if (isInit(message)) {
      this.#facts.hasStarted = true;
      this.#startMs = monotonicMs() - this.#beganAtMs;
      this.#run.onStarted();
      this.#watch.started();
      this.#absentServers = message.mcp_servers
        .filter(({ status }) => status !== "connected")
        .map(({ name }) => name);
      this.#posture = this.#run.postureFault(message);
      if (this.#posture !== null) this.stop(WRONG_POSTURE[this.#posture.code]);
    } else if (message.type === "assistant" && message.error !== undefined) {
      this.#facts.modelError = message.error;
      this.#providerAnswer = errorTextOf(message);
    } else if (message.type === "result") {
      this.#facts.result = message;
    }
  }

  #usage(used: TokensAndCost): TurnUsage {
    return {
      ...used,
      // The SDK's own count has the calls that it refused to make, and those of its own tools.
      steps: this.#modelMessages.size,
      durationMs: Math.round(monotonicMs() - this.#run.admittedAtMs),
      firstTokenMs: this.#firstTokenMs === null ? null : Math.round(this.#firstTokenMs),
    };
  }
}

/** What a reader waits for, other than a notice. */
function isContent({ type }: TurnEvent): boolean {
  return type === "text_started" || type === "reasoning_started" || type === "tool_call_started";
}

const WRONG_POSTURE: Readonly<Record<PostureFault["code"], StopCause>> = {
  agent_posture_mismatch: {
    kind: "failed",
    code: "agent_posture_mismatch",
    message: "Cannot run the turn: the agent process offers other tools than were declared",
  },
  mcp_server_unavailable: {
    kind: "failed",
    code: "mcp_server_unavailable",
    message: "Cannot run the turn: an MCP server that the agent needs cannot be reached",
  },
};
