/**
 * Event streams frame by frame, with their ids, for clients that are cut off and come back.
 *
 * @module
 */

import { EventSourceParserStream } from "eventsource-parser/stream";
import type { TurnEvent } from "../../src/turn/turn.ts";

export interface Frame {
  readonly id: string | undefined;
  readonly data: unknown;
}

export interface FrameStream {
  readonly response: Response;
  readonly frames: AsyncGenerator<Frame, void, undefined>;
  /** Breaks the connection. */
  cut(): void;
}

/** Asks for a stream; resolves with its headers. */
export async function openFrames(url: string, init: RequestInit = {}): Promise<FrameStream> {
  const leave = new AbortController();
  const response = await fetch(url, { ...init, signal: leave.signal });
  return { response, frames: framesOf(response), cut: () => leave.abort() };
}

async function* framesOf(response: Response): AsyncGenerator<Frame, void, undefined> {
  if (response.body === null) return;
  const frames = response.body
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream());
  for await (const { id, data } of frames) yield { id, data: JSON.parse(data) as unknown };
}

/** So many frames; then the connection is broken. All without a number. */
export async function take(stream: FrameStream, count?: number): Promise<Frame[]> {
  const seen: Frame[] = [];
  if (count === 0) {
    stream.cut();
    return seen;
  }
  for await (const frame of stream.frames) {
    seen.push(frame);
    if (seen.length === count) break;
  }
  stream.cut();
  return seen;
}

export function eventsOf(frames: readonly Frame[]): TurnEvent[] {
  return frames.map(({ data }) => data as TurnEvent);
}

export function lastIdOf(frames: readonly Frame[]): string | undefined {
  return frames.findLast(({ id }) => id !== undefined)?.id;
}
