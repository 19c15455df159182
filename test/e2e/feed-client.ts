/**
 * A reader of the feed, with an independent parser of event streams. Every event is held to its
 * schema.
 *
 * @module
 */

import { EventSourceParserStream } from "eventsource-parser/stream";
import { expect } from "vitest";

import {
  type FeedCapacity,
  type FeedEvent,
  feedSchemas,
  type FeedStage,
  type FeedTurn,
} from "../../src/protocol/feed.ts";
import { until } from "../helpers/leaks.ts";

/** Asks for the feed; resolves with the head of the answer. */
export function askForFeed(url: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${url}/v1/feed`, { headers: { accept: "text/event-stream" }, ...init });
}

export class FeedClient implements Disposable {
  readonly events: FeedEvent[] = [];
  /** Resolves when the server has ended the feed; rejects when the connection broke. */
  readonly closed: Promise<void>;
  readonly #leave: AbortController;
  #failure: unknown;

  private constructor(response: Response, leave: AbortController) {
    this.#leave = leave;
    this.closed = this.#read(response);
    this.closed.catch((failure: unknown) => {
      this.#failure = failure;
    });
  }

  static async open(url: string): Promise<FeedClient> {
    const leave = new AbortController();
    const response = await askForFeed(url, { signal: leave.signal });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    return new FeedClient(response, leave);
  }

  of<Type extends FeedEvent["type"]>(type: Type): Extract<FeedEvent, { type: Type }>[] {
    return this.events.filter((event) => event.type === type) as Extract<
      FeedEvent,
      { type: Type }
    >[];
  }

  /** Waits for one that fits. */
  async until<Type extends FeedEvent["type"]>(
    type: Type,
    fits: (event: Extract<FeedEvent, { type: Type }>) => boolean = () => true,
  ): Promise<Extract<FeedEvent, { type: Type }>> {
    const find = () => this.of(type).find(fits);
    const isThere = () => find() !== undefined || this.#failure !== undefined;
    await until(isThere, `an event ${type} of the feed`, 45_000);
    const found = find();
    if (found === undefined) throw new Error("The feed broke off", { cause: this.#failure });
    return found;
  }

  /** The last that was told of a turn, once it has ended. */
  async ended(turnId: string): Promise<FeedTurn> {
    const isEnd = ({ turn }: { turn: FeedTurn }) =>
      turn.turnId === turnId && turn.endedAtMs !== null;
    return (await this.until("turn", isEnd)).turn;
  }

  /** Of the last capacity that was told. */
  get capacity(): FeedCapacity["capacity"] | undefined {
    return this.of("capacity").at(-1)?.capacity;
  }

  leave(): void {
    this.#leave.abort();
  }

  [Symbol.dispose](): void {
    this.leave();
  }

  async #read(response: Response): Promise<void> {
    if (response.body === null) return;
    const frames = response.body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream());
    for await (const { event, data } of frames) {
      const schema = feedSchemas[event as keyof typeof feedSchemas];
      this.events.push(schema.parse(JSON.parse(data)));
    }
  }
}

export function stagesOf({ stages }: { readonly stages: readonly FeedStage[] }): string[] {
  return stages.map(({ stage, toolName }) =>
    toolName === undefined ? stage : `${stage} ${toolName}`,
  );
}
