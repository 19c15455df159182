/**
 * What open pages cost a server that works: turns stream all the time, and the pages are opened and
 * closed in turns.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { median } from "./statistics.ts";
import { askTurn } from "./turn-client.ts";

export const STREAMS = 8;
const TOKENS_PER_SECOND = 40;

/** All that is said of a turn in the script of the model. */
export function streamRule(turnMs: number) {
  return {
    when: { userText: "stream" },
    tokensPerSecond: TOKENS_PER_SECOND,
    reply: [{ tokens: Math.round((turnMs / 1000) * TOKENS_PER_SECOND) }],
  };
}

/** CPU of the server, as part of one core; and how much was streamed meanwhile, which must be alike. */
export interface Worked {
  readonly load: number;
  readonly piecesPerSecond: number;
}

export interface LoadedRound {
  readonly closed: Worked;
  readonly open: Worked;
}

export interface Streams extends AsyncDisposable {
  /** Pieces of text that have come so far, of all turns. */
  readonly pieces: number;
  /** What became of turns that were not completed, e.g. `shed`; empty while all is well. */
  readonly troubles: readonly string[];
}

/** Of all that would come if none of the turns had to start. */
const LEAST_RATIO = 0.75;
/** After a turn that was not completed. */
const PAUSE_MS = 500;
/** Longest wait until all of them stream. */
const BEGIN_LIMIT_MS = 60_000;

/** Keeps so many turns streaming: one that ends is followed by another at once. */
export async function startStreams(url: string, agentName: string): Promise<Streams> {
  const leave = new AbortController();
  const { signal } = leave;
  let pieces = 0;
  const troubles: string[] = [];
  const streaming = new Set<number>();
  const keepOn = async (at: number): Promise<void> => {
    while (!signal.aborted) {
      const onText = () => {
        pieces += 1;
        streaming.add(at);
      };
      const { outcome } = await askTurn({ url, agentName, input: "Stream", onText, signal });
      if (outcome === "completed" || signal.aborted) continue;
      troubles.push(outcome);
      await delay(PAUSE_MS);
    }
  };
  const kept = Array.from({ length: STREAMS }, (_, at) => keepOn(at));
  const end = async (): Promise<void> => {
    leave.abort();
    await Promise.all(kept);
  };
  for (const untilMs = performance.now() + BEGIN_LIMIT_MS; streaming.size < STREAMS;) {
    if (performance.now() > untilMs) {
      await end();
      const why = troubles.join(", ");
      throw new Error(`only ${streaming.size} of ${STREAMS} turns have begun to stream: ${why}`);
    }
    await delay(50);
  }
  return {
    get pieces() {
      return pieces;
    },
    troubles,
    [Symbol.asyncDispose]: end,
  };
}

/** @throws {Error} When too little was streamed for the round to say anything. */
export function mustHaveStreamed({ piecesPerSecond }: Worked, { troubles }: Streams): void {
  const wanted = STREAMS * TOKENS_PER_SECOND;
  if (piecesPerSecond >= LEAST_RATIO * wanted) return;
  const why = troubles.slice(-STREAMS).join(", ");
  throw new Error(`${piecesPerSecond.toFixed(0)} pieces a second came of ${wanted}: ${why}`);
}

/** What the pages cost, of one core: each round is compared with itself. */
export function costOf(rounds: readonly LoadedRound[]): number {
  return median(rounds.map(({ open, closed }) => open.load - closed.load));
}
