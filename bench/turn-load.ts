/**
 * Offers turns by the clock, whether the ones before were admitted or not, and tells what became
 * of them. What is said of the answers is pure.
 *
 * @module
 */

import { setMaxListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { askTurn, type TurnAnswer } from "./turn-client.ts";

export interface Offer {
  readonly url: string;
  readonly agentName: string;
  readonly ratePerSecond: number;
  readonly durationMs: number;
  /** What the turn of this number says. */
  readonly input: (at: number) => string;
  /** Looked at all the time; true ends the offer, and leaves what still runs. */
  readonly isOver?: (progress: Progress) => boolean;
}

export interface Progress {
  /** Turns that have been admitted and have not ended. */
  readonly inFlight: number;
  /** When the last piece of text of any turn came, or the first turn was admitted. */
  readonly lastTextAtMs: number | null;
}

export interface Offered {
  readonly beganAtMs: number;
  /** When the last turn was offered. */
  readonly untilMs: number;
  readonly answers: readonly TurnAnswer[];
}

const TICK_MS = 5;
/** What turns that were admitted in time have to end. */
const END_LIMIT_MS = 30_000;

export async function offerTurns(offer: Offer, signal: AbortSignal): Promise<Offered> {
  const { url, agentName, ratePerSecond, durationMs, input, isOver = () => false } = offer;
  const answers: TurnAnswer[] = [];
  const running = new Set<Promise<void>>();
  const leave = new AbortController();
  setMaxListeners(0, leave.signal);
  let inFlight = 0;
  let lastTextAtMs: number | null = null;
  const ask = async (at: number): Promise<void> => {
    let isAdmitted = false;
    const onStart = () => {
      isAdmitted = true;
      inFlight += 1;
      lastTextAtMs ??= performance.now();
    };
    const onText = (atMs: number) => (lastTextAtMs = atMs);
    const call = { url, agentName, input: input(at), onStart, onText, signal: leave.signal };
    answers.push(await askTurn(call));
    if (isAdmitted) inFlight -= 1;
  };

  const beganAtMs = performance.now();
  const mayGoOn = () => !signal.aborted && !isOver({ inFlight, lastTextAtMs });
  for (let made = 0; performance.now() - beganAtMs < durationMs && mayGoOn();) {
    const due = Math.floor(((performance.now() - beganAtMs) / 1_000) * ratePerSecond);
    for (; made <= due; made += 1) {
      const asked = ask(made);
      running.add(asked);
      void asked.then(() => running.delete(asked));
    }
    await delay(TICK_MS);
  }
  const untilMs = performance.now();
  while (running.size > 0 && performance.now() - untilMs < END_LIMIT_MS && mayGoOn()) {
    await delay(TICK_MS);
  }
  leave.abort();
  await Promise.all(running);
  signal.throwIfAborted();
  return { beganAtMs, untilMs, answers };
}

/** A number that holds from a moment on, until the next. */
export interface Step {
  readonly atMs: number;
  readonly value: number;
}

/** How many turns were in flight, as their callers saw it: admitted, and not ended. */
export function inFlightOver(answers: readonly TurnAnswer[]): Step[] {
  return countOver(answers, ({ startedAtMs }) => startedAtMs);
}

/** How many of them had text already. */
export function streamingOver(answers: readonly TurnAnswer[]): Step[] {
  return countOver(answers, ({ textAtMs }) => textAtMs[0] ?? null);
}

function countOver(
  answers: readonly TurnAnswer[],
  fromOf: (answer: TurnAnswer) => number | null,
): Step[] {
  const changes = answers.flatMap((answer) => {
    const fromMs = fromOf(answer);
    if (fromMs === null) return [];
    return [
      { atMs: fromMs, by: 1 },
      { atMs: answer.endedAtMs, by: -1 },
    ];
  });
  changes.sort((a, b) => a.atMs - b.atMs);
  let value = 0;
  return changes.map(({ atMs, by }) => ({ atMs, value: (value += by) }));
}

/** The value at equal distances of time. */
export function sampled(
  steps: readonly Step[],
  { fromMs, toMs, everyMs }: { fromMs: number; toMs: number; everyMs: number },
): number[] {
  const values: number[] = [];
  let next = 0;
  let value = 0;
  for (let atMs = fromMs; atMs < toMs; atMs += everyMs) {
    for (; next < steps.length && (steps[next]?.atMs ?? 0) <= atMs; next += 1) {
      value = steps[next]?.value ?? 0;
    }
    values.push(value);
  }
  return values;
}

const SECOND_MS = 1_000;

/**
 * Seconds in which at least half of the turns that were streaming, and one or more were, received
 * nothing: the sign of a replica that only reads its own programs from the disk again.
 */
export function stalledSeconds(answers: readonly TurnAnswer[], fromMs: number, toMs: number) {
  let stalled = 0;
  for (let atMs = fromMs; atMs + SECOND_MS <= toMs; atMs += SECOND_MS) {
    const streaming = answers.filter(({ textAtMs, endedAtMs, outcome }) => {
      // A turn that completed has had its last text; of any other, more was to come.
      const lastMs = outcome === "completed" ? textAtMs.at(-1) : endedAtMs;
      return (textAtMs[0] ?? Infinity) <= atMs && (lastMs ?? 0) >= atMs + SECOND_MS;
    });
    const silent = streaming.filter(
      ({ textAtMs }) => !textAtMs.some((at) => at >= atMs && at < atMs + SECOND_MS),
    );
    if (streaming.length > 0 && silent.length * 2 >= streaming.length) stalled += 1;
  }
  return stalled;
}

/** How often each thing was said. */
export function tally(words: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
