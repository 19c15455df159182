/**
 * Goal: readers of the feed cost what one of them costs, and nothing once they are gone.
 * Method: the feed with a book of its own, on a clock that the test turns.
 */

import { setMaxListeners } from "node:events";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { Feed, type FeedOptions } from "../../src/server/feed.ts";
import { FeedBook } from "../../src/server/feed-book.ts";
import type { TurnAdmitted } from "../../src/turn/turn-view.ts";
import { USAGE } from "../protocol/turns.ts";

const ADMITTED: TurnAdmitted = {
  type: "turn_admitted",
  agent: "desk",
  tenant: "acme",
  caller: "ada",
  sessionId: "s",
  threadId: "t",
  startedAtMs: 1,
  predictedBytes: 200,
  carriedBytes: 3,
};
const ENDED = {
  type: "turn_ended",
  outcome: { status: "cancelled", usage: USAGE, cause: "draining" },
} as const;

const never = new AbortController().signal;
setMaxListeners(0, never);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A feed that counts what it asks for. */
function open() {
  const asked = { capacity: 0, snapshot: 0 };
  const nothing = { isShared: false, idle: null, transcriptBytes: null, countedAtMs: null };
  const book = new FeedBook();
  const readiness: FeedOptions["readiness"] = { state: "ready", reason: "" };
  const feed = new Feed({
    replica: "one",
    version: "1",
    book,
    readiness,
    sessions: { view: () => nothing, watched: () => {} },
    capacity: () => ({ asked: (asked.capacity += 1) }) as never,
    snapshot: () => {
      asked.snapshot += 1;
      return { shed: {} } as never;
    },
  });
  return Object.assign(feed, { book, asked });
}

/** Reads on its own, and writes down the names of the events. */
function read(feed: Feed, gone: AbortSignal = never) {
  const reading = { events: [] as string[], isEnded: false };
  void (async () => {
    for await (const chunk of feed.follow(gone)) {
      for (const [, name = ""] of chunk.matchAll(/^event: (\w+)$/gm)) reading.events.push(name);
    }
    reading.isEnded = true;
  })();
  return reading;
}

const OPENING = ["hello", "history", "recent", "capacity"];

describe("the feed", () => {
  it("asks for the load once a second for all who read, and for nobody else", async () => {
    using feed = open();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(feed.asked).toEqual({ capacity: 0, snapshot: 0 });
    const leave = new AbortController();
    const readers = [1, 2, 3].map(() => read(feed, leave.signal));
    await vi.advanceTimersByTimeAsync(0);
    expect(feed.asked.capacity).toBe(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(feed.asked.capacity).toBe(3);
    for (const { events } of readers) expect(events).toEqual([...OPENING, "capacity", "capacity"]);
    leave.abort();
    await vi.advanceTimersByTimeAsync(60_000);
    expect([feed.readers, feed.asked.capacity]).toEqual([0, 3]);
    for (const { isEnded } of readers) expect(isEnded).toBe(true);
  });

  it("looks at the gate every five seconds, whoever reads", async () => {
    using feed = open();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(feed.asked).toEqual({ capacity: 0, snapshot: 12 });
  });

  it("tells of a turn at most every 100 ms, however much happens in it", async () => {
    using feed = open();
    const { events } = read(feed);
    await vi.advanceTimersByTimeAsync(0);
    feed.book.tell("one", ADMITTED);
    feed.book.tell("two", ADMITTED);
    for (let n = 0; n < 50; n += 1) {
      feed.book.tell("one", { type: "text_started", messageId: `${n}` });
      feed.book.tell("one", { type: "text_ended", messageId: `${n}` });
      await vi.advanceTimersByTimeAsync(10);
    }
    await vi.advanceTimersByTimeAsync(100);
    const told = events.filter((name) => name === "turn");
    // One of the other turn, and of this one four or five in half a second, and the last.
    expect(told.length).toBeGreaterThan(3);
    expect(told.length).toBeLessThanOrEqual(7);
  });

  it("ends with the end of the last turn and with the load, and takes nobody after that", async () => {
    const feed = open();
    feed.book.tell("one", ADMITTED);
    const reader = read(feed);
    await vi.advanceTimersByTimeAsync(0);
    feed.book.tell("one", ENDED);
    feed[Symbol.dispose]();
    await vi.advanceTimersByTimeAsync(0);
    expect(reader).toEqual({ events: [...OPENING, "turn", "capacity"], isEnded: true });
    expect(() => feed.follow(never)).toThrow(AppError);
    expect(vi.getTimerCount()).toBe(0);
    feed[Symbol.dispose]();
  });

  it("keeps no timer when its last reader leaves while there is something to tell", async () => {
    const feed = open();
    const leave = new AbortController();
    read(feed, leave.signal);
    await vi.advanceTimersByTimeAsync(0);
    feed.book.tell("one", ADMITTED);
    leave.abort();
    await vi.advanceTimersByTimeAsync(0);
    // That of the history.
    expect(vi.getTimerCount()).toBe(1);
    feed[Symbol.dispose]();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("takes sixteen readers, and no one who has left before", () => {
    using feed = open();
    feed.follow(AbortSignal.abort());
    expect(feed.readers).toBe(0);
    for (let n = 0; n < 16; n += 1) feed.follow(never);
    expect(() => feed.follow(never)).toThrow("it has 16 readers");
  });
});
