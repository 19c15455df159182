/**
 * The only caller of the SDK's `query()`, `prewarm()` and, for a session, `startup()`: one agent
 * process and the line to it, over as many turns as it takes, one after the other.
 *
 *     begin ─▶ messages … ─▶ (at rest) ─▶ begin ─▶ messages … ─▶ end
 *     park ─▶ (spare) ─▶ claim ─▶ begin ─▶ messages …
 *     warm ─▶ (at rest) ─▶ begin ─▶ messages …
 *
 * What the messages of a turn mean is `run-agent.ts`.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import {
  prewarm,
  query,
  startup,
  type Options,
  type Query,
  type SDKMessage,
  type SpareProcess,
  type SpawnedProcess,
} from "@anthropic-ai/claude-agent-sdk";
import type { AgentExit, AgentProcess } from "../agent-process/agent-process.ts";
import type { StartAgentOptions } from "../agent-process/registry.ts";
import { settlesWithin } from "../lib/settles-within.ts";
import type { ReadySession } from "../session/session-process.ts";
import { NO_TOTALS, type SessionTotals } from "../session/session-record.ts";
import type { InputPart } from "./turn.ts";
import { openInput } from "./open-input.ts";

/** How long the SDK may take to notice that its process is gone. */
const SDK_NOTICE_MS = 2_000;
/** How long a process at rest may take to answer; a few milliseconds in good health. */
const ANSWER_MS = 2_000;

export interface ConnectionOptions {
  /** Marks the process tree. No two live processes may have the same. */
  readonly processId: string;
  /** All of the SDK's options but the process, which is made here. */
  readonly options: Options;
  /** The whole environment of the process. */
  readonly environment: Readonly<Record<string, string>>;
  readonly spawn: (options: StartAgentOptions) => AgentProcess;
  /** What Claude Code will count from; nothing, or not yet known, without it. */
  readonly counted?: SessionTotals;
}

export class AgentConnection {
  readonly #options: ConnectionOptions;
  readonly #input = openInput();
  #spare: SpareProcess | null = null;
  #query: Query | null = null;
  #process: AgentProcess | null = null;
  /** The running totals of the process as its last turn left them, or as it begins. */
  counted: SessionTotals;
  #isAlive = false;
  #isEnded = false;
  #hasHadTurns = false;
  #lastMessageId: string | null = null;
  /** Ends the wait for the SDK's next message; set while there is one. */
  #giveUp = () => {};

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.counted = options.counted ?? NO_TOTALS;
  }

  /** The process; null until the first turn begins, or the process is started ahead. */
  get process(): AgentProcess | null {
    return this.#process;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Whether nothing may be started any more. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** False before the first turn: what the process holds until then is of its start alone. */
  get hasHadTurns(): boolean {
    return this.#hasHadTurns;
  }

  /** Id of the last message of the conversation, as its transcript has it. */
  get lastMessageId(): string | null {
    return this.#lastMessageId;
  }

  /**
   * Starts the process before its session is known.
   *
   * @throws what the SDK or the spawn throws; whoever called has to end the connection then.
   */
  async park(startTimeoutMs: number): Promise<void> {
    const options = this.#sdkOptions();
    this.#spare = await prewarm({ options, initializeTimeoutMs: startTimeoutMs });
  }

  /**
   * Binds a parked process to its session. It may be stuck, and the SDK would wait for ever.
   *
   * @param stop Ends the wait.
   * @throws when it cannot be bound: no turn may begin then.
   */
  async claim(workDirectory: string, stop: AbortSignal): Promise<void> {
    if (this.#spare === null) throw new Error("only a parked process can be claimed");
    const options = { cwd: workDirectory };
    this.#query = this.#spare.claim({ prompt: this.#input.messages, options });
    const { claimed } = this.#spare;
    if (!(await settlesWithin(claimed, ANSWER_MS, stop))) throw new Error("it does not answer");
    await claimed;
  }

  /**
   * Starts the process ahead of a turn of its session: it reads the transcript, and asks no model.
   * The SDK's `startup()` and not `query()`, which initialises only once there is a message. The
   * query is made as soon as there is a process, so that it can be asked, interrupted and ended.
   *
   * @param ready What is said after its last message, this process has missed.
   * @throws what the SDK or the spawn throws; whoever called has to end the connection then.
   */
  async warm(
    ready: Pick<ReadySession, "lastMessageId" | "counted">,
    startTimeoutMs: number,
  ): Promise<void> {
    this.#lastMessageId = ready.lastMessageId;
    this.counted = ready.counted;
    const options = this.#sdkOptions();
    const started = await startup({ options, initializeTimeoutMs: startTimeoutMs });
    this.#query = started.query(this.#input.messages);
    // Nobody else would, if the end came just before.
    if (this.#isEnded) this.#query.close();
  }

  /** Says what the user says; spawns the process first. @throws what the SDK or the spawn throws. */
  begin(input: readonly InputPart[]): void {
    this.#hasHadTurns = true;
    this.#query ??= query({ prompt: this.#input.messages, options: this.#sdkOptions() });
    this.#input.say(input);
  }

  /**
   * The SDK's next message; null when there is none or its process is long gone.
   *
   * @throws what the SDK throws, e.g. for a process that died.
   */
  async next(): Promise<SDKMessage | null> {
    const messages = this.#query;
    if (messages === null) return null;
    const next = await new Promise<IteratorResult<SDKMessage, void> | null>((resolve, reject) => {
      this.#giveUp = () => resolve(null);
      messages.next().then(resolve, reject);
    });
    if (next === null || next.done === true) return null;
    const message = next.value;
    const isSpoken = message.type === "user" || message.type === "assistant";
    if (isSpoken && message.parent_tool_use_id === null && message.uuid !== undefined) {
      this.#lastMessageId = message.uuid;
    }
    return message;
  }

  /**
   * Whether the process, at rest, answers at all: it may have died a moment ago, or be stuck. It is
   * told the mode it is in, which changes nothing.
   */
  async answers(): Promise<boolean> {
    const exited = this.#process?.processExited;
    if (this.#query === null || exited === undefined || !this.#isAlive) return false;
    const answer = this.#query.setPermissionMode("dontAsk").then(
      () => true,
      () => false,
    );
    const isOver = new AbortController();
    const late = delay(ANSWER_MS, false, { signal: isOver.signal }).catch(() => false);
    const isThere = await Promise.race([answer, late, exited.then(() => false)]);
    isOver.abort();
    return isThere;
  }

  /** Asks the process to end its turn. @throws when it cannot be asked. */
  async interrupt(): Promise<void> {
    await this.#query?.interrupt();
  }

  /** Resolves when no process is left that can be ended; null if none was ever made. Idempotent. */
  async end(graceMs: number): Promise<AgentExit | null> {
    this.#isAlive = false;
    this.#isEnded = true;
    this.#input.close();
    const exit = (await this.#process?.terminate(graceMs)) ?? null;
    this.#query?.close();
    this.#spare?.close();
    return exit;
  }

  #sdkOptions(): Options {
    const { options, environment } = this.#options;
    return {
      ...options,
      env: { ...environment },
      spawnClaudeCodeProcess: ({ command, args }) => this.#spawn(command, args),
    };
  }

  #spawn(command: string, args: string[]): SpawnedProcess {
    if (this.#isEnded) throw new Error("the process was not wanted any more before it was started");
    const { processId, environment: env, options, spawn } = this.#options;
    const agent = spawn({ command, args, cwd: options.cwd ?? ".", env, processId });
    this.#process = agent;
    this.#isAlive = true;
    void agent.processExited.then(() => (this.#isAlive = false));
    // Should the SDK miss the end of its process, its reader must not wait for ever; and it is
    // never told the end of one that cannot be ended.
    void agent.settled.then(({ survivors }) =>
      setTimeout(() => this.#giveUp(), survivors > 0 ? 0 : SDK_NOTICE_MS).unref(),
    );
    return agent.forSdk;
  }
}
