/**
 * Goal: a server holds no more after many turns than after few, however they ended.
 * Method: the built program is asked, before and after, what is left on its heap: objects of the
 * kinds that turns are made of, handles, listeners, bytes.
 */

import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { TurnEvent } from "../../src/turn/turn.ts";
import { claudeOf, until } from "../helpers/leaks.ts";
import { startServerProcess, type ServerProcess } from "../helpers/server.ts";
import { stream, type TurnStream } from "./client.ts";

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 2000 }
rules:
  - when: { afterTool: true }
    reply: [{ text: "{{toolResult}}" }]
  - when: { userText: add }
    reply:
      - tool: { name: add, input: { a: 1, b: 2 } }
  - when: { userText: wait }
    reply:
      - tool: { name: wait, input: {} }
  - when: { userText: hang }
    hangAfterTokens: 3
    reply: [{ tokens: 10 }]
  - reply: [{ text: "Turn {{turnCount}}" }]
`;
const AGENT = `
name: helper
instructions: You are a test.
tools: { functions: [$FIXTURES/tools.js] }
`;

/** What is asked, and what then becomes of the turn. */
const TURNS: readonly (readonly [input: string, then: (turn: TurnStream) => Promise<unknown>])[] = [
  ["Hello", (turn) => turn.outcome()],
  ["Please add", (turn) => turn.outcome()],
  ["Hello, goodbye", async (turn) => turn.leave()],
  ["Hang, and I leave", (turn) => has(turn, "text_delta").then(() => turn.leave())],
  ["Wait, and I leave", (turn) => has(turn, "tool_call_ended").then(() => turn.leave())],
  ["Hang until cancelled", (turn) => has(turn, "text_delta").then(() => cancel(turn))],
  ["Hang until killed", (turn) => has(turn, "text_delta").then(() => kill(turn))],
];

/** How often each of them is in a wave: more than ten at once, past which Node warns of listeners. */
const EACH = 2;
const WAVES = 3;
/** What a turn may leave on the heap: code that was compiled for it, figures of metrics. */
const MOST_BYTES_OF_TURN = 20_000;

/** For one wait, on a loaded machine. */
const LONG_MS = 60_000;

interface Held {
  readonly held: Readonly<Record<string, number>>;
  readonly heapBytes: number;
  readonly warnings: readonly string[];
}

let server: ServerProcess;
beforeAll(async () => {
  const preload = pathToFileURL(join(import.meta.dirname, "what-is-held.mjs")).href;
  server = await startServerProcess({
    script: SCRIPT,
    agents: [AGENT],
    environment: { NODE_OPTIONS: `--import ${preload}` },
    settings: {
      "capacity.memoryLimit": "16GiB",
      "agentProcess.startTime": "1m",
      "agentProcess.endGrace": "500ms",
      "http.streamsPerCaller": "100",
      "http.requestTime": "1m",
      // What is held on purpose for a while after a turn is not what this is about.
      "journal.keepTime": "0s",
    },
  });
});
afterAll(async () => server[Symbol.asyncDispose](), LONG_MS);

describe("a server that ran many turns, most of them cut off", () => {
  it("holds what it held after the first ones, and warned of nothing", async () => {
    await runWaves(2);
    const before = await count();
    await runWaves(WAVES);
    let after = await count();
    // A connection that broke off is forgotten a moment later.
    for (let again = 0; again < 30 && growth(before, after).length > 0; again++) {
      await delay(200);
      after = await count();
    }
    const { warnings } = after;
    expect({ growth: growth(before, after), warnings }).toEqual({ growth: [], warnings: [] });
    const turns = WAVES * EACH * TURNS.length;
    expect((after.heapBytes - before.heapBytes) / turns).toBeLessThan(MOST_BYTES_OF_TURN);
  }, 240_000);
});

/** Turns of every kind at once, again and again; resolves when nothing of them is left. */
async function runWaves(waves: number): Promise<void> {
  for (let wave = 0; wave < waves; wave++) {
    await Promise.all(Array.from({ length: EACH }, (_, nth) => TURNS.map(runTurn(nth))).flat());
    await until(async () => (await server.capacity()).inflight === 0, "every permit", LONG_MS);
  }
}

/** The same sessions in every wave. */
function runTurn(nth: number) {
  return async ([input, then]: (typeof TURNS)[number], kind: number): Promise<void> => {
    const turn = await stream(server, input, { threadId: `${nth} ${kind}` });
    await then(turn);
    await turn.closed.catch(() => undefined);
  };
}

/** Not `turn.until`: so many turns at once may take longer to begin. */
async function has(turn: TurnStream, type: TurnEvent["type"]): Promise<void> {
  await until(() => turn.events.some((event) => event.type === type), `the event ${type}`, LONG_MS);
}

async function cancel({ turnId }: TurnStream): Promise<void> {
  await fetch(`${server.url}/v1/turns/${turnId}/cancel`, { method: "POST" });
}

async function kill({ turnId }: TurnStream): Promise<void> {
  process.kill(await claudeOf(turnId), "SIGKILL");
}

async function count(): Promise<Held> {
  const counted = () => server.logs.filter(({ msg }) => msg === "Counted");
  const already = counted().length;
  server.signal("SIGUSR2");
  await until(() => counted().length > already, "the server to have counted", LONG_MS);
  return counted().at(-1) as unknown as Held;
}

function growth(before: Held, after: Held): string[] {
  return Object.entries(after.held).flatMap(([name, left]) => {
    const more = left - (before.held[name] ?? 0);
    return more > 0 ? [`${more} ${name}`] : [];
  });
}
