/**
 * Whether conversations were kept: what their clients know, against what the model was asked and
 * what is in the transcripts at the end. Pure.
 *
 * @module
 */

import { isFromClaudeCode, type Message } from "../src/rehearsal/conversation.ts";

/** A question that a client has sent. Its number is in no other, and later ones have higher. */
export interface Ask {
  readonly number: number;
  readonly conversation: number;
  /**
   * What the client knows of it: it read the end of the turn, it found the whole answer in the
   * session, or neither; then the turn may have run or not.
   */
  readonly fate: "acknowledged" | "found" | "unknown";
  /** The answer that it read or found; empty for one that is unknown. */
  readonly answer: string;
  /** For whoever looks into a fault: where it ran and how its stream ended. */
  readonly note?: string;
}

/** A question and what was answered to it, which is empty if nothing was. */
export interface Exchange {
  readonly number: number;
  readonly answer: string;
}

/** What the model was asked: the newest question, and all that came before. */
export interface ModelRequest {
  readonly number: number;
  readonly history: readonly Exchange[];
}

export interface Faults {
  /** Turns that a client knew to be done, and that are not in the transcript. */
  readonly lost: readonly number[];
  /** Questions that are in the transcript more than once. */
  readonly doubled: readonly number[];
  /** Those before an earlier one. */
  readonly outOfOrder: readonly number[];
  /** Answers that are not what the client read. */
  readonly altered: readonly number[];
  /** In a transcript that nobody asked them in. */
  readonly foreign: readonly number[];
}

/** The words of a question, by which it is known again. */
export function questionOf(number: number): string {
  return `Question ${number}, please.`;
}

export function numbersIn(text: string): number[] {
  return [...text.matchAll(/Question (\d+), please\./g)].map(([, digits]) => Number(digits));
}

/** What was said, by whom; several questions stand together where one had no answer. */
export interface Said {
  readonly role: string;
  readonly text: string;
}

export function exchangesOf(messages: readonly Said[]): Exchange[] {
  const exchanges: { number: number; answer: string }[] = [];
  for (const { role, text } of messages) {
    const last = exchanges.at(-1);
    if (role === "assistant" && last !== undefined) last.answer += text;
    if (role !== "user") continue;
    exchanges.push(...numbersIn(text).map((number) => ({ number, answer: "" })));
  }
  return exchanges;
}

/** Null for a request that is none of ours. */
export function modelRequestOf(messages: readonly Message[]): ModelRequest | null {
  const exchanges = exchangesOf(messages.map(saidIn));
  const newest = exchanges.at(-1);
  if (newest === undefined) return null;
  return { number: newest.number, history: exchanges.slice(0, -1) };
}

/** What Claude Code has the model read in place of an answer where a turn was interrupted. */
const NO_ANSWER = "No response requested.";

function saidIn({ role, content }: Message): Said {
  if (typeof content === "string") return { role, text: content === NO_ANSWER ? "" : content };
  const texts = content
    .map(({ text = "" }) => text)
    .filter((text) => !isFromClaudeCode(text) && text !== NO_ANSWER);
  return { role, text: texts.join("") };
}

/**
 * What is wrong with a conversation as it stands.
 *
 * @param asked By its client, the earliest first.
 */
export function faultsOf(asked: readonly Ask[], found: readonly Exchange[]): Faults {
  const numbers = found.map(({ number }) => number);
  const answers = new Map(found.map(({ number, answer }) => [number, answer]));
  const known = new Set(asked.map(({ number }) => number));
  const done = asked.filter(({ fate }) => fate !== "unknown");
  const isThere = ({ number }: Ask) => answers.has(number);
  return {
    lost: done.filter((ask) => !isThere(ask)).map(({ number }) => number),
    doubled: numbers.filter((number, at) => numbers.indexOf(number) < at),
    outOfOrder: numbers.filter((number, at) => number < Math.max(...numbers.slice(0, at))),
    altered: done
      .filter((ask) => isThere(ask) && answers.get(ask.number) !== ask.answer)
      .map(({ number }) => number),
    foreign: numbers.filter((number) => !known.has(number)),
  };
}

export interface ModelFaults {
  /** Questions that the model was asked more than once. */
  readonly ranTwice: readonly number[];
  /** Questions that came with another history than the one that their client had then. */
  readonly wrongHistory: readonly number[];
}

/** @param asks All of a run. */
export function modelFaultsOf(
  asks: readonly Ask[],
  requests: readonly ModelRequest[],
): ModelFaults {
  const byNumber = new Map(asks.map((ask) => [ask.number, ask]));
  const byConversation = new Map<number, Ask[]>();
  for (const ask of asks) {
    const others = byConversation.get(ask.conversation);
    if (others === undefined) byConversation.set(ask.conversation, [ask]);
    else others.push(ask);
  }
  const seen = new Set<number>();
  const ranTwice: number[] = [];
  const wrongHistory: number[] = [];
  for (const { number, history } of requests) {
    if (seen.has(number)) ranTwice.push(number);
    seen.add(number);
    const ask = byNumber.get(number);
    const all = byConversation.get(ask?.conversation ?? -1) ?? [];
    const before = all.filter((each) => each.number < number);
    if (ask === undefined || isWrong(faultsOf(before, history))) wrongHistory.push(number);
  }
  return { ranTwice, wrongHistory };
}

function isWrong(faults: Faults): boolean {
  return Object.values(faults).some((numbers: readonly number[]) => numbers.length > 0);
}
