/**
 * A client of the REST protocol, with nothing of the server's own code: `fetch` and an independent
 * parser of event streams.
 *
 * @module
 */

import { EventSourceParserStream } from "eventsource-parser/stream";
import { expect } from "vitest";

import type { RestOutcome } from "../../src/protocol/rest.ts";
import type { TurnEvent, TurnOutcome } from "../../src/turn/turn.ts";
import { until } from "../helpers/leaks.ts";

export interface Asking {
  readonly agent?: string;
  readonly threadId?: string;
  readonly sessionId?: string;
  readonly accept?: string;
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** A problem document, as far as tests look at it. */
export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly retryAfter?: number;
  readonly [extension: string]: unknown;
}

const PROBLEM = "application/problem+json";

type At = { readonly url: string };

/** Posts a turn; the answer comes with its headers, the body perhaps later. */
export function post(server: At, input: unknown, asking: Asking = {}): Promise<Response> {
  const { agent = "helper", threadId, sessionId, accept = "application/json", key } = asking;
  return fetch(`${server.url}/v1/agents/${agent}/turns`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept,
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...asking.headers,
    },
    body: JSON.stringify({ input, threadId, sessionId }),
    ...(asking.signal !== undefined && { signal: asking.signal }),
  });
}

/** A whole turn as JSON; fails the test when it was refused. */
export async function ask(server: At, input: unknown, asking: Asking = {}): Promise<RestOutcome> {
  const response = await post(server, input, asking);
  const body: unknown = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(200);
  return body as RestOutcome;
}

/** The refusal of a turn; fails the test when it was taken. */
export async function refusal(response: Response | Promise<Response>): Promise<Problem> {
  const answer = await response;
  const body = (await answer.json()) as Problem;
  expect(answer.headers.get("content-type"), JSON.stringify(body)).toContain(PROBLEM);
  expect(body.status).toBe(answer.status);
  return body;
}

/** Starts a turn as a stream of events; resolves when it was admitted. */
export async function stream(server: At, input: unknown, asking: Asking = {}): Promise<TurnStream> {
  const leave = new AbortController();
  const response = await post(server, input, {
    ...asking,
    accept: "text/event-stream",
    signal: leave.signal,
  });
  if (!response.ok) expect.fail(`The turn was refused: ${await response.text()}`);
  return new TurnStream(response, leave);
}

export class TurnStream {
  readonly turnId: string;
  readonly events: TurnEvent[] = [];
  /** When each event came, by the clock of `performance.now()`. */
  readonly atMs: number[] = [];
  heartbeats = 0;
  /** Resolves when the stream is closed; rejects when its connection broke. */
  readonly closed: Promise<void>;
  readonly #leave: AbortController;
  #isClosed = false;

  constructor(response: Response, leave: AbortController) {
    this.turnId = response.headers.get("x-turn-id") ?? "";
    this.#leave = leave;
    this.closed = this.#read(response).finally(() => {
      this.#isClosed = true;
    });
    this.closed.catch(() => undefined);
  }

  /** Waits for an event of this type. */
  async until<Type extends TurnEvent["type"]>(
    type: Type,
  ): Promise<Extract<TurnEvent, { type: Type }>> {
    const find = () =>
      this.events.find((event): event is Extract<TurnEvent, { type: Type }> => event.type === type);
    await until(() => this.#isClosed || find() !== undefined, `the event ${type}`, 45_000);
    const found = find();
    if (found === undefined) expect.fail(`The stream ended without ${type}`);
    return found;
  }

  /** Reads to the end; fails the test unless the last event, and no other, ends the turn. */
  async outcome(): Promise<TurnOutcome> {
    await this.closed;
    const ends = this.events.filter((event) => event.type === "turn_ended");
    expect(ends).toHaveLength(1);
    const last = this.events.at(-1);
    if (last?.type !== "turn_ended") expect.fail("The last event does not end the turn");
    return last.outcome;
  }

  /** The text of all messages together. */
  text(): string {
    return this.events.map((event) => (event.type === "text_delta" ? event.delta : "")).join("");
  }

  leave(): void {
    this.#leave.abort();
  }

  async #read(response: Response): Promise<void> {
    const frames = (response.body ?? new ReadableStream<Uint8Array<ArrayBuffer>>())
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream({ onComment: () => (this.heartbeats += 1) }));
    for await (const frame of frames) {
      const event = JSON.parse(frame.data) as TurnEvent;
      expect(frame.event).toBe(event.type);
      this.events.push(event);
      this.atMs.push(performance.now());
    }
  }
}

/** All that the model was told in one request, as text. */
export function textOfRequest(request: {
  readonly messages: unknown;
  readonly system: unknown;
}): string {
  return JSON.stringify([request.system, request.messages]);
}
