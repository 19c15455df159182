/**
 * What a sweep does to 10,000 sessions, and to the turns that run meanwhile.
 *
 * @module
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { makeSessions, realTranscript } from "./made-sessions.ts";
import { summaryTable, table } from "./page.ts";
import { scratchDirectory, startModel, startServer, type RunningServer } from "./processes.ts";
import { atMost, type Benchmark, type Claim } from "./result.ts";
import { median, summaryOf } from "./statistics.ts";
import { askTurn } from "./turn-client.ts";

const SESSIONS = 10_000;
const ROUNDS = 2;
const SWEPT_A_ROUND = 500;
/** So many turns run all the time. */
const TURNS_AT_ONCE = 2;
/** A server sweeps by itself so long after its start; what runs before is compared with. */
const FIRST_SWEEP_MS = 60_000;
const WARM_UP_MS = 10_000;
/** Beside every sweep one runs in a session that would have to go before all others. */
const BUSY_INPUT = "slowly";
const SLOWDOWN_LIMIT_RATIO = 0.05;
const DAY_MS = 86_400_000;

const AGENT = `
name: hello
description: Greets, and in one turn for as long as the sweep lasts.
model: { provider: anthropic }
instructions: Talk.
limits: { turnTime: 30m }
`;

const SCRIPT = {
  defaults: { firstTokenMs: 0, tokensPerSecond: 1_000 },
  rules: [
    { when: { userText: BUSY_INPUT }, tokensPerSecond: 10, reply: [{ tokens: 6_000 }] },
    { reply: [{ text: "Good morning to you, whoever you are." }] },
  ],
};

interface Round {
  /** Sessions there may be after it, of those that were made. */
  readonly most: number;
  readonly left: number;
  readonly deleted: number;
  readonly freedMib: number;
  readonly sweepMs: number;
  /** From the request of a turn to its end. */
  readonly quietMs: readonly number[];
  readonly sweptMs: readonly number[];
  readonly busyOutcome: string;
  readonly busyIsThere: boolean;
}

export const retention: Benchmark = {
  name: "retention",
  summary: "a sweep of 10,000 sessions: whether it keeps the limits, and what turns feel of it",
  async run(report, signal) {
    using scratch = scratchDirectory();
    await using model = await startModel(scratch.path, SCRIPT);
    const agentFile = join(scratch.path, "agent.yaml");
    writeFileSync(agentFile, AGENT);
    const few = join(scratch.path, "few");
    const dataDirectory = join(scratch.path, "many");
    const logFile = join(scratch.path, "server.log");
    const start = (directory: string, most: number) =>
      startServer({
        agentFile,
        dataDirectory: directory,
        environment: model.environment,
        args: ["--set", `retention.sessionsPerTenant=${most}`],
        logFile,
      });
    const transcript = await realTranscript(await start(few, SESSIONS), few);
    report(`making ${SESSIONS} sessions`);
    const beganAtMs = Date.now() - 30 * DAY_MS;
    const lastTurnAtMs = (index: number) => beganAtMs + index * 1_000;
    await makeSessions({ dataDirectory, count: SESSIONS, transcript, lastTurnAtMs }, signal);

    const rounds: Round[] = [];
    for (let round = 1; round <= ROUNDS; round += 1) {
      signal.throwIfAborted();
      const most = SESSIONS - round * SWEPT_A_ROUND;
      await using server = await start(dataDirectory, most);
      rounds.push(await runRound(server, { dataDirectory, logFile, most, round }));
      report(`  ${describe(rounds.at(-1))}`);
    }
    return outcomeOf(rounds, transcript.text.length);
  },
};

interface RoundOrder {
  readonly dataDirectory: string;
  readonly logFile: string;
  readonly most: number;
  /** From 1 on. */
  readonly round: number;
}

async function runRound(server: RunningServer, order: RoundOrder): Promise<Round> {
  const { dataDirectory, logFile, most, round } = order;
  const beganAtMs = performance.now();
  const threadId = `busy-${most}`;
  const { sessionId } = await turn(server, { threadId, input: "Good morning" });
  makeOld(dataDirectory, sessionId);
  const leave = new AbortController();
  const busy = turn(server, { threadId, input: BUSY_INPUT, signal: leave.signal });

  const turns = runTurns(server);
  const sweep = await sweepOf(logFile, round);
  const overAtMs = performance.now();
  await turns.end();
  const there = await fetch(`${server.url}/v1/sessions/${sessionId}`);
  await there.arrayBuffer();
  leave.abort();
  const { outcome } = await busy;
  const sweptAtMs = beganAtMs + FIRST_SWEEP_MS;
  const timesOf = (fromMs: number, toMs: number) =>
    turns.ended.filter((each) => each.fromMs >= fromMs && each.toMs <= toMs).map(lengthOf);
  return {
    most,
    left: sweep.seen - sweep.deleted,
    deleted: sweep.deleted,
    freedMib: sweep.bytes / 2 ** 20,
    sweepMs: overAtMs - sweptAtMs,
    quietMs: timesOf(beganAtMs + WARM_UP_MS, sweptAtMs),
    sweptMs: timesOf(sweptAtMs, overAtMs),
    busyOutcome: outcome,
    busyIsThere: there.ok,
  };
}

const POLL_MS = 500;

/** What the server says of a sweep that let sessions go. */
interface SweepLine {
  readonly msg: string;
  readonly seen: number;
  readonly deleted: number;
  readonly bytes: number;
}

/** Waits for the sweep of that number, from 1 on. */
async function sweepOf(logFile: string, number: number): Promise<SweepLine> {
  for (;;) {
    const sweep = sweepsIn(logFile)[number - 1];
    if (sweep !== undefined) return sweep;
    await delay(POLL_MS);
  }
}

function sweepsIn(logFile: string): SweepLine[] {
  const lines = readFileSync(logFile, "utf8").split("\n");
  return lines
    .filter((line) => line.includes('"msg":"Sessions had to go"'))
    .map((line) => JSON.parse(line) as SweepLine);
}

interface TurnOrder {
  readonly threadId?: string;
  readonly input: string;
  readonly signal?: AbortSignal;
}

async function turn({ url }: RunningServer, order: TurnOrder) {
  let sessionId = "";
  const onStart = (_turnId: string, id: string) => (sessionId = id);
  const answer = await askTurn({ url, agentName: "hello", onStart, ...order });
  return { sessionId, outcome: answer.outcome };
}

/** As if nobody had talked in it for ever. */
function makeOld(dataDirectory: string, sessionId: string): void {
  const names = readdirSync(dataDirectory, { recursive: true, encoding: "utf8" });
  const name = names.find((each) => each.endsWith(join(sessionId, "session.json")));
  if (name === undefined) throw new Error("the turn left no session");
  const file = join(dataDirectory, name);
  const record = JSON.parse(readFileSync(file, "utf8")) as object;
  writeFileSync(file, JSON.stringify({ ...record, lastTurnAtMs: 1 }));
}

interface EndedTurn {
  readonly fromMs: number;
  readonly toMs: number;
}

function lengthOf({ fromMs, toMs }: EndedTurn): number {
  return toMs - fromMs;
}

/** Turns in new sessions, some at once, until they are ended. */
function runTurns(server: RunningServer) {
  const over = new AbortController();
  const ended: EndedTurn[] = [];
  const client = async () => {
    while (!over.signal.aborted) {
      const fromMs = performance.now();
      const { outcome } = await turn(server, { input: "Good morning" });
      if (outcome !== "completed") throw new Error(`a turn ended otherwise: ${outcome}`);
      ended.push({ fromMs, toMs: performance.now() });
    }
  };
  const clients = Promise.all(Array.from({ length: TURNS_AT_ONCE }, client));
  return {
    ended: ended as readonly EndedTurn[],
    async end(): Promise<void> {
      over.abort();
      await clients;
    },
  };
}

function describe(round: Round | undefined): string {
  if (round === undefined) return "";
  const { deleted, left, sweepMs, quietMs, sweptMs } = round;
  const times = [quietMs, sweptMs].map((each) => `${Math.round(median(each))} ms`);
  return (
    `${deleted} gone in ${(sweepMs / 1_000).toFixed(1)} s, ${left} left; ` +
    `a turn took ${times.join(" and meanwhile ")}`
  );
}

function outcomeOf(rounds: readonly Round[], transcriptBytes: number) {
  const quiet = rounds.flatMap(({ quietMs }) => quietMs);
  const swept = rounds.flatMap(({ sweptMs }) => sweptMs);
  return {
    claims: claimsOf(rounds, median(swept) / median(quiet) - 1),
    data: { sessions: SESSIONS, transcriptBytes, rounds },
    sections: [
      `A data directory with ${SESSIONS.toLocaleString("en")} sessions, each with the transcript ` +
        `(${transcriptBytes} bytes) of a real turn. In each of ${ROUNDS} rounds a server is started ` +
        `that may keep ${SWEPT_A_ROUND.toLocaleString("en")} fewer than the one before ` +
        "(`retention.sessionsPerTenant`), and sweeps by itself a minute later. " +
        `${TURNS_AT_ONCE} turns run at once all the time, each in a new session. One more streams ` +
        "in a session that had no turn for longer than any other, and would go first.",
      "## Sweeps",
      table(
        ["may stay", "gone", "left", "MiB freed", "s", "the session in a turn"],
        rounds.map(({ most, deleted, left, freedMib, sweepMs, busyOutcome, busyIsThere }) => [
          String(most),
          String(deleted),
          String(left),
          freedMib.toFixed(1),
          (sweepMs / 1_000).toFixed(1),
          busyIsThere ? `is there, its turn ${busyOutcome}` : "is gone",
        ]),
      ),
      "## Turns, from the request to the end",
      summaryTable("ms", [
        ["in the minute before", summaryOf(quiet)],
        ["during the sweep", summaryOf(swept)],
      ]),
    ],
  };
}

function claimsOf(rounds: readonly Round[], slowdown: number): Claim[] {
  const over = rounds.map(({ left, most }) => left - most);
  const harmed = rounds.filter(({ busyIsThere, busyOutcome }) => {
    return !busyIsThere || !["completed", "left"].includes(busyOutcome);
  });
  return [
    atMost(
      "Sessions above the limit after one sweep, the worst round",
      0,
      Math.max(...over),
      String,
    ),
    atMost("Sessions in a turn that a sweep touched", 0, harmed.length, String),
    atMost(
      "How much longer a turn takes during a sweep, medians",
      SLOWDOWN_LIMIT_RATIO,
      slowdown,
      (ratio) => `${(ratio * 100).toFixed(1)} %`,
    ),
  ];
}
