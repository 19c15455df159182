/**
 * The ids of a turn's events on the wire, by which a reader that lost its connection says how far
 * it came.
 *
 *     6f0d1c2a-41      event 41 was read, of the turn whose id begins so
 *     6f0d1c2a-41.2    and two of the frames that event 42 became
 *
 * The turn is in it because readers keep the last id they saw, also for another turn.
 *
 * @module
 */

import { AppError } from "../lib/errors.ts";
import type { TurnEvent } from "../turn/turn.ts";

/** How far a reader came. */
export interface EventPlace {
  /** Id of the last event that was read whole; 0 before the first. */
  readonly after: number;
  /** Frames of the next one that were read. */
  readonly parts: number;
}

export const FIRST_PLACE: EventPlace = { after: 0, parts: 0 };

/** An event of a stream; one that only the stream has, such as its own failure, has no id. */
export interface NumberedEvent {
  readonly id: number | null;
  readonly event: TurnEvent;
}

const TAG_LENGTH = 8;

export function eventIdOf(turnId: string, { after, parts }: EventPlace): string {
  const rest = parts === 0 ? "" : `.${parts}`;
  return `${turnId.slice(0, TAG_LENGTH)}-${after}${rest}`;
}

const EVENT_ID = /^(.{1,8})-(\d{1,15})(?:\.(\d{1,4}))?$/;

/** Whether it is the id of an event, and of another turn. */
export function isOfAnotherTurn(text: string, turnId: string): boolean {
  const tag = EVENT_ID.exec(text)?.[1];
  return tag !== undefined && tag !== turnId.slice(0, TAG_LENGTH);
}

/**
 * After which event of a turn a reader goes on.
 *
 * @param text As a client sent it; nothing, or nothing in it, stands for the beginning.
 * @throws {AppError} `invalid_request` for anything but an id of an event of the turn.
 */
export function eventPlaceOf(text: string | undefined, turnId: string): EventPlace {
  if (text === undefined || text === "") return FIRST_PLACE;
  const [, tag, after, parts] = EVENT_ID.exec(text) ?? [];
  if (after === undefined) throw noPlace("it is not the id of an event");
  if (tag !== turnId.slice(0, TAG_LENGTH)) throw noPlace("it is the id of another turn's event");
  return { after: Number(after), parts: Number(parts ?? 0) };
}

function noPlace(why: string): AppError {
  return new AppError("invalid_request", `Cannot go on after the last event: ${why}`);
}

export async function* unnumbered(
  events: AsyncIterable<TurnEvent> | Iterable<TurnEvent>,
): AsyncGenerator<NumberedEvent, void, undefined> {
  for await (const event of events) yield { id: null, event };
}
