/**
 * Sends the turns of a trial, all at once, and follows them: through the public interface, as any
 * client would. One trial at a time; it goes on while other views are shown.
 *
 * @module
 */

import { effect, signal, untracked } from "@preact/signals";
import { ApiError, getJson, send } from "../access/api.ts";
import { feed } from "../replica.ts";
import { sessionPathOf } from "../sessions/session-list.ts";
import { newTrial, promptFor, type Trial, type TrialTurn, withEnds, withTurn } from "./trial.ts";

export interface TrialOrder {
  readonly agent: string;
  readonly count: number;
  /** About how long a turn lasts. */
  readonly seconds: number;
  /** Whether what is shed is sent again when Retry-After says so. */
  readonly comesBack: boolean;
}

/** Null until there was one. */
export const trial = signal<Trial | null>(null);

let running: AbortController | null = null;

/** The last one is forgotten, its turns go on. */
export function startTrial(order: TrialOrder): void {
  running?.abort();
  const end = new AbortController();
  running = end;
  trial.value = newTrial(order.count);
  for (let index = 0; index < order.count; index += 1) void sendTurn(order, index, end.signal);
}

/** Sends no more, and ends those that run. */
export function cancelTrial(): void {
  running?.abort();
  const { turns = [] } = trial.value ?? {};
  for (const [index, turn] of turns.entries()) {
    if (turn.state === "running") void cancel(turn.turnId);
    if (turn.state === "sent" || (turn.state === "shed" && turn.retryAtMs !== null)) {
      setTurn(index, { state: "cancelled" });
    }
  }
}

/** Deletes the sessions that its turns have begun. */
export async function deleteSessions(): Promise<void> {
  const { turns = [] } = trial.value ?? {};
  trial.value = null;
  for (const turn of turns) {
    if (turn.state !== "ended" || turn.sessionId === null) continue;
    await send(sessionPathOf(turn.sessionId), { method: "DELETE" }).catch(() => undefined);
  }
}

effect(() => {
  const ended = new Set(feed.endedTurns.value.map(({ turnId }) => turnId));
  untracked(() => markEnded(ended));
});

function markEnded(ended: ReadonlySet<string>): void {
  if (trial.value !== null) trial.value = withEnds(trial.value, (turnId) => ended.has(turnId));
}

async function sendTurn(order: TrialOrder, index: number, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    const turn = await tryOnce(order, ended);
    if (ended.aborted) {
      // It came on board while everything was being cancelled.
      if (turn.state === "running") await cancel(turn.turnId);
      return;
    }
    setTurn(index, turn);
    if (turn.state !== "shed" || turn.retryAtMs === null) return;
    await until(turn.retryAtMs, ended);
    if (!ended.aborted) setTurn(index, { state: "sent" });
  }
}

interface Accepted {
  readonly turnId: string;
  readonly sessionId: string | null;
}

async function tryOnce({ agent, seconds, comesBack }: TrialOrder, ended: AbortSignal) {
  try {
    const { turnId, sessionId } = await getJson<Accepted>(`/v1/agents/${agent}/turns`, {
      method: "POST",
      headers: { prefer: "respond-async" },
      body: { input: promptFor(seconds) },
    });
    return { state: "running", turnId, sessionId } satisfies TrialTurn;
  } catch (error) {
    if (ended.aborted) return { state: "cancelled" } satisfies TrialTurn;
    return refused(error, comesBack);
  }
}

function refused(error: unknown, comesBack: boolean): TrialTurn {
  if (!(error instanceof ApiError)) return { state: "failed", message: "no answer" };
  const { status, code, message, retryAfterSeconds } = error;
  if (status !== 429 && status !== 503) return { state: "failed", message };
  const retryAtMs =
    comesBack && retryAfterSeconds !== null ? Date.now() + retryAfterSeconds * 1000 : null;
  return { state: "shed", code, retryAfterSeconds, retryAtMs };
}

/** A turn that has ended by itself in the meantime needs no cancelling. */
async function cancel(turnId: string): Promise<void> {
  await send(`/v1/turns/${turnId}/cancel`, { method: "POST" }).catch(() => undefined);
}

function setTurn(index: number, turn: TrialTurn): void {
  if (trial.value === null) return;
  trial.value = withTurn(trial.value, index, turn);
  // A short turn may have ended before the answer that it has begun was here.
  if (turn.state === "running") markEnded(new Set(feed.endedTurns.peek().map((one) => one.turnId)));
}

function until(atMs: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.max(0, atMs - Date.now()));
    ended.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
