/**
 * What AG-UI calls connecting: a client that comes to a thread, with or without messages of it,
 * gets those that it lacks, and follows the run if there is one.
 *
 *     RUN_STARTED ─▶ MESSAGES_SNAPSHOT ─▶ the run from its first event, live ─▶ its end
 *
 * A client that has a part of the run already would add to it what it is sent; the snapshot, which
 * has nothing of the run, takes that from it first.
 *
 * @module
 */

import { EventType, type Message } from "@ag-ui/core";
import { z } from "zod";
import type { AppError } from "../lib/errors.ts";
import type { TurnEvent } from "../turn/turn.ts";
import type { AguiRun } from "./agui-decode.ts";
import type { AguiFrame } from "./agui-encode.ts";
import { checkInput, clientIdSchema, invalidBody } from "./input.ts";

const MAX_MESSAGES = 10_000;

const connectSchema = z.object({
  threadId: clientIdSchema,
  runId: clientIdSchema,
  protocolVersion: z.string().max(32).nullish(),
  messages: z
    .array(z.object({ id: z.string(), role: z.string(), content: z.unknown().optional() }))
    .max(MAX_MESSAGES)
    .nullish(),
});

/** A message that the client has, as far as it is looked at. */
export interface ClientMessage {
  readonly id: string;
  readonly role: string;
  readonly content?: unknown;
}

export interface AguiConnect {
  readonly run: AguiRun;
  readonly messages: readonly ClientMessage[];
}

/** @throws {AppError} `invalid_request`, with the places that do not fit. */
export function decodeAguiConnect(body: unknown): AguiConnect {
  const checked = checkInput(connectSchema, body);
  if (!checked.ok) throw invalidBody(checked.errors);
  const { threadId, runId, protocolVersion, messages } = checked.value;
  const version = typeof protocolVersion === "string" ? { protocolVersion } : {};
  return { run: { threadId, runId, ...version }, messages: messages ?? [] };
}

/**
 * The messages that a client with these is to have. A snapshot leaves in place what has the same id,
 * appends what is new, and removes the rest; what the client called its own messages we never knew.
 * So those that say the same in the same order keep its names, or they would change places.
 */
export function namedAsIn(stored: readonly Message[], has: readonly ClientMessage[]): Message[] {
  const said = has.filter(({ role }) => role === "user");
  let next = 0;
  return stored.map((message) => {
    if (message.role !== "user") return message;
    const at = said.findIndex(({ content }, index) => index >= next && content === message.content);
    const known = said[at];
    if (known === undefined) return message;
    next = at + 1;
    return { ...message, id: known.id };
  });
}

/**
 * What the client has seen of the model's thoughts, where some are of a turn that will be sent from
 * its first event: those are emptied, or they would be there twice. A snapshot with one thought is
 * taken for one with all of them, and without any it leaves them alone.
 *
 * @param events Of the turn, as far as the client can have seen them.
 */
export function thoughtsAsIn(
  events: readonly TurnEvent[],
  has: readonly ClientMessage[],
): Message[] {
  const ids = new Set(events.flatMap((event) => ("messageId" in event ? [event.messageId] : [])));
  const thoughts = has.flatMap(({ id, role, content }) => {
    if (role !== "reasoning") return [];
    const isSentAgain = ids.has(id) || typeof content !== "string";
    return [{ id, role: "reasoning" as const, content: isSentAgain ? "" : content }];
  });
  return thoughts.some(({ id }) => ids.has(id)) ? thoughts : [];
}

/** Puts the snapshot behind the start of the run. */
export async function* withSnapshot(
  frames: AsyncIterable<AguiFrame>,
  messages: readonly Message[],
): AsyncGenerator<AguiFrame, void, undefined> {
  for await (const frame of frames) {
    yield frame;
    if (frame.event.type !== EventType.RUN_STARTED) continue;
    yield { event: { type: EventType.MESSAGES_SNAPSHOT, messages: [...messages] } };
  }
}

/**
 * A run in which nothing happens but that the client gets what is stored.
 *
 * @param failure Why it cannot have more than that; null where that is all there is.
 */
export async function* storedRun(
  run: AguiRun,
  protocolVersion: string,
  snapshot: readonly Message[],
  failure: AppError | null = null,
): AsyncGenerator<AguiFrame, void, undefined> {
  const { threadId, runId } = run;
  yield { event: { type: EventType.RUN_STARTED, threadId, runId, protocolVersion } };
  yield { event: { type: EventType.MESSAGES_SNAPSHOT, messages: [...snapshot] } };
  if (failure === null) {
    const outcome = { type: "success" } as const;
    yield { event: { type: EventType.RUN_FINISHED, threadId, runId, outcome } };
    return;
  }
  yield brokenRun(failure);
}

/** The end of a run that nothing more is known of. */
export function brokenRun({ code, message, spec }: AppError): AguiFrame {
  const metadata = { retryable: spec.retryable, remedy: spec.remedy };
  return { event: { type: EventType.RUN_ERROR, code, message, metadata } };
}
