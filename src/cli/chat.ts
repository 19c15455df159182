/**
 * `plimsoll chat`: a conversation in a terminal, through the same engine as a server's turns.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { relative } from "node:path";
import { requireClaude } from "../agent-process/claude-program.ts";
import type { AgentDefinition } from "../agent/definition.ts";
import { AppError } from "../lib/errors.ts";
import { decodeRestTurn } from "../protocol/rest.ts";
import { withEngine, type Engine } from "../server/engine.ts";
import type { LiveTurn } from "../turn/live-turn.ts";
import type { Caller } from "../turn/turn.ts";
import { openChatLog } from "./chat-log.ts";
import { guardAgainstCrash } from "./crash.ts";
import { EXIT } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { loadAll, type LoadOptions } from "./load.ts";
import { painter } from "./paint.ts";
import { readPipe, readTerminal } from "./read-lines.ts";
import { givenFlags, programName, quoted } from "./shell-command.ts";
import { onSignals } from "./signals.ts";
import { failureLines, TurnPrinter } from "./turn-printer.ts";

/** Sees the same sessions as callers of a server without keys. */
const PERSON: Caller = { id: "chat", tenant: "default", role: "caller", priority: "normal" };

export interface ChatOptions extends LoadOptions {
  /** Which agent of a folder. */
  readonly agentName?: string;
  /** A conversation to go on with; a new one without it. */
  readonly threadId?: string;
}

/** Resolves to the exit code when the conversation is over. */
export async function runChat(options: ChatOptions, io: Io): Promise<number> {
  const { config, agents } = await loadAll(options, io);
  const agent = chooseAgent(agents, options.agentName);
  requireClaude();
  const threadId = options.threadId ?? randomUUID();
  const log = await openChatLog(config.dataDirectory);
  const engineOptions = { config, agents: [agent], logDestination: log.destination };
  return withEngine(engineOptions, async (engine) => {
    using _guard = guardAgainstCrash(io, {
      killNow: () => engine.processes.killAllNow(),
      log: () => engine.telemetry.log,
    });
    using chat = new Chat({ engine, agent, threadId, io });
    chat.greet();
    const failures = await chat.converse();
    chat.sayGoodbye(options);
    if (failures === 0) return EXIT.ok;
    io.stderr(`The log of this chat: ${relative(io.workingDirectory, log.path)}\n`);
    return io.isInteractive ? EXIT.ok : EXIT.turnFailed;
  });
}

function chooseAgent(agents: readonly AgentDefinition[], name: string | undefined) {
  const names = agents.map((agent) => agent.name).join(", ");
  const [first, ...others] = agents;
  const chosen = name === undefined ? first : agents.find((agent) => agent.name === name);
  if (chosen === undefined) throw new AppError("usage", `Cannot find the agent: there is ${names}`);
  if (name === undefined && others.length > 0) {
    throw new AppError("usage", `Cannot choose an agent: say --agent with one of ${names}`);
  }
  return chosen;
}

interface ChatDeps {
  readonly engine: Engine;
  readonly agent: AgentDefinition;
  readonly threadId: string;
  readonly io: Io;
}

class Chat implements Disposable {
  readonly #deps: ChatDeps;
  readonly #paint: ReturnType<typeof painter>;
  readonly #over = new AbortController();
  readonly #forgetSignals: () => void;
  #turn: LiveTurn | null = null;
  #isCancelled = false;
  #turns = 0;

  constructor(deps: ChatDeps) {
    this.#deps = deps;
    this.#paint = painter(deps.io.color);
    this.#forgetSignals = onSignals((signal) => this.#onSignal(signal));
    deps.io.readerGone.addEventListener("abort", () => this.#end(), { once: true });
  }

  greet(): void {
    const { agent, io } = this.#deps;
    const isRehearsal = agent.model.provider === "rehearsal";
    const who = isRehearsal
      ? `${this.#paint(["bold", "black", "bgYellow"], " REHEARSAL ")} a script answers, not Claude`
      : this.#paint("dim", `${agent.model.id}, ${agent.model.provider}`);
    const memory =
      agent.hosting.pattern === "ephemeral" ? "It forgets everything after each turn. " : "";
    const help = io.isInteractive ? "Ctrl-C cancels a turn; `exit` or Ctrl-D ends.\n" : "";
    const note = `${memory}${help}`;
    io.stdout(`${this.#paint("bold", agent.name)}  ${who}\n`);
    if (note !== "") io.stdout(this.#paint("dim", `${note.trimEnd()}\n`));
  }

  /** Until the person ends it. Resolves to the number of turns that failed. */
  async converse(): Promise<number> {
    const { io } = this.#deps;
    const prompt = this.#paint("bold", "> ");
    const stop = this.#over.signal;
    let failures = 0;
    const messages = io.isInteractive ? readTerminal(`\n${prompt}`, stop) : readPipe(stop);
    for await (const message of messages) {
      if (/^\/?(exit|quit)$/.test(message.trim())) break;
      if (message.trim() === "") continue;
      // A person has the echo of the terminal; whoever reads the output of a pipe has not.
      if (!io.isInteractive) io.stdout(`\n> ${message}\n`);
      failures += (await this.#runTurn(message)) ? 0 : 1;
      if (stop.aborted) break;
    }
    return failures;
  }

  sayGoodbye(options: ChatOptions): void {
    const { agent, threadId, io } = this.#deps;
    if (this.#turns === 0 || agent.hosting.pattern === "ephemeral") return;
    const { path, agentName } = options;
    const which = agentName === undefined ? [] : ["--agent", agentName];
    const words = ["chat", path, ...which, ...givenFlags(options), "--thread", threadId];
    const command = `${programName(io.environment)} ${words.map(quoted).join(" ")}`;
    io.stdout(this.#paint("dim", `\nTo go on: ${command}\n`));
  }

  /** Whether it ended well; what did not is shown. */
  async #runTurn(message: string): Promise<boolean> {
    const { engine, agent, threadId, io } = this.#deps;
    const printer = new TurnPrinter(this.#paint, !io.color);
    this.#isCancelled = false;
    try {
      const { session, input } = decodeRestTurn({ input: message, threadId });
      const ids = { turnId: randomUUID(), agentName: agent.name, caller: PERSON };
      const reader = await engine.turns.start({ ...ids, session, input }, NEVER);
      this.#turn = reader.turn;
      if (this.#isCancelled) this.#turn.cancel("cancel_requested");
      this.#turns += 1;
      let isWell = true;
      for await (const event of reader.events()) {
        io.stdout(printer.print(event));
        if (event.type === "turn_ended") isWell = event.outcome.status !== "failed";
      }
      return isWell;
    } catch (thrown) {
      if (!(thrown instanceof AppError)) throw thrown;
      const details = thrown.details.errors?.map(({ detail }) => `  ${detail}`) ?? [];
      const lines = [...failureLines(thrown.code, thrown.message, this.#paint), ...details];
      io.stderr(`${lines.join("\n")}\n`);
      return false;
    } finally {
      this.#turn = null;
    }
  }

  /** Ctrl-C: the turn, else the chat; twice in a turn: at once. SIGTERM ends both. */
  #onSignal(signal: NodeJS.Signals): void {
    if (signal === "SIGTERM" || this.#turn === null) return this.#end();
    if (this.#isCancelled) {
      this.#deps.engine.processes.killAllNow();
      process.exit(EXIT.interrupted);
    }
    this.#cancel();
  }

  #end(): void {
    this.#over.abort();
    this.#cancel();
  }

  #cancel(): void {
    this.#isCancelled = true;
    this.#turn?.cancel("cancel_requested");
  }

  [Symbol.dispose](): void {
    this.#forgetSignals();
  }
}

/** A person does not hang up on a turn without a signal to the process. */
const NEVER = new AbortController().signal;
