/**
 * SIGKILL at random moments of turns on the sessions of one replica, half of them to the agent
 * process and half to the server, which is then started again on its data: whether the next turn
 * completes, and what is missing after it.
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { environmentOf, processesOfTurn, processesWith, programOf } from "../test/helpers/leaks.ts";
import { type Ask, modelFaultsOf, questionOf } from "./conversation-check.ts";
import { readSession, sessionIdOfThread, sessionUrlOf, threadOf } from "./conversation.ts";
import { killsOutcome, type Killed, type Victim } from "./kills-page.ts";
import { entriesIn, startToldModel, type ToldModel } from "./kills-model.ts";
import {
  MODEL_KEY,
  scratchDirectory,
  startServer,
  type RunningServer,
  type ServerOptions,
} from "./processes.ts";
import { countIn } from "./replica-set.ts";
import type { Benchmark, Size } from "./result.ts";
import { median, randomFrom } from "./statistics.ts";
import { askTurn, type TurnAnswer } from "./turn-client.ts";

const KILLS: Readonly<Record<Size, number>> = { full: 200, small: 10 };
/** Of the trials with the agent process; a server that dies takes all turns with it. */
const LANES = 3;
/** So often a trial begins a session; the others go on with the last one. */
const NEW_RATIO = 0.4;
const FIRST_GUESS_MS = 1_500;
const POLL_MS = 5;
const PATIENCE_MS = 60_000;
/** What the new server has to end agents of the one before, from when it is ready. */
const ORPHAN_LIMIT_MS = 2_000;
const AGENT_NAME = "talker";
const AGENT = `
name: ${AGENT_NAME}
model: { provider: anthropic }
instructions: Talk.
tools: { builtin: [Bash] }
`;

export const kills: Benchmark = {
  name: "kills",
  summary: "200 SIGKILLs within turns, of agents and of servers: what cannot go on, what is lost",
  hasSmall: true,
  countFlag: "kills",
  async run(report, signal, size, count) {
    const wanted = count ?? KILLS[size];
    using scratch = scratchDirectory();
    await using model = await startToldModel(scratch.path);
    const agentFile = join(scratch.path, "agent.yaml");
    writeFileSync(agentFile, AGENT);
    const options = {
      agentFile,
      dataDirectory: join(scratch.path, "data"),
      environment: { ANTHROPIC_BASE_URL: model.url, ...MODEL_KEY },
      logFile: join(scratch.path, "server.log"),
    };
    const world = new KillWorld(options, model, signal);
    await world.start();
    try {
      const half = Math.ceil(wanted / 2);
      await runTrials(world, { victim: "agent", count: half, lanes: LANES }, report);
      await runTrials(world, { victim: "server", count: wanted - half, lanes: 1 }, report);
      const { asks, killed } = world;
      const finals = await world.readAll();
      const messages = countIn([options.logFile], {
        repaired: "Repaired a transcript that was cut off",
      });
      const faults = modelFaultsOf(asks, model.requests);
      return killsOutcome({ killed, asks, finals, ...faults, messages, promised: KILLS[size] });
    } finally {
      await world.stop();
    }
  },
};

interface Trials {
  readonly victim: Victim;
  readonly count: number;
  readonly lanes: number;
}

async function runTrials(
  world: KillWorld,
  { victim, count, lanes }: Trials,
  report: (line: string) => void,
): Promise<void> {
  let begun = 0;
  const before = world.killed.length;
  const lane = async (): Promise<void> => {
    let conversation = world.newConversation();
    while (begun < count) {
      begun += 1;
      if (world.random() < NEW_RATIO) conversation = world.newConversation();
      world.killed.push(await trial(world, victim, conversation));
      const done = world.killed.length - before;
      if (done % 10 === 0) report(`${done} kills of ${victim}s`);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** Kills in a turn, as often as it takes to hit one, and asks once more. */
async function trial(world: KillWorld, victim: Victim, conversation: number): Promise<Killed> {
  for (let missed = 0; ; missed += 1) {
    const hit = await killWithin(world, victim, conversation);
    if (hit === null) continue;
    const next = await world.ask(conversation);
    const after = new Set(entriesIn(world.dataDirectory, hit.sessionId).ids);
    const told = world.model.toolResultsOf(next.number);
    return {
      victim,
      missed,
      atMs: hit.atMs,
      isFirstTurn: hit.isFirstTurn,
      outcome: hit.answer.outcome,
      orphans: hit.orphans,
      nextOutcome: next.answer.outcome,
      entriesWritten: hit.written.ids.length,
      entriesLost: hit.written.ids.filter((id) => !after.has(id)).length,
      resultSeen: hit.answer.toolResults.length > 0,
      resultWritten: hit.written.answered.includes(hit.number),
      resultTold: told.includes(hit.number),
    };
  }
}

/** Null when the turn was over by then. */
async function killWithin(world: KillWorld, victim: Victim, conversation: number) {
  let killedAtMs: number | null = null;
  const turn = { id: "", isOver: false };
  const isFirstTurn = !world.asks.some((ask) => ask.conversation === conversation);
  const waitMs = world.random() * world.turnMs;
  const wait = delay(waitMs);
  const strike = async (): Promise<void> => {
    await wait;
    while (!turn.isOver && killedAtMs === null) {
      if (victim === "server" ? world.killServer() : killAgentOf(turn.id)) {
        killedAtMs = performance.now();
      } else await delay(POLL_MS);
    }
  };
  const onStart = (id: string) => (turn.id = id);
  const asked = world.ask(conversation, onStart).finally(() => (turn.isOver = true));
  // A turn that nobody hits in time ends by itself.
  const [{ number, answer }] = await Promise.all([asked, strike()]);
  const orphans = victim === "server" && killedAtMs !== null ? await world.restart() : 0;
  if (killedAtMs === null) return null;
  const sessionId = world.sessionIdOf(conversation);
  const written = entriesIn(world.dataDirectory, sessionId);
  const atMs = killedAtMs - answer.askedAtMs;
  return { number, answer, sessionId, isFirstTurn, written, orphans, atMs };
}

/** The agent process itself, not what it has started. */
function killAgentOf(turnId: string): boolean {
  if (turnId === "") return false;
  const agent = processesOfTurn(turnId).find((pid) => programOf(pid).endsWith("/claude"));
  if (agent === undefined) return false;
  try {
    return process.kill(agent, "SIGKILL");
  } catch {
    return false; // It ended meanwhile.
  }
}

/** The server of the moment, and what its clients have asked. */
class KillWorld {
  readonly model: ToldModel;
  readonly asks: Ask[] = [];
  readonly killed: Killed[] = [];
  readonly random = randomFrom(11);
  readonly #options: ServerOptions;
  readonly #signal: AbortSignal;
  readonly #turnsMs: number[] = [];
  #server: RunningServer | null = null;
  #numbers = 0;
  #conversations = 0;

  constructor(options: ServerOptions, model: ToldModel, signal: AbortSignal) {
    this.#options = options;
    this.model = model;
    this.#signal = signal;
  }

  get dataDirectory(): string {
    return this.#options.dataDirectory;
  }

  /** What a turn takes, that of now. */
  get turnMs(): number {
    return this.#turnsMs.length === 0 ? FIRST_GUESS_MS : median(this.#turnsMs.slice(-9));
  }

  newConversation(): number {
    return (this.#conversations += 1);
  }

  async start(): Promise<void> {
    this.#server = await startServer(this.#options);
  }

  async stop(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
  }

  killServer(): boolean {
    const server = this.#server;
    return server !== null && server.exit() === null && process.kill(server.pid, "SIGKILL");
  }

  /** @returns Agent processes of the server that was killed, after the new one has had its time. */
  async restart(): Promise<number> {
    while (this.#server?.exit() === null) await delay(POLL_MS);
    const serverId = readFileSync(join(this.dataDirectory, "server-id"), "utf8").trim();
    const old = processesWith("PLIMSOLL_SERVER_ID", serverId);
    await this.start();
    const left = () => old.filter((pid) => environmentOf(pid).length > 1).length;
    const endAtMs = performance.now() + ORPHAN_LIMIT_MS;
    while (left() > 0 && performance.now() < endAtMs) await delay(POLL_MS);
    return left();
  }

  /** Asks the next question, and comes back while it is refused. */
  async ask(conversation: number, onStart: (turnId: string) => void = () => {}) {
    const number = (this.#numbers += 1);
    const call = {
      agentName: AGENT_NAME,
      input: questionOf(number),
      threadId: threadOf(conversation),
      onStart,
    };
    let answer: TurnAnswer;
    const endAtMs = performance.now() + PATIENCE_MS;
    do {
      this.#signal.throwIfAborted();
      answer = await askTurn({ ...call, url: this.#url });
      const retryAfter = answer.headers["retry-after"];
      if (retryAfter === undefined || answer.status < 400) break;
      await delay(Number(retryAfter) * 1_000);
    } while (performance.now() < endAtMs);
    const isDone = answer.outcome === "completed";
    if (isDone) this.#turnsMs.push(answer.endedAtMs - answer.askedAtMs);
    const fate = isDone ? "acknowledged" : "unknown";
    this.asks.push({ number, conversation, fate, answer: isDone ? answer.text : "" });
    return { number, answer };
  }

  sessionIdOf(conversation: number): string {
    return sessionIdOfThread(AGENT_NAME, conversation);
  }

  /** What is in each session that was asked something. */
  async readAll(): Promise<Map<number, Awaited<ReturnType<typeof readSession>>>> {
    const conversations = new Set(this.asks.map(({ conversation }) => conversation));
    const finals = new Map<number, Awaited<ReturnType<typeof readSession>>>();
    for (const each of conversations) {
      finals.set(each, await readSession(sessionUrlOf(this.#url, AGENT_NAME, each)));
    }
    return finals;
  }

  get #url(): string {
    return this.#server?.url ?? "";
  }
}
