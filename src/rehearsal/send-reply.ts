/**
 * Sends a planned reply over a response at the pace of the plan. One timer a stream; tokens that
 * fell due together leave in one write, so that fifty streams cost little more than one.
 *
 * @module
 */

import type { ServerResponse } from "node:http";
import { monotonicMs } from "../lib/monotonic-clock.ts";
import { encodeMessage, replyDueMs, replyEvents, type TimedEvent } from "./reply-events.ts";
import type { MessageReply } from "./reply.ts";

/** Longest text of one write, in characters; the next follows when the event loop has turned. */
const MAX_WRITE_LENGTH = 65_536;
/** Past this a timer would fire at once. */
const MAX_TIMER_MS = 2_147_483_647;

/** Streams the reply until it is whole, breaks off as planned, or the client leaves. */
export function streamReply(response: ServerResponse, reply: MessageReply): void {
  const startMs = monotonicMs();
  const events = replyEvents(reply);
  let next = events.next();
  let timer: NodeJS.Timeout | undefined;

  const sendDue = (): void => {
    const { text, upcoming } = takeDue(events, next, monotonicMs() - startMs);
    next = upcoming;
    if (text !== "" && !response.headersSent) {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    }
    const hasRoom = text === "" || response.write(text);
    if (next.done === true) end(response, reply);
    else if (hasRoom) waitFor(next.value);
    else response.once("drain", sendDue);
  };
  const waitFor = (event: TimedEvent): void => {
    // Timers cut fractions off, so that an exact time must be rounded up.
    const waitMs = Math.ceil(event.dueMs - (monotonicMs() - startMs));
    timer = setTimeout(sendDue, Math.max(0, waitMs));
  };

  response.once("close", () => {
    clearTimeout(timer);
    response.off("drain", sendDue);
  });
  sendDue();
}

/** Sends the reply as one JSON message when its last token is due. */
export function sendWholeReply(response: ServerResponse, reply: MessageReply): void {
  const dueMs = Math.min(Math.ceil(replyDueMs(reply)), MAX_TIMER_MS);
  const timer = setTimeout(() => {
    if (reply.ending.type === "complete") {
      response.writeHead(200, { "content-type": "application/json" });
      response.write(encodeMessage(reply));
    }
    end(response, reply);
  }, dueMs);
  response.once("close", () => clearTimeout(timer));
}

interface Batch {
  readonly text: string;
  readonly upcoming: IteratorResult<TimedEvent, void>;
}

function takeDue(
  events: Iterator<TimedEvent, void, undefined>,
  first: IteratorResult<TimedEvent, void>,
  elapsedMs: number,
): Batch {
  let text = "";
  let upcoming = first;
  while (
    upcoming.done !== true &&
    upcoming.value.dueMs <= elapsedMs &&
    text.length < MAX_WRITE_LENGTH
  ) {
    text += upcoming.value.frame;
    upcoming = events.next();
  }
  return { text, upcoming };
}

function end(response: ServerResponse, reply: MessageReply): void {
  switch (reply.ending.type) {
    case "complete":
      response.end();
      return;
    case "cut":
      // What was written must leave first, or the break would also swallow it.
      response.socket?.end(() => response.destroy());
      return;
    case "hang":
      // Held open until the client leaves or the server is disposed of.
      return;
  }
}
