/**
 * Turns with transcripts of all lengths and tools of several kinds, through a real server that
 * knows nothing at first and is started again on the way.
 *
 * @module
 */

import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createParser } from "eventsource-parser";
import type { TracedTurn } from "./footprint-replay.ts";
import { lengthenTranscript, transcriptPathOf } from "../src/sizing/measure/long-transcript.ts";
import { startModel, startServer } from "./processes.ts";
import { randomFrom } from "./statistics.ts";

const MIB = 2 ** 20;
/** Of the sessions; most are short, as they are in use. */
const TRANSCRIPT_MIB = [
  0, 0, 0, 0, 0, 0, 0.1, 0.25, 0.5, 0.5, 1, 1, 1.5, 2, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20,
];
const TURNS_A_SESSION = 6;
export const TURNS_AT_ONCE = 3;
const LOG_LIMIT_MS = 5_000;

/** What turns do, and how many in ten of them. */
const KINDS = {
  talk: 2,
  "long talk": 1,
  echo: 2,
  read: 1,
  search: 1,
  sort: 1,
  print: 1,
  node: 1,
} as const;
type Kind = keyof typeof KINDS;

/** A turn, and what the server said of it. */
export interface PredictedTurn extends TracedTurn {
  readonly predictedBytes: number;
}

interface Session {
  readonly sessionId: string;
  readonly targetBytes: number;
  turnsLeft: number;
  isBusy: boolean;
}

export interface RunInput {
  readonly directory: string;
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
}

export async function runTurns({ directory, report, signal }: RunInput): Promise<PredictedTurn[]> {
  const files = { agent: join(directory, "agent.yaml"), notes: join(directory, "notes.txt") };
  writeFileSync(files.agent, AGENT);
  writeFileSync(files.notes, "The mark says how much she may carry.\n".repeat(2_000));
  await using model = await startModel(directory, scriptOf(files.notes));
  const place = { directory, environment: model.environment, agentFile: files.agent };
  const random = randomFrom(20);
  const clock = performance.now();

  report(`${TRANSCRIPT_MIB.length} first turns, from nothing`);
  const sessions: Session[] = [];
  const first = await withServer(place, "first", clock, async (ask) => {
    const wanted = TRANSCRIPT_MIB.values();
    await atOnce(async () => {
      for (const mebibytes of wanted) {
        signal.throwIfAborted();
        const { sessionId } = await ask(kindFrom(random));
        const targetBytes = mebibytes * MIB;
        sessions.push({ sessionId, targetBytes, turnsLeft: TURNS_A_SESSION, isBusy: false });
      }
    });
  });
  for (const { sessionId, targetBytes } of sessions) {
    lengthenTranscript(transcriptPathOf(join(directory, "data"), sessionId), targetBytes);
  }
  report(`${sessions.length * TURNS_A_SESSION} turns that resume transcripts, started again`);
  const second = await withServer(place, "second", clock, (ask) =>
    atOnce(async () => {
      for (;;) {
        signal.throwIfAborted();
        const left = sessions.filter(({ turnsLeft }) => turnsLeft > 0);
        if (left.length === 0) return;
        const free = left.filter(({ isBusy }) => !isBusy);
        const session = free[Math.floor(random() * free.length)];
        if (session === undefined) {
          await delay(20);
          continue;
        }
        session.isBusy = true;
        session.turnsLeft -= 1;
        await ask(kindFrom(random), session.sessionId);
        session.isBusy = false;
      }
    }),
  );
  return [...first, ...second];
}

type Ask = (kind: Kind, sessionId?: string) => Promise<{ readonly sessionId: string }>;

interface Place {
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly agentFile: string;
}

/** What was asked, before the server's log is read. */
type Asked = Omit<TracedTurn, "peakBytes" | "endedForMemory"> & { readonly turnId: string };

/** Starts the server on the data there is; the turns are told by its log. */
async function withServer(
  { directory, environment, agentFile }: Place,
  name: string,
  clock: number,
  use: (ask: Ask) => Promise<void>,
): Promise<PredictedTurn[]> {
  const dataDirectory = join(directory, "data");
  const logFile = join(directory, `${name}.log`);
  const asked: Asked[] = [];
  await using server = await startServer({ agentFile, dataDirectory, environment, logFile });
  await use(async (kind, sessionId) => {
    const input = `Do ${kind}.`;
    const transcriptBytes =
      sessionId === undefined ? 0 : statSync(transcriptPathOf(dataDirectory, sessionId)).size;
    const startedAtMs = Math.round(performance.now() - clock);
    const answer = await askTurn(server.url, input, sessionId);
    const endedAtMs = Math.round(performance.now() - clock);
    const carriedBytes = transcriptBytes + input.length;
    asked.push({ kind, carriedBytes, startedAtMs, endedAtMs, turnId: answer.turnId });
    return answer;
  });
  return await toldBy(logFile, asked);
}

/** The last lines may be a moment late. */
async function toldBy(logFile: string, asked: readonly Asked[]): Promise<PredictedTurn[]> {
  const untilMs = performance.now() + LOG_LIMIT_MS;
  for (;;) {
    const lines = readFileSync(logFile, "utf8").split("\n").slice(0, -1);
    const ends = new Map<unknown, EndLine>();
    for (const line of lines) {
      const fields = JSON.parse(line) as EndLine;
      if (fields.outcome !== undefined) ends.set(fields.turnId, fields);
    }
    const turns = asked.flatMap(({ turnId, ...turn }) => {
      const { peakBytes, predictedBytes } = ends.get(turnId) ?? {};
      if (typeof peakBytes !== "number" || typeof predictedBytes !== "number") return [];
      return [{ ...turn, peakBytes, predictedBytes, endedForMemory: false }];
    });
    if (turns.length === asked.length) return turns;
    if (performance.now() > untilMs) throw new Error("the log does not tell of every turn");
    await delay(50);
  }
}

interface EndLine {
  readonly turnId?: unknown;
  readonly outcome?: unknown;
  readonly peakBytes?: unknown;
  readonly predictedBytes?: unknown;
}

async function atOnce(work: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: TURNS_AT_ONCE }, work));
}

/** @throws {Error} When the turn was refused, or did not complete. */
async function askTurn(url: string, input: string, sessionId?: string) {
  const response = await fetch(`${url}/v1/agents/worker/turns`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({ input, ...(sessionId !== undefined && { sessionId }) }),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`a turn was answered: ${text}`);
  const events = new Map<string | undefined, unknown>();
  createParser({ onEvent: ({ event, data }) => void events.set(event, JSON.parse(data)) }).feed(
    text,
  );
  const started = events.get("turn_started") as { turnId: string; sessionId: string };
  const { outcome } = events.get("turn_ended") as { outcome: { status: string } };
  if (outcome.status !== "completed") throw new Error(`a turn ended: ${outcome.status}`);
  return started;
}

function kindFrom(random: () => number): Kind {
  const all = Object.entries(KINDS).flatMap(([kind, times]) =>
    Array<Kind>(times).fill(kind as Kind),
  );
  return all[Math.floor(random() * all.length)] ?? "talk";
}

const AGENT = `
name: worker
description: Does what it is told.
model:
  provider: anthropic
  id: claude-sonnet-5
instructions: Work.
tools:
  builtin: [Bash, Read, Grep]
`;

function scriptOf(notes: string) {
  // Small, so that Claude Code does not think that its context is full.
  const usage = { inputTokens: 10, outputTokens: 10, cacheReadTokens: 90, cacheCreationTokens: 0 };
  const bash = (command: string) => ({ name: "Bash", input: { command, description: "Work" } });
  const grep = { pattern: "mark", path: notes, ["output_mode"]: "content" };
  const tools: readonly (readonly [Kind, object])[] = [
    ["echo", bash("echo hello")],
    ["read", { name: "Read", input: { ["file_path"]: notes, limit: 500 } }],
    ["search", { name: "Grep", input: grep }],
    ["sort", bash("seq 100000 | sort -rn | head -3; sleep 0.3")],
    ["print", bash("seq 1 5000")],
    ["node", bash("node -e 'setTimeout(() => console.log(1), 200)'")],
  ];
  return {
    defaults: { firstTokenMs: 300, tokensPerSecond: 100 },
    rules: [
      ...tools.map(([kind, tool]) => ({
        when: { userText: `Do ${kind}.`, afterTool: false },
        reply: [{ tool }],
        usage,
      })),
      { when: { userText: "Do long talk." }, reply: [{ tokens: 400 }], usage },
      { reply: [{ tokens: 100 }], usage },
    ],
  };
}
