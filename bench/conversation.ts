/**
 * A client that has a conversation and is told nothing but what clients are told: it comes back
 * when it was refused, and looks at the session when it lost the stream of a turn, to know whether
 * that was done.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { sessionIdOf } from "../src/session/session-id.ts";
import { type Ask, exchangesOf, type Exchange, questionOf } from "./conversation-check.ts";
import { SERVED_BY } from "./nginx.ts";
import { askTurn, type TurnAnswer } from "./turn-client.ts";

/** Every whole answer ends with it. */
export const ANSWER_END = "Over.";

export interface ConversationWorld {
  readonly url: string;
  readonly agentName: string;
  readonly signal: AbortSignal;
  /** The next number of all that are asked. */
  nextNumber(): number;
  /** After how long a client loses the stream of its next request; null if it does not. */
  dropAfterMs(): number | null;
  /** Which replica an address is. */
  indexOf(address: string): number;
}

export interface ConversationLog {
  readonly asks: Ask[];
  /** How requests for turns ended, other than by a completed turn, and how often. */
  readonly ends: string[];
  /** Streams that were left on purpose. */
  dropped: number;
  /** Turns on another replica than the one before, after that one was killed in its turn; others. */
  takeovers: number;
  moves: number;
  /** Why it could not go on; null if it did. */
  trouble: string | null;
}

/** What has to pass until a session that nobody has any more can be used, and more. */
const PATIENCE_MS = 180_000;
const POLL_MS = 250;

/** Has a conversation of so many turns. Never rejects, but when it is stopped. */
export async function converse(
  world: ConversationWorld,
  conversation: number,
  turns: number,
  log: ConversationLog,
): Promise<void> {
  const client = new Client(world, conversation, log);
  for (let turn = 0; turn < turns && log.trouble === null; turn += 1) {
    while (!(await client.ask()) && log.trouble === null) world.signal.throwIfAborted();
  }
}

export function threadOf(conversation: number): string {
  return `conversation-${conversation}`;
}

class Client {
  readonly #world: ConversationWorld;
  readonly #conversation: number;
  readonly #log: ConversationLog;
  readonly #sessionUrl: string;
  #lastServer = -1;
  #wasBroken = false;

  constructor(world: ConversationWorld, conversation: number, log: ConversationLog) {
    this.#world = world;
    this.#conversation = conversation;
    this.#log = log;
    this.#sessionUrl = sessionUrlOf(world.url, world.agentName, conversation);
  }

  /** Asks one question. @returns Whether it was answered, as far as the client can know. */
  async ask(): Promise<boolean> {
    const number = this.#world.nextNumber();
    const answer = await this.#send(number);
    if (answer?.outcome === "completed") {
      this.#note({ number, fate: "acknowledged", answer: answer.text }, answer);
      return true;
    }
    const found = (await this.#look())?.find((exchange) => exchange.number === number);
    const isWhole = found?.answer.endsWith(ANSWER_END) === true;
    const known = isWhole ? found.answer : "";
    this.#note({ number, fate: isWhole ? "found" : "unknown", answer: known }, answer);
    return isWhole;
  }

  #note(ask: Pick<Ask, "number" | "fate" | "answer">, end: TurnAnswer | null): void {
    const server = this.#world.indexOf(String(end?.headers[SERVED_BY]));
    const note = `${end?.status} ${end?.outcome} on ${server}, ${new Date().toISOString()}`;
    this.#log.asks.push({ ...ask, conversation: this.#conversation, note });
  }

  /** Comes back for as long as it is refused. Null when it is never taken. */
  async #send(number: number): Promise<TurnAnswer | null> {
    const { url, agentName, signal } = this.#world;
    const endAtMs = performance.now() + PATIENCE_MS;
    while (performance.now() < endAtMs) {
      signal.throwIfAborted();
      const dropAfterMs = this.#world.dropAfterMs();
      const answer = await askTurn({
        url,
        agentName,
        input: questionOf(number),
        threadId: threadOf(this.#conversation),
        ...(dropAfterMs !== null && { signal: AbortSignal.timeout(dropAfterMs) }),
      });
      const retryAfter = answer.headers["retry-after"];
      const isRefused = answer.status >= 400 && retryAfter !== undefined;
      const word = answer.shed ?? answer.outcome.replace("refused: ", "");
      if (isRefused) {
        this.#log.ends.push(`${answer.status} ${word}`);
        await delay(Number(retryAfter) * 1_000);
        continue;
      }
      this.#heard(answer, word);
      return answer;
    }
    this.#log.trouble = "its turn was refused for too long";
    return null;
  }

  #heard(answer: TurnAnswer, word: string): void {
    const { outcome, headers, startedAtMs } = answer;
    if (outcome === "left") this.#log.dropped += 1;
    else if (outcome !== "completed") this.#log.ends.push(`${answer.status} ${word}`);
    if (startedAtMs === null) return;
    const server = this.#world.indexOf(String(headers[SERVED_BY]));
    if (this.#lastServer !== -1 && server !== this.#lastServer) {
      if (this.#wasBroken) this.#log.takeovers += 1;
      else this.#log.moves += 1;
    }
    this.#lastServer = server;
    this.#wasBroken = outcome === "broken";
  }

  /** What was said, once nobody has the session. Null when that never comes. */
  async #look(): Promise<readonly Exchange[] | null> {
    const endAtMs = performance.now() + PATIENCE_MS;
    while (performance.now() < endAtMs) {
      this.#world.signal.throwIfAborted();
      const seen = await readSession(this.#sessionUrl);
      if (seen === "none") return [];
      if (seen !== "unavailable" && !seen.isBusy) return seen.exchanges;
      await delay(POLL_MS);
    }
    this.#log.trouble ??= "its session could not be looked at for too long";
    return null;
  }
}

export interface SeenSession {
  readonly isBusy: boolean;
  readonly isWhole: boolean;
  readonly exchanges: readonly Exchange[];
}

interface SessionBody {
  readonly isBusy: boolean;
  readonly isComplete: boolean;
  readonly skippedLines: number;
  readonly messages: readonly {
    readonly role: string;
    readonly parts: readonly { readonly type: string; readonly text?: string }[];
  }[];
}

/** `none` where the server says that there is no such session; `unavailable` where it says nothing. */
export async function readSession(url: string): Promise<SeenSession | "none" | "unavailable"> {
  try {
    const response = await fetch(url);
    const body = await response.text();
    if (response.status === 404 || response.status === 410) return "none";
    if (!response.ok) return "unavailable";
    const { isBusy, isComplete, skippedLines, messages } = JSON.parse(body) as SessionBody;
    const said = messages.map(({ role, parts }) => ({
      role,
      text: parts.map(({ text = "" }) => text).join(""),
    }));
    const isWhole = isComplete && skippedLines === 0;
    return { isBusy, isWhole, exchanges: exchangesOf(said) };
  } catch {
    return "unavailable";
  }
}

export function sessionUrlOf(url: string, agentName: string, conversation: number): string {
  return `${url}/v1/sessions/${sessionIdOfThread(agentName, conversation)}`;
}

export function sessionIdOfThread(agentName: string, conversation: number): string {
  return sessionIdOf({ tenant: "default", agentName, threadId: threadOf(conversation) });
}
